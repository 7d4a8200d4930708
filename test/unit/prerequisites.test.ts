/** What a stack needs of the machine, a cluster and the outside, as it is told before anything is made. */
import * as fs from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { operatorChartVersion, parseConfig } from "../../config";
import { mirrorList } from "../../scripts/mirror-list";
import { images } from "../../scripts/images";
import { prerequisites } from "../../scripts/prerequisites";
import { readSettings } from "../../scripts/settings";
import { program } from "../support/fake-program";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const inCluster = [
  ...["executor=kubernetes", "kubeContext=lab", "kubeHostAddress=192.0.2.1"],
  ...["influxdbPort=0", "grafanaPort=0", "couponApiPort=0"],
];
const configured = (...settings: string[]) =>
  parseConfig(readSettings("dev", settings), process.cwd());

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "prerequisites-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true });
});

describe("k6 on this machine", () => {
  const k6 = async (says: string, ...settings: string[]) => {
    const binary = path.join(folder, "my-k6");
    fs.writeFileSync(binary, `#!/bin/sh\n${says}\n`, { mode: 0o755 });
    const rows = await prerequisites(configured(...settings, `k6Binary=${binary}`), "dev");
    return rows.find(({ name }) => name === binary);
  };
  const missing = {
    found: "missing",
    todo:
      "install it, https://grafana.com/docs/k6/latest/set-up/install-k6, " +
      "or say where it is by k6Binary",
  };

  test("is told by its version", async () => {
    const version = "test $1 = version && echo 'k6 v1.8.1 (go1.26.8, linux/amd64)'";
    expect(await k6(version, "executor=local")).toMatchObject({ found: "1.8.1", todo: undefined });
  });

  test.each([
    ["v1.8.1", undefined],
    ["v2.2.0", undefined],
    ["v0.57.0", "it must be 1.x or 2.x (tried: 1.8.1 and 2.2.0)"],
    ["v3.0.0", "it must be 1.x or 2.x (tried: 1.8.1 and 2.2.0)"],
  ])("is refused by %s with %s", async (version, todo) => {
    const says = `echo 'k6 ${version} (go1.26.8, linux/amd64)'`;
    expect(await k6(says, "executor=local")).toMatchObject({ found: version.slice(1), todo });
  });

  test.each(["exit 1", "echo another program"])(
    "is missing where its command is %s",
    async (it) => {
      expect(await k6(it, "executor=local")).toMatchObject(missing);
    },
  );

  test("is needed to pack the script for a cluster, too", async () => {
    vi.stubEnv("KUBECONFIG", path.join(folder, "none"));
    expect(await k6("exit 1", ...inCluster)).toMatchObject(missing);
  });

  test("is not asked for where k6 runs in Docker", async () => {
    expect(await k6("exit 1")).toBeUndefined();
  });
});

describe("Docker", () => {
  const docker = async (bytes: number, ...settings: string[]) => {
    program(
      folder,
      "docker",
      `case "$*" in *version) echo 28 ;; info*) echo 28.2.2 ${bytes} ;; esac`,
    );
    vi.stubEnv("PATH", `${folder}${path.delimiter}${process.env.PATH}`);
    const rows = await prerequisites(configured(...settings), "dev");
    return rows.find(({ name }) => name === "Docker");
  };
  // As Colima gives it unless told otherwise.
  const two = 2 * 2 ** 30 - 70e6;

  test("has memory enough for the default load where it has 2 GB", async () => {
    const found = "28.2.2, 2.1 GB of memory";
    expect(await docker(two)).toEqual({ name: "Docker", found, todo: undefined });
  });

  test("is too small for a load that k6 and InfluxDB need more for", async () => {
    const todo = "give it 2.9 GB, or lower rate or duration";
    expect(await docker(two, "rate=5000", "timeUnit=1s", "duration=30m")).toMatchObject({ todo });
  });
});

