/**
 * The coupon-issue scenario: every iteration asks for one coupon for a random user.
 *
 * `k6 run k6/coupon-issue.ts` runs it with the defaults against http://localhost:8080. The stack
 * passes `BASE_URL`, `PROFILE` and `THRESHOLDS` (the latter two as JSON).
 */
import { check } from "k6";
import http from "k6/http";
import type { Options } from "k6/options";
import { defaultProfile, defaultThresholds, k6Options, route } from "./profile.ts";

const baseUrl = __ENV.BASE_URL || "http://localhost:8080";
const profile = { ...defaultProfile, ...JSON.parse(__ENV.PROFILE || "{}") };
const thresholds = { ...defaultThresholds, ...JSON.parse(__ENV.THRESHOLDS || "{}") };

export const options = k6Options(profile, thresholds) as Options;

export default function () {
  const userId = profile.userIdBase + Math.floor(Math.random() * profile.userCount);
  const url = `${baseUrl}/coupons/${userId}/issue-async?couponId=${profile.couponId}`;

  // Shorter than the 30 s that k6 gives iterations to end: one that it cuts off is in no figure, and
  // a target that hangs would pass.
  const response = http.post(url, null, { tags: { name: route }, timeout: "20s" });

  check(response, {
    "status is 200 or 201": (r) => r.status === 200 || r.status === 201,
  });
}
