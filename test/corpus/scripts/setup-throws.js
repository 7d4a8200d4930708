import http from "k6/http";

export const options = { iterations: 2 };

export function setup() {
  http.get(`${__ENV.BASE_URL}/`);
  throw new Error("no users to test with");
}

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
