import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2, noCookiesReset: true };

export default function () {
  const base = __ENV.BASE_URL;
  http.cookieJar().set(base, "own", "chosen");
  http.get(`${base}/cookies/set/user/Mina`);
  const { user, own } = http.get(`${base}/cookies`).json();
  check(
    { user, own },
    {
      "sends what the target set": ({ user }) => user === "Mina",
      "sends its own": ({ own }) => own === "chosen",
    },
  );
}