test("a stack that is all in a cluster needs no Docker, disk or port of this machine", async () => {
  vi.stubEnv("KUBECONFIG", path.join(folder, "none"));
  const all = [
    ...inCluster,
    ...["platform=kubernetes", "kubeNodeAddress=192.0.2.10", "target=external"],
    ...["baseUrl=http://api.local", "influxdbPort=30086", "grafanaPort=30300"],
  ];
  // Which images this machine has is its own affair.
  const names = (rows: { name: string }[]) =>
    rows.map(({ name }) => name).filter((name) => !name.includes(" in "));
  expect(names(await prerequisites(configured(...all), "dev"))).toEqual([
    ...["Node.js", "Pulumi CLI", "k6", "npm packages for a cluster", "context lab"],
  ]);
  expect(names(await prerequisites(configured(...inCluster), "dev"))).toEqual([
    ...["Node.js", "Docker", "Pulumi CLI", "disk", "k6"],
    ...["npm packages for a cluster", "context lab"],
  ]);
});

describe("a cluster", () => {
  /** Answers as an API server does: the path's status and body. */
  let answers: Record<string, [status: number, body: object]>;
  const asked: (string | undefined)[] = [];
  const server = http.createServer(({ url = "", headers }, response) => {
    asked.push(headers.authorization);
    const [status, body] = answers[url] ?? [404, { message: `no ${url}` }];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  const silent = net.createServer();
  const listen = (server: net.Server) =>
    new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port));
    });
  let port: number;
  let silentPort: number;
  beforeAll(async () => {
    port = await listen(server);
    silentPort = await listen(silent);
  });
  afterAll(() => {
    server.close();
    silent.close();
  });

  const version = { gitVersion: "v1.34.0" };
  const crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/testruns.k6.io";
  beforeEach(() => {
    asked.length = 0;
    answers = { "/version": [200, version] };
    vi.stubEnv("KUBECONFIG", kubeconfig("config", "lab"));
  });

  const kubeconfig = (name: string, context: string, at = port) => {
    const file = path.join(folder, name);
    const config = {
      ...{ apiVersion: "v1", kind: "Config", "current-context": "" },
      clusters: [
        {
          name: context,
          // Without it the client refuses plain HTTP.
          cluster: { server: `http://127.0.0.1:${at}`, "insecure-skip-tls-verify": true },
        },
      ],
      users: [{ name: context, user: { token: `token of ${context}` } }],
      contexts: [{ name: context, context: { cluster: context, user: context } }],
    };
    fs.writeFileSync(file, JSON.stringify(config));
    return file;
  };
  const rows = async (...settings: string[]) => {
    const all = await prerequisites(configured(...inCluster, ...settings), "dev");
    return all.slice(all.findIndex(({ name }) => name.startsWith("context ")));
  };
  const labelled = (release: string) => ({
    metadata: { labels: { "app.kubernetes.io/instance": release } },
    spec: { names: {}, versions: [] },
  });

  test("is told by its version, asked as the context's user", async () => {
    expect(await rows()).toEqual([
      { name: "context lab", found: "Kubernetes v1.34.0" },
      { name: "k6 operator", found: "to be installed" },
    ]);
    expect(asked).toEqual(["Bearer token of lab", "Bearer token of lab"]);
  });

  test("is looked for in all of the kubeconfig's files", async () => {
    vi.stubEnv("KUBECONFIG", [kubeconfig("a", "other"), kubeconfig("b", "lab")].join(":"));
    expect((await rows())[0]).toEqual({ name: "context lab", found: "Kubernetes v1.34.0" });
  });

  test("is not any other than the context's", async () => {
    vi.stubEnv("KUBECONFIG", [kubeconfig("a", "home"), kubeconfig("b", "work")].join(":"));
    expect(await rows()).toEqual([
      {
        ...{ name: "context lab", found: "missing" },
        todo: "set kubeContext to one that the kubeconfig has: home, work",
      },
    ]);
    expect(asked).toEqual([]);
  });

  test("is missing where there is no kubeconfig, or one with nothing in it", async () => {
    const empty = path.join(folder, "empty");
    fs.writeFileSync(empty, "apiVersion: v1\n");
    vi.stubEnv("HOME", folder);
    for (const file of ["", empty]) {
      vi.stubEnv("KUBECONFIG", file);
      expect(await rows()).toEqual([
        {
          ...{ name: "context lab", found: "missing" },
          todo: "set kubeContext to one that the kubeconfig has: it has none, see KUBECONFIG",
        },
      ]);
    }
  });

  test("has a kubeconfig that can be read", async () => {
    for (const [content, why] of [
      [undefined, "ENOENT"],
      ["{", "unexpected end"],
    ]) {
      const file = path.join(folder, "broken");
      if (content) fs.writeFileSync(file, content);
      vi.stubEnv("KUBECONFIG", file);
      const [{ found, todo }, ...more] = await rows();
      expect([found, more]).toEqual(["cannot be read", []]);
      expect(todo).toMatch(/^mend the kubeconfig or choose another by KUBECONFIG: .*$/);
      expect(todo).toContain(why);
    }
  });

  test.each([
    [401, "Unauthorized"],
    [403, "version is forbidden"],
    [500, "etcd is away"],
  ])("that answers with %i does not answer", async (status, message) => {
    answers["/version"] = [status, { kind: "Status", message }];
    expect(await rows()).toEqual([
      {
        ...{ name: "context lab", found: "does not answer" },
        todo: `start it, or see that you may use it: ${message}`,
      },
    ]);
  });

  test("that is not there does not answer", async () => {
    const closed = net.createServer();
    const at = await listen(closed);
    await new Promise((resolve) => closed.close(resolve));
    vi.stubEnv("KUBECONFIG", kubeconfig("config", "lab", at));
    const [{ found, todo }] = await rows();
    expect([found, todo]).toEqual(["does not answer", expect.stringContaining("ECONNREFUSED")]);
  });

  test("that is silent is given up on", async () => {
    vi.stubEnv("KUBECONFIG", kubeconfig("config", "lab", silentPort));
    const begun = Date.now();
    const [{ found, todo }] = await rows();
    expect([found, todo]).toEqual(["does not answer", expect.stringContaining("aborted")]);
    expect(Date.now() - begun).toBeLessThan(20_000);
  });

  describe("has an operator", () => {
    const operator = async (...settings: string[]) => (await rows(...settings))[1];
    const existing = "k6OperatorChart=existing";

    test("that the stack has installed", async () => {
      answers[crd] = [200, labelled("k6-operator-dev")];
      const found = { name: "k6 operator", found: "this stack's own" };
      expect(await operator()).toEqual(found);
      expect(await operator(existing)).toEqual({
        ...found,
        todo: "keep k6OperatorChart as it was, or make destroy first: the stack would remove it",
      });
    });

    test.each(["k6-operator-staging", undefined])(
      "of others, called %s, beside which the stack installs none",
      async (release) => {
        answers[crd] = [200, release ? labelled(release) : { metadata: {}, spec: {} }];
        expect(await operator()).toEqual({
          ...{ name: "k6 operator", found: "there already" },
          todo: "have the stack use it: make up k6OperatorChart=existing",
        });
        expect(await operator(existing)).toEqual({ name: "k6 operator", found: "there already" });
      },
    );

    test("or is said to lack it", async () => {
      expect(await operator(existing)).toEqual({
        ...{ name: "k6 operator", found: "missing" },
        todo: "have the stack install it, by k6OperatorChart",
      });
    });
  });
});

