import http from "k6/http";

export const options = {
  iterations: 3,
  ...{ noConnectionReuse: true, noVUConnectionReuse: true, userAgent: "corpus/1" },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
