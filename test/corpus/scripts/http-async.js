import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2 };

export default async function () {
  const asked = [1, 2, 3].map((id) => http.asyncRequest("GET", `${__ENV.BASE_URL}/items/${id}`));
  const answers = await Promise.all(asked);
  check(answers, { "all came": (all) => all.every(({ status }) => status === 200) });
}
