/**
 * A two-node Kubernetes cluster of a test's own, out of the programs on PATH. Each of its three
 * machines, the control plane's and two workers', is one process in namespaces of its own, with a
 * `/run`, `/var/lib` and `/var/log` of its own. All that runs on a machine ends with that process,
 * and the process ends with its standard input: also when the test is killed.
 *
 * A bridge on the control plane's machine joins the machines; one veth pair joins this one to them.
 * Its iptables rules stay as they are: what pods ask of it comes in like anything from outside, and
 * Docker's rules let outsiders reach the ports that containers publish. No registry is reached and
 * pods resolve no names. A NetworkPolicy is accepted and enforced by no one, since the bridge
 * plugin, which gives pods their network, knows none. A machine's disk is memory, which is fast and
 * gone at once; so what a pod writes counts as memory that it takes.
 */
import {
  execFile,
  spawn,
  spawnSync,
  type ChildProcessWithoutNullStreams,
} from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { onPath, otherImage } from "./images";

const needed = [
  ...["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"],
  ...["kube-proxy", "kubectl", "containerd", "ctr", "runc"],
  ...["bash", "ip", "iptables", "nsenter", "openssl", "unshare"],
];
const pluginFolders = ["/usr/lib/cni", "/opt/cni/bin"];

const control = "control";
const workers = ["worker-1", "worker-2"];
const machines = [control, ...workers];

/** The addresses of one cluster. */
class Network {
  // The second number is one that this machine has no route to.
  private readonly prefix = `10.${unusedNumber()}`;
  readonly host = `${this.prefix}.0.1`;
  readonly services = `${this.prefix}.255.0/24`;
  /** The API as a service. */
  readonly api = `${this.prefix}.255.1`;

  of = (machine: string) => `${this.prefix}.0.${10 + machines.indexOf(machine)}`;
  podsOn = (worker: string) => `${this.prefix}.${10 + machines.indexOf(worker)}.0/24`;
}

interface User {
  name: string;
  group?: string;
  /** The folders of the cluster's that have a file for it. */
  at: string[];
}

/** Whom the API knows, by the name of the file. */
const users: Record<string, User> = {
  admin: { name: "admin", group: "system:masters", at: ["."] },
  manager: { name: "system:kube-controller-manager", at: [`${control}/lib`] },
  scheduler: { name: "system:kube-scheduler", at: [`${control}/lib`] },
  proxy: { name: "system:kube-proxy", at: workers.map((name) => `${name}/lib`) },
};
for (const name of workers) {
  users[name] = { name: `system:node:${name}`, group: "system:nodes", at: [`${name}/lib`] };
}

interface Machine {
  process: ChildProcessWithoutNullStreams;
  /** Resolves when it and all that ran on it are gone. */
  off: Promise<unknown>;
}

