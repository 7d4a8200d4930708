import { check } from "k6";
import ws from "k6/ws";

// The target is given as http://, as for other tests.
export const options = { iterations: 2 };

export default function () {
  const url = __ENV.BASE_URL.replace(/^http/, "ws");
  const response = ws.connect(`${url}/chat`, {}, (socket) => {
    socket.on("open", () => socket.send("hello"));
    socket.on("message", () => socket.close());
  });
  check(response, { "switched protocols": ({ status }) => status === 101 });
}
