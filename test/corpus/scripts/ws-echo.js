import { check } from "k6";
import ws from "k6/ws";

export const options = {
  iterations: 2,
  thresholds: { ws_connecting: ["max<10000"], ws_msgs_received: ["count==2"] },
};

export default function () {
  const response = ws.connect(__ENV.BASE_URL, {}, (socket) => {
    socket.on("open", () => socket.send("hello"));
    socket.on("message", (text) => {
      check(text, { "comes back": (each) => each === "hello" });
      socket.close();
    });
  });
  check(response, { "switched protocols": ({ status }) => status === 101 });
}
