import grpc from "k6/net/grpc";

const client = new grpc.Client();
client.load(["../data"], "echo.proto");

export const options = { iterations: 2, thresholds: { grpc_req_duration: ["p(95)<0.001"] } };

export default function () {
  client.connect(__ENV.BASE_URL.replace("grpc://", ""), { plaintext: true });
  client.invoke("corpus.Echo/Say", { text: "hello" });
  client.close();
}