test("no cluster is asked where k6 runs on this machine or in Docker", async () => {
  vi.stubEnv("KUBECONFIG", path.join(folder, "none"));
  for (const executor of ["docker", "local"]) {
    const names = (await prerequisites(configured(`executor=${executor}`), "dev")).map(
      ({ name }) => name,
    );
    expect(names.filter((name) => /context|operator/.test(name))).toEqual([]);
  }
});

describe("the mirror's list", () => {
  const list = (...settings: string[]) =>
    mirrorList(configured(...settings), { platform: "linux", arch: "x64" });
  const kinds = (lines: string[], kind: string) =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));

  test("has the operator's chart and the cluster's images where the stack installs it", () => {
    const lines = list(...inCluster);
    expect(kinds(lines, "chart")).toEqual([
      `${operatorChartVersion} https://grafana.github.io/helm-charts`,
    ]);
    expect(kinds(lines, "image").slice(2, 5)).toEqual([
      "grafana/k6:2.2.0",
      "ghcr.io/grafana/k6-operator:starter-v1.6.0",
      "ghcr.io/grafana/k6-operator:controller-v1.6.0",
    ]);
  });

  test("has no chart that the stack does not fetch", () => {
    fs.writeFileSync(path.join(folder, "Chart.yaml"), "");
    for (const settings of [[], [...inCluster, "k6OperatorChart=existing"]]) {
      expect(kinds(list(...settings), "chart")).toEqual([]);
    }
    expect(kinds(list(...inCluster, `k6OperatorChart=${folder}`), "chart")).toEqual([]);
  });
});

