import http from "k6/http";

export const options = { iterations: 2 };

// k6 breaks down on a tag without a name: its stack overflows.
export default function () {
  http.get(`${__ENV.BASE_URL}/`, { tags: { "": "nameless" } });
}
