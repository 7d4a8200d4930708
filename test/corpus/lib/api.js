import http from "k6/http";

/** Asks the target for an item. */
export const getItem = (id) =>
  http.get(`${__ENV.BASE_URL}/items/${id}`, { tags: { name: "item" } });
