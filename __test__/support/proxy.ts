/** The parts between a client and a server: a wire that fails on command, and an HTTP proxy. */
import { randomInt } from "node:crypto";
import http from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import type { Lifetime } from "./lifetime.ts";

/** The faults of connections; the first in time that applies. */
export interface WireFault {
  /** Milliseconds that every chunk is delayed by, each way. */
  latency?: number;
  /** Once the client has sent this many bytes (0: at once); the server gets none of them. */
  atRequestByte?: number;
  /** Once the server has answered this many bytes; the bytes before them are passed on. */
  atResponseByte?: number;
  /** Once the client has sent a whole HTTP request, which the server does not get: the answer instead. */
  instead?: string;
  /** The end of the connection: it is reset, closed in good order, or goes silent. @default "reset" */
  ending?: "reset" | "close" | "stall";
}

/** Passes TCP on to a server, faithfully until a fault is set. */
export class Wire {
  /** Connections that were accepted so far. */
  connections = 0;
  readonly port: number;
  readonly #target: { host: string; port: number };
  #server: net.Server;
  readonly #sockets = new Set<Socket>();
  #fault: WireFault = {};

  /** @param target Origin or URL of the server behind. */
  static async start(lifetime: Lifetime, target: string): Promise<Wire> {
    const { hostname, port } = new URL(target);
    const server = await listeningForGood();
    const wire = new Wire(server, { host: hostname, port: Number(port) });
    lifetime.after(() => wire.stop());
    return wire;
  }

  private constructor(server: net.Server, target: { host: string; port: number }) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (socket) => this.#connect(socket));
  }

  /** The same URL by way of this wire. */
  through(url: string): string {
    const parsed = new URL(url);
    parsed.port = String(this.port);
    return parsed.pathname === "/" && !url.endsWith("/") ? parsed.origin : parsed.href;
  }

  /** From the next connection on; without argument it is faithful again. */
  misbehave(fault: WireFault = {}): void {
    this.#fault = fault;
  }

  /** Resets every connection that is open now. */
  breakConnections(): void {
    for (const socket of this.#sockets) {
      // To reset a connection that is being closed makes libuv spin for ever.
      if (socket.writableEnded) {
        socket.destroy();
      } else {
        socket.resetAndDestroy();
      }
    }
  }

  /** Nobody listens on the port any more: connections are refused. Open ones are reset. */
  async refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.breakConnections();
    await closed;
  }

  /** Listens again, on the same port, after `refuse()`. */
  async accept(): Promise<void> {
    if (this.#server.listening) {
      return;
    }
    this.#server = await listening(this.port);
    this.#server.on("connection", (socket) => this.#connect(socket));
  }

  async stop(): Promise<void> {
    if (this.#server.listening) {
      await this.refuse();
    }
  }

  #connect(client: Socket): void {
    this.connections += 1;
    const { latency = 0, atRequestByte, atResponseByte, instead, ending = "reset" } = this.#fault;
    this.#keep(client);
    if (atRequestByte === 0) {
      fail(client, ending);
      return;
    }
    if (instead !== undefined) {
      wholeRequest(client, () => client.write(instead, () => fail(client, ending)));
      return;
    }
    const server = net.connect(this.#target);
    this.#keep(server);
    const pass = (to: Socket, chunk: Buffer) => later(latency, () => to.destroyed || to.write(chunk));
    let requested = 0;
    let answered = 0;
    client.on("data", (chunk: Buffer) => {
      requested += chunk.length;
      if (atRequestByte !== undefined && requested >= atRequestByte) {
        fail(client, ending);
        server.destroy();
      } else {
        pass(server, chunk);
      }
    });
    server.on("data", (chunk: Buffer) => {
      const room = (atResponseByte ?? Number.POSITIVE_INFINITY) - answered;
      answered += chunk.length;
      if (chunk.length < room) {
        pass(client, chunk);
        return;
      }
      server.destroy();
      client.write(chunk.subarray(0, room), () => fail(client, ending));
    });
    client.on("end", () => later(latency, () => server.end()));
    server.on("end", () => later(latency, () => client.end()));
    const gone = (other: Socket) => () => {
      // A stalled client is meant to hang, even if the server behind it is gone.
      if (other !== client || ending !== "stall") {
        later(latency, () => other.destroy());
      }
    };
    client.on("close", gone(server));
    server.on("close", gone(client));
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

function wholeRequest(client: Socket, act: () => void): void {
  let received = "";
  client.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
    const [head = "", body] = received.split(/\r\n\r\n(.*)/s);
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    if (body !== undefined && body.length >= length) {
      client.removeAllListeners("data").resume();
      act();
    }
  });
}

