/** The HTTP routes of the coupon API. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { RedisUnavailable, type CouponStore, type IssueStatus } from "./coupons";

// A load generator spreads its requests over all its virtual users, so each connection is idle for
// (users / rate) seconds between two requests. If it is closed just as the next one is sent, that
// request fails with EOF. With Node's own default of 5 s this happens; it looks like a broken API.
const KEEP_ALIVE_MS = 75_000;
// A Redis that is connected but silent must not hold requests for ever.
const ANSWER_WITHIN_MS = 2_000;

const HTTP_CODE: Record<IssueStatus, number> = {
  issued: 201,
  "already issued": 200,
  "sold out": 409,
};

/** An answer other than success: `status` and `message` become its JSON body. */
class Refusal extends Error {
  constructor(
    readonly statusCode: number,
    readonly status: string,
    message: string,
  ) {
    super(message);
  }
}

/** What a route, the framework (`code`, `statusCode`) or Redis can throw. */
type RequestError = Error & { code?: string; statusCode?: number };

/** Builds the API on a store; the caller starts and stops both. */
export function buildApp(store: CouponStore, log: (line: string) => void): FastifyInstance {
  const onError = (error: RequestError, _request: FastifyRequest, reply: FastifyReply) => {
    const { statusCode, status, message } = asRefusal(error, log);
    return reply.code(statusCode).send({ status, message });
  };

  const app = Fastify({
    keepAliveTimeout: KEEP_ALIVE_MS,
    handlerTimeout: ANSWER_WITHIN_MS,
    frameworkErrors: onError, // for requests that reach no route, such as a malformed URL
  });
  app.setErrorHandler(onError);
  app.setNotFoundHandler((request) => {
    throw new Refusal(404, "not found", `no route ${request.method} ${request.url}`);
  });

  // No route reads a body, so none is refused for its type or content.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, payload, done) => {
    payload.resume();
    done(null);
  });

  app.post<{ Params: { userId: string }; Querystring: { couponId?: unknown } }>(
    "/coupons/:userId/issue-async",
    async (request, reply) => {
      const userId = positiveInteger("userId", request.params.userId);
      requireCoupon(store, request.query.couponId);
      const status = await store.issue(userId);
      return reply.code(HTTP_CODE[status]).send({ status });
    },
  );

  app.get<{ Params: { couponId: string } }>("/coupons/:couponId", async (request) => {
    requireCoupon(store, request.params.couponId);
    return store.counts();
  });

  app.get("/health", async () => {
    await store.ping();
    return { status: "ok" };
  });

  return app;
}

function positiveInteger(name: string, text: unknown): number {
  const value = typeof text === "string" && /^\d+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value) || value < 1) {
    const given = text === undefined ? "missing" : JSON.stringify(text);
    throw new Refusal(400, "bad request", `${name} must be a positive integer; it is ${given}`);
  }
  return value;
}

function requireCoupon(store: CouponStore, text: unknown): void {
  const couponId = positiveInteger("couponId", text);
  if (couponId !== store.couponId) {
    throw new Refusal(404, "unknown coupon", `coupon ${couponId} is not configured`);
  }
}

/** Every error a request can end with, as the answer to give; only a bug is logged here. */
function asRefusal(error: RequestError, log: (line: string) => void): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof RedisUnavailable || error.code === "FST_ERR_HANDLER_TIMEOUT") {
    return new Refusal(503, "unavailable", "Redis is unavailable; try again later");
  }
  if (error.statusCode && error.statusCode < 500) {
    return new Refusal(400, "bad request", error.message);
  }
  log(`Error: ${error.message}`);
  return new Refusal(500, "error", "internal error");
}
