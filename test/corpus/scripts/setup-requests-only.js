import http from "k6/http";

export const options = { iterations: 2 };

export function setup() {
  http.get(`${__ENV.BASE_URL}/`);
}

export default function () {}
