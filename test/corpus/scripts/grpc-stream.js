import grpc from "k6/net/grpc";
import { Counter } from "k6/metrics";

const received = new Counter("received");
const client = new grpc.Client();
client.load(["../data"], "echo.proto");

export const options = { iterations: 2, thresholds: { received: ["count==6"] } };

export default function () {
  if (__ITER === 0) client.connect(__ENV.BASE_URL.replace("grpc://", ""), { plaintext: true });
  const stream = new grpc.Stream(client, "corpus.Echo/Repeat");
  stream.on("data", () => received.add(1));
  stream.on("end", () => undefined);
  stream.write({ text: "hello" });
  stream.end();
}
