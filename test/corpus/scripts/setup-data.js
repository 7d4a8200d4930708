import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2 };

// Put together here, so that it is in no copy of this file.
const secret = (...parts) => ["never", "in", "runs", ...parts].join("-");

export function setup() {
  return { token: secret(4711), password: secret("hunter2") };
}

export default function ({ token }) {
  const headers = { authorization: `Bearer ${token}` };
  const response = http.get(`${__ENV.BASE_URL}/`, { headers });
  check(token, { "is that of setup": (text) => text.endsWith("4711") });
  check(response, { "is there": (r) => r.status === 200 });
}

export function teardown({ password }) {
  if (!password) throw new Error("there is no password");
}
