/** The target of the corpus's scripts, on loopback: HTTP, WebSocket and gRPC, all answers known. */
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { WebSocketServer } from "ws";

/** What a script may get as its `BASE_URL`. */
export interface Target {
  http: string;
  ws: string;
  grpc: string;
  stop(): Promise<void>;
}

/**
 * HTTP: `/status/<code>` answers with that status, `/slow` after 300 ms, `/redirect/<n>` leads
 * through n redirects, `/cookies/set/<name>/<value>` sets one, `/cookies` tells what came; any other
 * path tells what was asked. A WebSocket gives back each message, gRPC what `data/echo.proto` says.
 */
export async function startTarget(): Promise<Target> {
  const server = http.createServer({ keepAliveTimeout: 60_000 }, answer);
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const { url, stop } = await startGrpc();
  return {
    ...{ http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}`, grpc: url },
    async stop() {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      stop();
    },
  };
}

function answer(request: http.IncomingMessage, response: http.ServerResponse) {
  request.resume();
  const { method, url = "/", headers } = request;
  const [, kind, ...values] = url.split("/");
  const send = (status: number, body: unknown, more: http.OutgoingHttpHeaders = {}) => {
    response.writeHead(status, { "content-type": "application/json", ...more });
    response.end(JSON.stringify(body));
  };
  switch (kind) {
    case "status":
      return send(Number(values[0]), {});
    case "slow":
      return void setTimeout(() => send(200, {}), 300);
    case "redirect":
      return Number(values[0]) > 0
        ? send(302, {}, { location: `/redirect/${Number(values[0]) - 1}` })
        : send(200, {});
    case "cookies": {
      if (values.length > 0)
        return send(200, {}, { "set-cookie": `${values[1]}=${values[2]}; Path=/` });
      const pairs = (headers.cookie ?? "").split("; ").map((pair) => pair.split("="));
      return send(200, Object.fromEntries(pairs));
    }
    default:
      return send(200, { method, url });
  }
}

type Call = grpc.ServerWritableStream<{ text: string }, { text: string }>;

async function startGrpc() {
  const definition = loadSync(path.resolve(__dirname, "../corpus/data/echo.proto"));
  const { corpus } = grpc.loadPackageDefinition(definition) as unknown as {
    corpus: { Echo: grpc.ServiceClientConstructor };
  };
  const server = new grpc.Server();
  server.addService(corpus.Echo.service, {
    Say: (call: grpc.ServerUnaryCall<object, object>, reply: grpc.sendUnaryData<object>) =>
      reply(null, call.request),
    Repeat(call: Call) {
      for (let n = 0; n < 3; n++) call.write(call.request);
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { url: `grpc://127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}
