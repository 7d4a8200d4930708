import { check } from "k6";
import { md5 } from "k6/crypto";
import http from "k6/http";

const bytes = open("../data/bytes.bin", "b");

export const options = { iterations: 2 };

export default function () {
  check(bytes, {
    "has all bytes": ({ byteLength }) => byteLength === 256,
    "is not changed": (data) => md5(data, "hex") === "e2c865db4162bed963bfaa9ef6ac18f0",
  });
  http.post(`${__ENV.BASE_URL}/upload`, { file: http.file(bytes, "bytes.bin") });
}
