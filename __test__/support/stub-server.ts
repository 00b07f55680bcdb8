/**
 * A server whose answers a test writes itself: odd ones, hostile ones, broken ones. In this process, on loopback.
 *
 *     const stub = await StubServer.start(t, { routes: { "/token": [{ status: 502 }, { status: 200, body: { … } }] } });
 */
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { RawAnswer } from "./authorization-server.ts";
import type { ServerCertificate } from "./certificate-authority.ts";
import type { Lifetime } from "./lifetime.ts";

export interface StubRequest {
  /** When it had arrived whole, Unix milliseconds, monotonic, with fractions. */
  time: number;
  method: string;
  path: string;
  query: string;
  headers: http.IncomingHttpHeaders;
  body: string;
  /** Parameters of a form; empty for other bodies. */
  form: URLSearchParams;
}

/**
 * A whole answer; or raw bytes, head included, at once or chunk by chunk for as long as the client reads; or no
 * answer: the connection breaks, or nothing ever comes. An answer that is cut ends without TLS's close_notify.
 */
export type StubAnswer =
  | RawAnswer
  | { bytes: string | Buffer; ending?: "close" | "cut" | "reset" | "stall" }
  | { chunks: () => Iterable<string | Buffer> | AsyncIterable<string | Buffer> }
  | "reset"
  | "stall";
export type StubHandler = (request: StubRequest, nth: number) => StubAnswer | Promise<StubAnswer>;
/** One answer for all, answers one after the other (the last one stays), or a function. */
export type StubRoute = StubAnswer | StubAnswer[] | StubHandler;

export interface StubServerOptions {
  routes?: Record<string, StubRoute>;
  tls?: ServerCertificate;
  /** Its name in `origin`; an IPv6 address in brackets. @default "127.0.0.1" */
  host?: string;
  /** The address that it listens on. @default "127.0.0.1" */
  address?: string;
}

export class StubServer {
  /** Every request so far, of all paths. */
  readonly requests: StubRequest[] = [];
  readonly origin: string;
  readonly #server: http.Server | https.Server;
  readonly #routes = new Map<string, StubRoute>();
  readonly #sockets = new Set<Socket>();
  #waiting: (() => boolean)[] = [];

  static async start(lifetime: Lifetime, options: StubServerOptions = {}): Promise<StubServer> {
    const server = options.tls ? https.createServer(options.tls) : http.createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(0, options.address ?? "127.0.0.1", resolve);
    });
    const stub = new StubServer(server, options);
    lifetime.after(() => stub.stop());
    return stub;
  }

  private constructor(server: http.Server | https.Server, options: StubServerOptions) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.origin = `${options.tls ? "https" : "http"}://${options.host ?? "127.0.0.1"}:${port}`;
    for (const [path, route] of Object.entries(options.routes ?? {})) {
      this.route(path, route);
    }
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("request", (request: http.IncomingMessage, response: http.ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(599).end(String(error));
      });
    });
  }

  /** Answers of this path from now on. Paths without a route answer 404. */
  route(path: string, route: StubRoute): void {
    this.#routes.set(path, route);
  }

  /** The next answer of this path alone. */
  once(path: string, answer: StubAnswer): void {
    const route = this.#routes.get(path);
    let isOver = false;
    this.route(path, (request, nth) => {
      const answers = isOver ? chosen(route, request, nth) : answer;
      isOver = true;
      return answers;
    });
  }

  /** RFC 8414 metadata of this server at its well-known place, with `members` added or replaced. */
  describe(members: Record<string, unknown> = {}): void {
    const body = {
      issuer: this.origin,
      device_authorization_endpoint: `${this.origin}/device`,
      token_endpoint: `${this.origin}/token`,
      revocation_endpoint: `${this.origin}/revoke`,
      ...members,
    };
    this.route("/.well-known/oauth-authorization-server", { status: 200, body });
  }

  /** The requests of one path so far. */
  requestsOf(path: string): StubRequest[] {
    return this.requests.filter((request) => request.path === path);
  }

  /** The nth (from 1) request of this path: now, or when it has come. */
  request(path: string, nth = 1): Promise<StubRequest> {
    return new Promise((resolve) => {
      const wait = () => {
        const found = this.requestsOf(path)[nth - 1];
        if (found !== undefined) {
          resolve(found);
        }
        return found !== undefined;
      };
      if (!wait()) {
        this.#waiting.push(wait);
      }
    });
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
  }

  async #answer(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const request = await received(incoming);
    this.requests.push(request);
    const nth = this.requestsOf(request.path).length;
    this.#waiting = this.#waiting.filter((wait) => !wait());

    const answer = await chosen(this.#routes.get(request.path), request, nth);
    const { socket } = incoming;
    if (answer === "stall") {
      return;
    }
    if (answer === "reset") {
      reset(socket);
    } else if ("chunks" in answer) {
      await poured(answer.chunks(), socket);
    } else if ("bytes" in answer) {
      socket.write(answer.bytes, () => {
        if (answer.ending === "reset") {
          reset(socket);
        } else if (answer.ending === "cut") {
          socket.destroy();
        } else if (answer.ending !== "stall") {
          socket.end();
        }
      });
    } else {
      const { status, headers = {}, body = "" } = answer;
      const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      const json: Record<string, string> = bytes === body ? {} : { "content-type": "application/json" };
      response.writeHead(status, { ...json, ...headers }).end(bytes);
    }
  }
}

async function poured(chunks: Iterable<string | Buffer> | AsyncIterable<string | Buffer>, socket: Socket) {
  // A client that has enough closes, or resets.
  const gone = new Promise<void>((resolve) => void socket.once("close", resolve).on("error", () => resolve()));
  for await (const chunk of chunks) {
    const drained = socket.write(chunk) ? undefined : once(socket, "drain").catch(() => {});
    await Promise.race([drained, gone]);
    // A reader that keeps up must not keep this process from everything else.
    await new Promise((resolve) => setImmediate(resolve));
    if (socket.destroyed) return;
  }
  socket.end();
}

function chosen(route: StubRoute | undefined, request: StubRequest, nth: number): StubAnswer | Promise<StubAnswer> {
  if (typeof route === "function") {
    return route(request, nth);
  }
  const answer = Array.isArray(route) ? (route[nth - 1] ?? route.at(-1)) : route;
  return answer ?? { status: 404, headers: { "content-type": "text/plain" }, body: "Not Found" };
}

async function received(incoming: http.IncomingMessage): Promise<StubRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) {
    chunks.push(chunk as Buffer);
  }
  const body = Buffer.concat(chunks).toString();
  const { pathname, search } = new URL(incoming.url ?? "/", "http://localhost");
  const isForm = incoming.headers["content-type"]?.startsWith("application/x-www-form-urlencoded") === true;
  return {
    time: performance.timeOrigin + performance.now(),
    method: incoming.method ?? "",
    path: pathname,
    query: search,
    headers: incoming.headers,
    body,
    form: new URLSearchParams(isForm ? body : ""),
  };
}

function reset(socket: Socket): void {
  if ("encrypted" in socket) {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
}