function fail(client: Socket, how: NonNullable<WireFault["ending"]>): void {
  if (how === "reset") {
    client.resetAndDestroy();
  } else if (how === "close") {
    client.end();
  } else {
    client.removeAllListeners("data");
    client.resume();
  }
}

function later(milliseconds: number, act: () => unknown): void {
  if (milliseconds === 0) {
    act();
  } else {
    setTimeout(act, milliseconds);
  }
}

/** On a port that systems hand to nobody by themselves, so that it is still free after `refuse()`. */
async function listeningForGood(): Promise<net.Server> {
  for (;;) {
    try {
      return await listening(10_000 + randomInt(20_000));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") {
        throw error;
      }
    }
  }
}

function listening(port: number): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", () => resolve(server));
  });
}

export interface ProxiedRequest {
  method: string;
  /** host:port of a CONNECT, the URL of another request. */
  target: string;
  /** The Proxy-Authorization header. */
  authorization?: string;
  status: number;
}

/** An HTTP proxy: tunnels by CONNECT, forwards plain requests, and logs both. */
export class HttpProxy {
  readonly requests: ProxiedRequest[] = [];
  readonly url: string;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();

  /**
   * @param credentials "user:password" that it demands.
   * @param resolve Where a name really leads (host:port to host:port), for servers with names that exist nowhere.
   */
  static async start(
    lifetime: Lifetime,
    { credentials, resolve = {} }: { credentials?: string; resolve?: Record<string, string> } = {},
  ): Promise<HttpProxy> {
    const server = http.createServer();
    await new Promise<void>((done, reject) => {
      server.once("error", reject).listen(0, "127.0.0.1", done);
    });
    const proxy = new HttpProxy(server, credentials, resolve);
    lifetime.after(() => proxy.stop());
    return proxy;
  }

  private constructor(server: http.Server, credentials: string | undefined, resolve: Record<string, string>) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const expected = credentials && `Basic ${Buffer.from(credentials).toString("base64")}`;
    const log = (request: http.IncomingMessage, allowed: number): ProxiedRequest => {
      const authorization = request.headers["proxy-authorization"];
      const entry = {
        method: request.method ?? "",
        target: request.url ?? "",
        ...(authorization !== undefined && { authorization }),
        status: expected === undefined || authorization === expected ? allowed : 407,
      };
      this.requests.push(entry);
      return entry;
    };

    server.on("connection", (socket) => this.#keep(socket));
    server.on("connect", (request, socket: Socket) => {
      if (log(request, 200).status === 407) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="test"\r\n\r\n');
        return;
      }
      const name = request.url ?? "";
      const [host = "", port = ""] = (resolve[name] ?? name).split(/:(?=\d+$)/);
      const upstream = net.connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        socket.pipe(upstream).pipe(socket);
      });
      this.#keep(upstream);
      upstream.on("error", () => socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    });
    server.on("request", (request, response) => {
      const entry = log(request, 0);
      if (entry.status === 407) {
        response.writeHead(407, { "proxy-authenticate": 'Basic realm="test"' }).end();
        return;
      }
      const url = new URL(request.url ?? "");
      const named = resolve[`${url.hostname}:${url.port || 80}`];
      const { "proxy-authorization": _ours, ...headers } = request.headers;
      const upstream = http.request(named === undefined ? url : new URL(url.pathname + url.search, `http://${named}`), {
        method: request.method,
        headers,
      });
      upstream.on("response", (answer) => {
        entry.status = answer.statusCode ?? 0;
        answer.pipe(response.writeHead(entry.status, answer.headers));
      });
      upstream.on("error", () => {
        entry.status = 502;
        response.writeHead(502).end();
      });
      request.pipe(upstream);
    });
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
