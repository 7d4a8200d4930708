import http from "k6/http";
import { check } from "k6";
import { SharedArray } from "k6/data";

const users = new SharedArray("users", () => JSON.parse(open("../data/users.json")));

export const options = { vus: 2, iterations: 6 };

export default function () {
  const { name } = users[__ITER % users.length];
  http.post(`${__ENV.BASE_URL}/users`, JSON.stringify({ name }), { tags: { user: name } });
  check(users, { "are three": ({ length }) => length === 3 });
}
