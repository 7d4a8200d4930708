import { check } from "k6";
import grpc from "k6/net/grpc";

const client = new grpc.Client();
client.load(["../data"], "echo.proto");

export const options = {
  iterations: 2,
  thresholds: {
    grpc_req_duration: ["max<10000"],
    "grpc_req_duration{method:Say}": ["max<10000"],
  },
};

export default function () {
  client.connect(__ENV.BASE_URL.replace("grpc://", ""), { plaintext: true });
  const answer = client.invoke("corpus.Echo/Say", { text: "hello" });
  check(answer, {
    "status is OK": ({ status }) => status === grpc.StatusOK,
    "comes back": ({ message }) => message.text === "hello",
  });
  client.close();
}
