/**
 * A target that costs as little as Node can: every request gets the same 201 at once, without being
 * parsed. It prints its port, and ends when its owner closes its standard input.
 */
import * as net from "node:net";

const body = '{"status":"ISSUED"}';
const answer = Buffer.from(
  "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n" +
    `Content-Length: ${body.length}\r\n\r\n${body}`,
);

const server = net.createServer((socket) => {
  socket.setNoDelay(true);
  let rest = "";
  socket.on("data", (chunk) => {
    // Requests have no body here, so each empty line ends one.
    const requests = (rest + chunk.toString("latin1")).split("\r\n\r\n");
    rest = requests.pop() ?? "";
    for (const _ of requests) socket.write(answer);
  });
  socket.on("error", () => socket.destroy());
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log((server.address() as net.AddressInfo).port);
});
process.stdin.on("end", () => process.exit()).resume();
process.on("SIGINT", () => undefined);
