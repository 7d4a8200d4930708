import http from "k6/http";

const { host } = { host: __ENV.BASE_URL.replace("http://", "") };

export const options = { iterations: 2, hosts: { "shop.test": host } };

export default function () {
  http.get("http://shop.test/");
}
