import { check } from "k6";
import { WebSocket } from "k6/websockets";

export const options = { iterations: 2, thresholds: { "ws_sessions{kind:chat}": ["count==2"] } };

export default function () {
  const socket = new WebSocket(__ENV.BASE_URL, null, { tags: { kind: "chat" } });
  socket.onopen = () => socket.send("hello");
  socket.onmessage = ({ data }) => {
    check(data, { "comes back": (each) => each === "hello" });
    socket.close();
  };
}
