import http from "k6/http";

// k6 warns of it, or does not, and goes on.
export const options = { iterations: 2, nonsense: true };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
