const http = require("k6/http");

exports.options = { iterations: 2, thresholds: { http_reqs: ["count<2"] } };

exports.default = function () {
  http.get(`${__ENV.BASE_URL}/`);
};
