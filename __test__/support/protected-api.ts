/**
 * A small API that requires an access token of the authorization server: GET /memories answers with the owner of the
 * token, and with 401 to a token that the server does not vouch for.
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { type AuthorizationServer, clients } from "./authorization-server.ts";
import { exchange } from "./exchange.ts";
import type { Lifetime } from "./lifetime.ts";

export interface ProtectedApiOptions {
  /**
   * How it checks tokens: introspection asks the server about any token; jwks verifies the signature of JWTs, which the
   * server issues for resource indicators. @default "introspection"
   */
  check?: "introspection" | "jwks";
  /** Scope that a token must have. @default "memory" */
  scope?: string;
  /** PEM of the certificate authority of an https authorization server. */
  ca?: string;
}

export interface ApiRequest {
  token: string | undefined;
  status: 200 | 401;
  /** The owner of the token. */
  subject?: string;
}

export class ProtectedApi {
  readonly requests: ApiRequest[] = [];
  readonly origin: string;
  readonly #http: http.Server;
  readonly #server: AuthorizationServer;
  readonly #options: ProtectedApiOptions;

  static async start(
    lifetime: Lifetime,
    server: AuthorizationServer,
    options: ProtectedApiOptions = {},
  ): Promise<ProtectedApi> {
    const listener = http.createServer();
    await new Promise<void>((resolve, reject) => {
      listener.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    const api = new ProtectedApi(listener, server, options);
    lifetime.after(() => api.stop());
    return api;
  }

  private constructor(listener: http.Server, server: AuthorizationServer, options: ProtectedApiOptions) {
    this.#http = listener;
    this.#server = server;
    this.#options = options;
    this.origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
    listener.on("request", (request: http.IncomingMessage, response: http.ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  /** Calls the API as a client would. */
  async call(token: string): Promise<{ status: number; subject?: string }> {
    const { status, text } = await exchange(`${this.origin}/memories`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return { status, ...(JSON.parse(text) as { subject?: string }) };
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#http.closeAllConnections();
    await closed;
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const token = /^Bearer (?<token>\S+)$/i.exec(request.headers.authorization ?? "")?.groups?.token;
    const claims = token === undefined ? undefined : await this.#claims(token);
    const scopes = claims?.scope?.split(" ") ?? [];
    if (claims === undefined || !scopes.includes(this.#options.scope ?? "memory")) {
      this.requests.push({ token, status: 401 });
      response
        .writeHead(401, { "www-authenticate": 'Bearer error="invalid_token"', "content-type": "application/json" })
        .end(JSON.stringify({ error: "invalid_token" }));
      return;
    }
    const subject = claims.sub ?? "";
    this.requests.push({ token, status: 200, subject });
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ subject, memories: [`${subject} likes tea`] }));
  }

  async #claims(token: string): Promise<{ sub?: string; scope?: string } | undefined> {
    const { issuer } = this.#server;
    const { check = "introspection", ca } = this.#options;
    const trust = ca === undefined ? {} : { ca };
    if (check === "jwks") {
      const { text } = await exchange(`${issuer}/jwks`, trust);
      const keys = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
      const verified = await jwtVerify<{ scope?: string }>(token, keys, { issuer }).catch(() => undefined);
      return verified?.payload;
    }
    const { clientId, clientSecret } = clients.api;
    const credentials = Buffer.from(`${clientId}:${clientSecret}`).toString("base64");
    const { text } = await exchange(`${issuer}/token/introspection`, {
      ...trust,
      headers: { authorization: `Basic ${credentials}` },
      body: new URLSearchParams({ token }),
    });
    const answer = JSON.parse(text) as { active: boolean; sub?: string; scope?: string };
    return answer.active ? answer : undefined;
  }
}