export class Cluster {
  // With our process id, by which the next one knows that nobody needs it any more.
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), `kubernetes-${process.pid}-`));
  private readonly network = new Network();
  private readonly running = new Map<string, Machine>();
  /** The interface by which this machine reaches the others; 15 characters at most. */
  private readonly link = `k8s-${randomBytes(4).toString("hex")}`;
  /** A file for kubectl, Pulumi and the like: an administrator, by the context `coupon-load-test`. */
  readonly kubeconfig = path.join(this.folder, "admin.json");
  /** Where pods reach this machine's processes, and containers that publish ports on this address. */
  readonly hostAddress = this.network.host;
  readonly nodes = workers;
  /** Of the first node. */
  readonly nodeAddress = this.network.of(workers[0]);

  /**
   * Starts one whose nodes are ready and have these images of the machine's Docker, at least one,
   * or says why it cannot.
   */
  static async start(images: string[]): Promise<Cluster | { missing: string }> {
    sweep();
    const cluster = new Cluster();
    try {
      await cluster.up(images);
      return cluster;
    } catch (error) {
      await cluster.remove();
      const line = (error as Error).message.split("\n").at(-1);
      return { missing: `a Kubernetes cluster of the test's own cannot be started: ${line}` };
    }
  }

  /** What kubectl prints as an administrator; rejects with what it complains of. */
  async kubectl(...args: string[]): Promise<string> {
    return run("kubectl", `--kubeconfig=${this.kubeconfig}`, ...args);
  }

  /** Puts images of the machine's Docker, or archives of `docker save` (`*.tar`), on all nodes. */
  async load(images: string[]) {
    const archives = images.filter((image) => image.endsWith(".tar"));
    const names = images.filter((image) => !image.endsWith(".tar"));
    const saved = path.join(this.folder, "images.tar");
    if (names.length > 0) {
      await run("docker", "save", `--output=${saved}`, ...names);
      archives.push(saved);
    }
    const put = `nsenter "$1" --mount ctr --namespace=k8s.io images import - <"$2"`;
    const nodes = workers.filter((name) => this.running.has(name));
    for (const archive of archives) {
      const puts = nodes.map((name) => run("sh", "-c", put, "sh", this.target(name), archive));
      await Promise.all(puts);
    }
    fs.rmSync(saved, { force: true });
  }

  /** Offers claims a volume of a folder on the first node's disk: nothing makes any by itself. */
  async addVolume(name: string, storage: string) {
    const folder = `/var/lib/volumes/${name}`;
    await run("nsenter", this.target(workers[0]), "--mount", "mkdir", "-p", folder);
    const onFirst = { key: "kubernetes.io/hostname", operator: "In", values: [workers[0]] };
    await this.create({
      ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name } },
      spec: {
        ...{ capacity: { storage }, accessModes: ["ReadWriteOnce"], local: { path: folder } },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onFirst] }] } },
      },
    });
  }

  /** Says of a pod what Cluster Autoscaler says when it has asked for a node for it. */
  async tellOfNewNode(namespace: string, name: string) {
    const uid = await this.kubectl(
      "get",
      "pod",
      name,
      `-n=${namespace}`,
      "-o=jsonpath={.metadata.uid}",
    );
    await this.create({
      ...{ apiVersion: "v1", kind: "Event", metadata: { name: `${name}.scale-up`, namespace } },
      involvedObject: { apiVersion: "v1", kind: "Pod", name, namespace, uid },
      ...{ type: "Normal", reason: "TriggeredScaleUp", message: "pod triggered scale-up" },
      source: { component: "cluster-autoscaler" },
    });
  }

  private async create(manifest: object) {
    const file = path.join(this.folder, "manifest.json");
    write(file, manifest);
    await this.kubectl("create", `--filename=${file}`);
  }

  /**
   * As a machine that loses power: nothing on it is told, and it stays away. The API says so after
   * some 11 s, and wants its pods elsewhere 5 s later.
   */
  async killNode(name: string) {
    const machine = this.running.get(name);
    machine?.process.stdin.destroy();
    await machine?.off;
    this.running.delete(name);
  }

  /** Leaves nothing of it. */
  async remove() {
    await Promise.all([...this.running.keys()].map((name) => this.killNode(name)));
    // It goes with its other end, but when the system comes to it.
    spawnSync("ip", ["link", "delete", this.link]);
    clean(this.folder);
  }

  private async up(images: string[]) {
    await onPath(...needed);
    const plugins = pluginFolders.find((folder) => fs.existsSync(path.join(folder, "bridge")));
    if (!plugins) throw new Error(`no CNI plugins in ${pluginFolders.join(" or ")}`);
    if (process.getuid?.() !== 0) throw new Error("only root can");
    if (!fs.existsSync("/sys/fs/cgroup/cpuset")) throw new Error("no control groups of version 1");
    // What holds a pod's namespaces; the official one comes from a registry.
    const pause = await otherImage(images[0], "pause", 'ENTRYPOINT ["sleep", "infinity"]');

    for (const name of machines) {
      fs.mkdirSync(path.join(this.folder, name, "lib"), { recursive: true });
      fs.mkdirSync(path.join(this.folder, name, "log"));
    }
    await this.configureControlPlane();
    for (const name of workers) this.configureWorker(name, plugins, pause);
    await this.boot(control, controlPlane(this.network));
    await Promise.all(
      workers.map((name) => this.boot(name, worker(name, this.network, this.cgroup(name)))),
    );
    await this.ready();
    await this.load([pause, ...images]);
  }

  /** The API's certificate, whose key signs the tokens of service accounts too, and its users. */
  private async configureControlPlane() {
    const lib = path.join(this.folder, control, "lib");
    const names = [
      ...[this.network.of(control), this.network.api].map((address) => `IP:${address}`),
      ...["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(
        (name) => `DNS:${name}`,
      ),
    ];
    await run(
      ...["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"],
      ...["-subj", "/CN=kubernetes", "-addext", `subjectAltName=${names.join(",")}`],
      ...["-keyout", path.join(lib, "api.key"), "-out", path.join(lib, "api.crt")],
    );
    const certificate = fs.readFileSync(path.join(lib, "api.crt")).toString("base64");
    const server = `https://${this.network.of(control)}:6443`;
    const cluster = { server, "certificate-authority-data": certificate };
    const context = "coupon-load-test";
    const tokens = Object.entries(users).map(([file, { name, group = "", at }]) => {
      const token = randomBytes(16).toString("hex");
      const config = {
        ...{ apiVersion: "v1", kind: "Config", "current-context": context },
        clusters: [{ name: context, cluster }],
        users: [{ name, user: { token } }],
        contexts: [{ name: context, context: { cluster: context, user: name } }],
      };
      for (const folder of at) write(path.join(this.folder, folder, `${file}.json`), config);
      return `${token},${name},${name},${group}\n`;
    });
    fs.writeFileSync(path.join(lib, "tokens.csv"), tokens.join(""), { mode: 0o600 });
  }

  private configureWorker(name: string, plugins: string, pause: string) {
    const at = (file: string) => path.join(this.folder, name, "lib", file);
    write(at("kubelet.json"), {
      ...{ apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration" },
      // Whoever is in the cluster's network is a test.
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: "AlwaysAllow" },
      containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
      ...{ failCgroupV1: false, cgroupDriver: "cgroupfs", cgroupRoot: `/${this.cgroup(name)}` },
      // A full disk is no reason here to evict pods or to remove images, nor is little memory.
      ...{ evictionHard: { "memory.available": "50Mi" }, imageGCHighThresholdPercent: 100 },
      ...{ failSwapOn: false, oomScoreAdj: 0, volumePluginDir: "/var/lib/kubelet/plugins" },
      // No name server: a look-up fails at once.
      resolvConf: "",
      // A sign of life every 2 s, for a controller manager that waits for 10.
      ...{ nodeLeaseDurationSeconds: 8, nodeStatusUpdateFrequency: "4s" },
    });
    write(at("proxy-config.json"), {
      ...{ apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration" },
      ...{ mode: "iptables", clientConnection: { kubeconfig: "/var/lib/proxy.json" } },
      // These are settings of the whole kernel.
      conntrack: {
        ...{ maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
      },
      oomScoreAdj: 0,
    });
    const bridge = { type: "bridge", bridge: "cni0", isDefaultGateway: true, hairpinMode: true };
    const ipam = { type: "host-local", ranges: [[{ subnet: this.network.podsOn(name) }]] };
    fs.mkdirSync(at("cni/net.d"), { recursive: true });
    write(at("cni/net.d/pods.conflist"), {
      ...{ cniVersion: "0.4.0", name: "pods" },
      plugins: [{ ...bridge, ipMasq: true, ipam }],
    });
    const cri = `plugins."io.containerd.grpc.v1.cri"`;
    fs.writeFileSync(
      at("containerd.toml"),
      `version = 2
[${cri}]
  sandbox_image = "docker.io/${pause}"
  # Without the right to lower them, no pod starts otherwise.
  restrict_oom_score_adj = true
  disable_apparmor = true
[${cri}.cni]
  bin_dir = "${plugins}"
  conf_dir = "/var/lib/cni/net.d"
`,
    );
  }

  /** Starts a machine: when its namespaces are there, it is joined to the others; then it goes on. */
  private async boot(name: string, script: string) {
    const child = spawn(
      "unshare",
      [
        ...["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"],
        ...["--mount-proc", "bash", "-c", `${setUp(name, this.network)}${script}${untilTheEnd}`],
      ],
      { cwd: path.join(this.folder, name) },
    );
    child.stdin.on("error", () => undefined); // It ended, which is told below.
    let complaint = "";
    child.stderr.on("data", (text) => (complaint += text));
    const off = once(child, "exit");
    this.running.set(name, { process: child, off });
    const dead = off.then(() => Promise.reject(new Error(`${name}: ${complaint.trim()}`)));
    const line = () => Promise.race([once(child.stdout, "data"), dead]);
    await line();
    await this.join(name, `${child.pid}`);
    child.stdin.write("joined\n");
    await line();
  }

  /** Every machine's interface is `lan`; the control plane's is the bridge. */
  private async join(name: string, pid: string) {
    if (name === control) {
      await run("ip", "link", "add", this.link, "type", "veth", "peer", "host", "netns", pid);
      await run("ip", "address", "add", `${this.network.host}/24`, "dev", this.link);
      await run("ip", "link", "set", this.link, "up");
      // With an address of its own: else it has one of its ports', and loses it with a killed node.
      const bridge = ["lan", "address", "02:00:0a:bb:00:02", "type", "bridge"];
      await this.ip("link", "add", ...bridge);
      await this.ip("link", "set", "host", "master", "lan", "up");
    } else {
      const bridge = `${this.running.get(control)?.process.pid}`;
      const ends = ["lan", "netns", pid, "type", "veth", "peer", name, "netns", bridge];
      await run("ip", "link", "add", ...ends);
      await this.ip("link", "set", name, "master", "lan", "up");
    }
  }

  /** `ip` in the network of the control plane's machine. */
  private ip = (...args: string[]) => run("nsenter", this.target(control), "--net", "ip", ...args);

  /** What nsenter is told to enter a machine. */
  private target = (name: string) => `--target=${this.running.get(name)?.process.pid}`;

  private cgroup = (name: string) => `${path.basename(this.folder)}-${name}`;

  /** Waits until both nodes are ready and pods can be made. */
  private async ready() {
    const end = Date.now() + 3 * 60_000;
    for (;;) {
      try {
        const nodes = workers.map((name) => `node/${name}`);
        await this.kubectl("get", "serviceaccount/default");
        await this.kubectl("wait", "--for=condition=Ready", "--timeout=60s", ...nodes);
        return;
      } catch (error) {
        if (Date.now() > end) throw error;
        await sleep(300);
      }
    }
  }
}

// Machines ----------------------------------------------------------------------------------------

/** The first lines of every machine, which waits until it is joined to the others. */
const setUp = (name: string, network: Network) => `
set -e
mount -t tmpfs run /run
mount -t tmpfs lib /var/lib
cp -r lib/. /var/lib
mount --bind log /var/log
echo ${name} >/proc/sys/kernel/hostname
keep() { while "$@" || :; do sleep 0.2; done >>"/var/log/$1.log" 2>&1 </dev/null & }
echo here
read -r
ip link set lo up
ip link set lan up
ip address add ${network.of(name)}/24 dev lan
${workers
  .filter((other) => other !== name)
  .map((other) => `ip route add ${network.podsOn(other)} via ${network.of(other)}`)
  .join("\n")}
`;

const controlPlane = (network: Network) => `
keep etcd --data-dir=/run/etcd --log-level=warn
keep kube-apiserver --etcd-servers=http://127.0.0.1:2379 \\
  --advertise-address=${network.of(control)} --service-cluster-ip-range=${network.services} \\
  --tls-cert-file=/var/lib/api.crt --tls-private-key-file=/var/lib/api.key \\
  --service-account-issuer=https://kubernetes.default.svc \\
  --service-account-key-file=/var/lib/api.crt --service-account-signing-key-file=/var/lib/api.key \\
  --token-auth-file=/var/lib/tokens.csv --authorization-mode=Node,RBAC --allow-privileged \\
  --kubelet-preferred-address-types=InternalIP \\
  --default-not-ready-toleration-seconds=5 --default-unreachable-toleration-seconds=5
keep kube-controller-manager --kubeconfig=/var/lib/manager.json --leader-elect=false \\
  --root-ca-file=/var/lib/api.crt --service-account-private-key-file=/var/lib/api.key \\
  --use-service-account-credentials --node-monitor-period=2s --node-monitor-grace-period=10s
keep kube-scheduler --kubeconfig=/var/lib/scheduler.json --leader-elect=false
`;

/** Settings of the whole kernel that kubelet wants; it finds them, and sets none. */
const kernel = {
  ...{ "vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10 },
  ...{ "kernel/panic_on_oops": 1, "kernel/keys/root_maxkeys": 1000000 },
  "kernel/keys/root_maxbytes": 25000000,
};

const worker = (name: string, network: Network, cgroup: string) => `
for root in /sys/fs/cgroup/*/; do mkdir -p "$root"${cgroup}; done
cd /sys/fs/cgroup/cpuset
for file in cpuset.cpus cpuset.mems; do cat $file >${cgroup}/$file; done
cd /run
${Object.entries(kernel)
  .map(([key, value]) => `echo ${value} >set; mount --bind set /proc/sys/${key}; rm set`)
  .join("\n")}
keep containerd --config=/var/lib/containerd.toml
keep kubelet --config=/var/lib/kubelet.json --kubeconfig=/var/lib/${name}.json \\
  --node-ip=${network.of(name)}
keep kube-proxy --config=/var/lib/proxy-config.json
`;

/** The last lines: no word comes any more, until the test ends or wants the machine to. */
const untilTheEnd = `
echo up
while read -r; do :; done
`;

function unusedNumber(): number {
  const { stdout } = spawnSync("ip", ["route"], { encoding: "utf8" });
  for (;;) {
    const number = randomInt(64, 128);
    if (!stdout?.includes(`10.${number}.`)) return number;
  }
}

/** Removes what tests left that were killed; their machines ended with them. */
function sweep() {
  for (const name of fs.readdirSync(os.tmpdir())) {
    const [, pid] = /^kubernetes-(\d+)-/.exec(name) ?? [];
    if (pid && !fs.existsSync(`/proc/${pid}`)) clean(path.join(os.tmpdir(), name));
  }
}

/** Removes the control groups of a cluster that is no more, and its folder. */
function clean(folder: string) {
  const groups = ["-path", `*/${path.basename(folder)}-*`, "-type", "d"];
  spawnSync("find", ["/sys/fs/cgroup", "-depth", ...groups, "-delete"]);
  fs.rmSync(folder, { recursive: true, force: true });
}

/** For root alone, as it has tokens. */
function write(file: string, content: unknown) {
  fs.writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
}

/** What a command prints; rejects with what it complains of. */
async function run(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 1 << 28 });
    return stdout;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(stderr?.trim() || message);
  }
}
