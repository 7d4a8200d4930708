import ws from "k6/ws";

export const options = { iterations: 2, thresholds: { ws_session_duration: ["max<0.001"] } };

export default function () {
  ws.connect(__ENV.BASE_URL, {}, (socket) => {
    socket.on("open", () => socket.close());
  });
}
