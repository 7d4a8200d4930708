import { nothing } from "../lib/nowhere.js";

export default function () {
  nothing();
}
