/**
 * The services of real programs, on loopback: a token endpoint with refresh tokens that work once, under any host and
 * path, and a proxy with its own certificate authority that leads every host there. Nothing leaves the machine.
 */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { CertificateAuthority } from "../support/certificate-authority.ts";
import { jwt } from "../support/foreign-file.ts";
import type { Lifetime } from "../support/lifetime.ts";

export interface TokenRequest {
  host: string;
  path: string;
  type: string;
  body: Record<string, string>;
  /** Whether the token was the living one. */
  accepted: boolean;
}

export class Service {
  readonly origin: string;
  readonly authority: CertificateAuthority;
  /** Refreshes, in order. */
  readonly refreshes: TokenRequest[] = [];
  /** The access tokens that came with everything else. */
  readonly bearers = new Set<string>();
  /** The refresh token that works. */
  live = "r0";
  /** Milliseconds from a refresh to its answer. */
  delay = 0;
  /** A refresh is not looked at before: one that was given up by then never was. */
  gate: Promise<void> | undefined;
  /** Members of its token answers that one program alone needs. */
  extra: Record<string, unknown> = {};
  readonly #proxy: string;
  #round = 0;
  #waiting: (() => void)[] = [];

  /** @param folder for the certificate */
  static async start(lifetime: Lifetime, folder: string): Promise<Service> {
    const authority = await CertificateAuthority.create(folder);
    const server = http.createServer();
    const proxy = http.createServer();
    const sockets = new Set<Socket>();
    for (const each of [server, proxy]) {
      each.on("connection", (socket) => {
        sockets.add(socket);
        socket.on("close", () => sockets.delete(socket));
      });
      await new Promise<void>((resolve) => each.listen(0, "127.0.0.1", resolve));
    }
    lifetime.after(() => {
      server.close();
      proxy.close();
      for (const socket of sockets) {
        socket.destroy();
      }
    });
    const service = new Service(authority, origin(server), origin(proxy));
    server.on("request", (request, response) => void service.#answer(request, response));
    proxy.on("request", (request, response) => void service.#answer(request, response));
    proxy.on("connect", (request, socket: Socket) => void service.#tunnel(server, request, socket));
    return service;
  }

  private constructor(authority: CertificateAuthority, address: string, proxy: string) {
    this.authority = authority;
    this.origin = address;
    this.#proxy = proxy;
  }

  /** The variables that lead a program here. */
  env(): Record<string, string> {
    const { path } = this.authority;
    return {
      HTTPS_PROXY: this.#proxy,
      https_proxy: this.#proxy,
      HTTP_PROXY: this.#proxy,
      http_proxy: this.#proxy,
      NO_PROXY: "127.0.0.1,localhost",
      no_proxy: "127.0.0.1,localhost",
      NODE_EXTRA_CA_CERTS: path,
      SSL_CERT_FILE: path,
      CODEX_CA_CERTIFICATE: path,
      NODE_USE_ENV_PROXY: "1",
    };
  }

  /** Resolves when the next refresh has arrived. */
  asked(): Promise<void> {
    return new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Tokens as the service gives them; the refresh token is the living one. */
  tokens(round: number, lives: number) {
    const exp = Math.floor((Date.now() + lives) / 1000);
    const claims = { iat: exp - 3600, exp, round, sub: "ada", email: "ada@example.com" };
    const account = { "https://api.openai.com/auth": { chatgpt_account_id: "acc-1", chatgpt_plan_type: "plus" } };
    return { access: jwt({ ...claims, ...account }), idToken: jwt({ ...claims, ...account }) };
  }

  async #tunnel(server: http.Server, request: http.IncomingMessage, socket: Socket): Promise<void> {
    const host = (request.url ?? "").replace(/:\d+$/, "");
    socket.on("error", () => {});
    const { key, cert } = await this.authority.issue({ names: [host] });
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    const secure = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ key, cert }) });
    secure.on("error", () => {});
    server.emit("connection", secure);
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    await once(request, "end");
    const host = request.headers.host ?? "";
    const path = request.url ?? "";
    const type = request.headers["content-type"] ?? "";
    const reply = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    const body: Record<string, string> = type.includes("json")
      ? parsed(text)
      : Object.fromEntries(new URLSearchParams(text));
    if (path.startsWith("/.well-known/")) {
      return reply(200, {
        issuer: this.origin,
        authorization_endpoint: `${this.origin}/authorize`,
        token_endpoint: `${this.origin}/token`,
        response_types_supported: ["code"],
        code_challenge_methods_supported: ["S256"],
        resource: `${this.origin}/mcp`,
        authorization_servers: [this.origin],
      });
    }
    if (body.grant_type !== "refresh_token") {
      const { authorization = "", "x-api-key": key = "" } = request.headers;
      this.bearers.add(authorization.replace(/^Bearer /, "") || String(key));
      return reply(400, { type: "error", error: { type: "invalid_request_error", message: "not here" } });
    }
    for (const resolve of this.#waiting.splice(0)) {
      resolve();
    }
    await this.gate;
    if (response.destroyed || request.socket.destroyed) {
      return;
    }
    const accepted = body.refresh_token === this.live;
    this.refreshes.push({ host, path, type, body, accepted });
    if (accepted) {
      this.#round += 1;
      this.live = `r${this.#round}`;
    }
    const { live } = this;
    const round = this.#round;
    await new Promise((resolve) => setTimeout(resolve, this.delay));
    if (!accepted) {
      return reply(400, { error: "invalid_grant", error_description: "used before" });
    }
    const { access, idToken } = this.tokens(round, 3_600_000);
    reply(200, {
      access_token: access,
      refresh_token: live,
      id_token: idToken,
      expires_in: 3600,
      token_type: "Bearer",
      ...this.extra,
    });
  }
}

function parsed(text: string): Record<string, string> {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function origin(server: http.Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