describe("the images", () => {
  const memory = () => path.join(folder, "images.json");
  /** A Docker whose images, all there, tell these versions; it counts how often it starts one. */
  const told = (versions: Partial<Record<"grafana" | "influxd" | "k6", string>>) => {
    const starts = Object.entries(versions).map(([name, says]) => `*=${name}*) echo "${says}" ;;`);
    program(
      folder,
      "docker",
      `case "$*" in
        image*) echo "sha256:of $*" ;;
        run*) echo run >> "$here/runs"; case "$*" in ${starts.join("\n")} *) exit 127 ;; esac ;;
      esac`,
    );
    vi.stubEnv("PATH", `${folder}${path.delimiter}${process.env.PATH}`);
  };
  const works = {
    grafana: "grafana version 12.4.0",
    influxd: "InfluxDB v1.8.10 (git: 1.8 688e697)",
    k6: "k6 v2.2.0 (go1.26.8, linux/amd64)",
  };

  test("are each told with the version of what is in them, and asked once", async () => {
    told(works);
    const rows = [
      { name: "InfluxDB in influxdb:1.8.10", found: "1.8.10", todo: undefined },
      { name: "Grafana in grafana/grafana:12.4.0", found: "12.4.0", todo: undefined },
      { name: "k6 in grafana/k6:2.2.0", found: "2.2.0", todo: undefined },
    ];
    expect(await images(configured(), memory())).toEqual(rows);
    expect(await images(configured(), memory())).toEqual(rows);
    expect(fs.readFileSync(path.join(folder, "runs"), "utf8").split("\n")).toHaveLength(4);
  });

  test.each([
    ["grafana", "Version 9.5.21", "9.5.21", "it must be 12.x (tried: 12.4.0): set grafanaImage"],
    ["grafana", "grafana version 13.0.0", "13.0.0", "it must be 12.x (tried: 12.4.0): set grafana"],
    ["influxd", "InfluxDB v2.7.12", "2.7.12", "it must be 1.x (tried: 1.8.10): set influxdbImage"],
    ["k6", "k6 v0.57.0", "0.57.0", "it must be 1.x or 2.x (tried: 1.8.1 and 2.2.0): set k6Image"],
    ["grafana", "another program", "missing", "it does not start there: set grafanaImage to an"],
  ])("are refused with %s that says %s", async (name, says, found, todo) => {
    told({ ...works, [name]: says });
    const refused = (await images(configured(), memory())).filter((row) => row.todo);
    expect(refused).toMatchObject([{ found, todo: expect.stringContaining(todo) }]);
  });

  test("that cannot be had are left to Pulumi", async () => {
    program(folder, "docker", "exit 1");
    vi.stubEnv("PATH", `${folder}${path.delimiter}${process.env.PATH}`);
    expect(await images(configured(), memory())).toEqual([]);
  });
});
