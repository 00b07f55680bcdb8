import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import http, { type IncomingHttpHeaders } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { now } from "../../lib/shared.js";
import { checkMembers, flag, type Kind, number, object } from "../option-types.ts";

/** How a server for tests behaves. */
export interface AuthorizationServerOptions {
  /** Seconds that an access token lives. @default 3600 */
  accessTokenLifetime?: number | undefined;
  /** Seconds that a device code lives. @default 600 */
  deviceCodeLifetime?: number | undefined;
  /** Each refresh gives a new refresh token; a spent one that is used again ends the login. @default true */
  rotation?: boolean | undefined;
  /** Clients may register themselves (RFC 7591). @default true */
  registration?: boolean | undefined;
  /** Clients by their ids, with their secrets; undefined for a public one. @default every id is a public client */
  clients?: Record<string, string | undefined> | undefined;
  /** Every login is approved at once, without {@link TestAuthorizationServer.approve}. @default false */
  approval?: "automatic" | undefined;
  /** @default a free one */
  port?: number | undefined;
}

const kinds: Record<keyof AuthorizationServerOptions, Kind> = {
  accessTokenLifetime: number,
  deviceCodeLifetime: number,
  rotation: flag,
  registration: flag,
  clients: object,
  approval: ['"automatic", or nothing', (value) => value === "automatic"],
  port: number,
};

/** A request, as the server got it: with its secrets. */
export interface TestRequest {
  endpoint: TestEndpoint;
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** The parameters of the query and of the form. */
  parameters: Record<string, string>;
  clientId: string | undefined;
  /** The last part of `grant_type`: "device_code" is a poll, "refresh_token" a refresh. */
  grant: string | undefined;
  /** The status of the answer; 0 where the connection was reset; undefined where there is no answer yet. */
  status: number | undefined;
}

export type TestEndpoint =
  | "metadata"
  | "authorization"
  | "device_authorization"
  | "token"
  | "revocation"
  | "registration"
  | "userinfo"
  | "page"
  | "unknown";

/** Tokens without a login, as {@link loggedIn} takes them. */
export interface GrantedLogin {
  access: string;
  refresh: string;
  /** Unix milliseconds. */
  expires: number;
  scopes: string[];
  clientId: string;
}

/** A small authorization server on this machine, for the tests of a plugin. */
export interface TestAuthorizationServer {
  /** For the option `issuer`. */
  readonly issuer: string;
  /** All requests so far, the oldest first. */
  readonly requests: TestRequest[];
  /**
   * Approves the login that waits, or the next one. Of a login through the browser the address is needed, as the
   * person was shown it; the text around it may stay. Gives back where the browser was sent, for a test that pastes
   * that address.
   */
  approve(shown?: string): Promise<string | undefined>;
  /** Denies it, likewise. */
  deny(shown?: string): Promise<string | undefined>;
  /** No access token of so far is accepted any more. Refresh tokens go on working. */
  expireTokens(): void;
  /** Ends all logins: neither their access tokens nor their refresh tokens are accepted any more. */
  revoke(): void;
  /**
   * The next request fails: with that status, or by a connection that breaks; or its answer takes two seconds. With an
   * endpoint, the next request to that one; without, to any but the metadata.
   */
  failNext(how: number | "reset" | "slow", endpoint?: TestEndpoint): void;
  /** Whether a service should accept this token, or this `Authorization` header. */
  accepts(token: string | null | undefined): boolean;
  /** Tokens as a login would have given them, without one. */
  grant(options?: { clientId?: string | undefined; scopes?: string[] | undefined }): GrantedLogin;
  close(): Promise<void>;
}

interface Login {
  clientId: string;
  scopes: string[];
  isRevoked: boolean;
}

interface Issued {
  login: Login;
  expires: number;
  isSpent: boolean;
}

interface Pending {
  clientId: string;
  scopes: string[];
  challenge: string | undefined;
  redirectUri: string | undefined;
  userCode: string;
  expires: number;
  decision: Decision | undefined;
  isRedeemed: boolean;
}

type Decision = "approved" | "denied";

/** An OAuth error answer (RFC 6749 section 5.2). */
class Refusal extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, status = 400) {
    super(code);
    this.code = code;
    this.status = status;
  }
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";
const paths: Record<string, TestEndpoint> = {
  "/.well-known/oauth-authorization-server": "metadata",
  "/authorize": "authorization",
  "/device_authorization": "device_authorization",
  "/token": "token",
  "/revoke": "revocation",
  "/register": "registration",
  "/userinfo": "userinfo",
  "/device": "page",
};
/** How long a slow answer takes, in milliseconds. */
const slowness = 2_000;

/**
 * Starts a small authorization server in this process, on loopback: device flow, login through the browser with PKCE,
 * registration, refresh tokens that rotate, revocation. It has no dependency, and is for tests only: anybody is
 * approved whom the test approves. `/userinfo` is a service that takes its tokens.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer } from "clawdbot-plugin-auth/testing";
 *
 * const server = await startAuthorizationServer();
 * server.approve(); // the next login
 * console.log(server.issuer, server.requests.length);
 * await server.close();
 * ```
 */
export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<TestAuthorizationServer> {
  checkMembers("startAuthorizationServer", "options", options, kinds);
  const server = new SmallServer(options);
  await server.listen(options.port ?? 0);
  return server;
}

class SmallServer implements TestAuthorizationServer {
  readonly requests: TestRequest[] = [];
  issuer = "";
  readonly #server = http.createServer((request, response) => {
    this.#serve(request, response).catch(() => request.destroy());
  });
  readonly #sockets = new Set<Socket>();
  readonly #options: AuthorizationServerOptions;
  readonly #clients: Map<string, string | undefined> | undefined;
  readonly #registered = new Map<string, string | undefined>();
  readonly #access = new Map<string, Issued>();
  readonly #refresh = new Map<string, Issued>();
  /** By device code or authorization code. */
  readonly #pending = new Map<string, Pending>();
  readonly #closing = new AbortController();
  #decisions: Decision[] = [];
  #failures: { how: number | "reset" | "slow"; endpoint: TestEndpoint | undefined }[] = [];

  constructor(options: AuthorizationServerOptions) {
    this.#options = options;
    this.#clients = options.clients && new Map(Object.entries(options.clients));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.issuer = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  approve(shown?: string): Promise<string | undefined> {
    return this.#decide("approved", shown);
  }

  deny(shown?: string): Promise<string | undefined> {
    return this.#decide("denied", shown);
  }

  expireTokens(): void {
    this.#access.clear();
  }

  revoke(): void {
    for (const { login } of this.#refresh.values()) {
      login.isRevoked = true;
    }
  }

  failNext(how: number | "reset" | "slow", endpoint?: TestEndpoint): void {
    this.#failures.push({ how, endpoint });
  }

  accepts(token: string | null | undefined): boolean {
    const issued = this.#access.get((token ?? "").replace(/^Bearer /i, ""));
    return issued !== undefined && issued.expires > now() && !issued.login.isRevoked;
  }

  grant({ clientId = "test-client", scopes = [] }: { clientId?: string; scopes?: string[] } = {}): GrantedLogin {
    const { access_token: access, refresh_token: refresh } = this.#issue({ clientId, scopes, isRevoked: false });
    return { access, refresh, expires: this.#access.get(access)?.expires ?? 0, scopes, clientId };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
  }

  async #decide(decision: Decision, shown = ""): Promise<string | undefined> {
    const url = new RegExp(`${this.issuer}/authorize\\?[^\\s"'<>]+`).exec(shown)?.[0];
    if (url !== undefined) {
      this.#decisions.push(decision);
      return browse(url);
    }
    const waiting = [...this.#pending.values()].find(
      ({ decision, userCode, expires }) =>
        decision === undefined && expires > now() && userCode !== "" && (shown === "" || shown.includes(userCode)),
    );
    if (waiting === undefined && shown !== "") {
      throw new Error(`No login at ${this.issuer} waits that was shown so. It has to hold its address, or its code.`);
    }
    if (waiting === undefined) {
      this.#decisions.push(decision);
    } else {
      waiting.decision = decision;
    }
    return undefined;
  }

  async #serve(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? "/", this.issuer);
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) {
      chunks.push(chunk as Buffer);
    }
    const body = Buffer.concat(chunks).toString();
    const isJson = incoming.headers["content-type"]?.startsWith("application/json") === true;
    const parameters = Object.fromEntries([...searchParams, ...new URLSearchParams(isJson ? "" : body)]);
    const basic = /^Basic (.*)$/.exec(incoming.headers.authorization ?? "")?.[1];
    // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
    const [basicId, basicSecret] = Buffer.from(basic ?? "", "base64")
      .toString()
      .split(":")
      .map(unescaped);
    const request: TestRequest = {
      endpoint: paths[pathname] ?? "unknown",
      method: incoming.method ?? "GET",
      path: pathname,
      headers: incoming.headers,
      parameters,
      clientId: basic === undefined ? parameters.client_id : basicId,
      grant: parameters.grant_type?.split(":").at(-1),
      status: undefined,
    };
    this.requests.push(request);

    const at = this.#failures.findIndex(({ endpoint }) =>
      endpoint === undefined ? request.endpoint !== "metadata" : endpoint === request.endpoint,
    );
    const [failure] = at === -1 ? [] : this.#failures.splice(at, 1);
    if (failure?.how === "reset") {
      request.status = 0;
      incoming.socket.resetAndDestroy();
      return;
    }
    if (failure?.how === "slow") {
      await this.#wait(slowness);
    }
    const answer = (status: number, members?: object, headers: http.OutgoingHttpHeaders = {}) => {
      request.status = status;
      const type = {
        "content-type": "application/json",
        "cache-control": "no-store",
        date: new Date(now()).toUTCString(),
      };
      response.writeHead(status, { ...type, ...headers }).end(members === undefined ? "" : JSON.stringify(members));
    };
    if (typeof failure?.how === "number") {
      // A client takes JSON for the word of the server itself, and anything else for that of a gateway before it.
      const isGateway = failure.how >= 500 || failure.how === 429;
      answer(failure.how, isGateway ? undefined : { error: "invalid_request" });
      return;
    }
    try {
      const secret = basic === undefined ? parameters.client_secret : basicSecret;
      const { status = 200, members, location } = this.#handle(request, secret, isJson ? body : "");
      answer(status, members, location === undefined ? {} : { location });
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal("server_error", 500);
      answer(refusal.status, { error: refusal.code });
    }
  }

  #handle(
    request: TestRequest,
    secret: string | undefined,
    json: string,
  ): { status?: number; members?: object; location?: string } {
    const { endpoint, method, parameters } = request;
    const isExpected =
      endpoint === "userinfo" || (method === "GET") === ["metadata", "authorization", "page"].includes(endpoint);
    if (!isExpected) {
      throw new Refusal("invalid_request", endpoint === "unknown" ? 404 : 405);
    }
    switch (endpoint) {
      case "metadata":
        return { members: this.#metadata() };
      case "page":
        return { members: { about: "A server for tests: the test calls approve() or deny()." } };
      case "userinfo":
        if (!this.accepts(request.headers.authorization)) {
          throw new Refusal("invalid_token", 401);
        }
        return { members: { sub: "ada", name: "Ada Lovelace", email: "ada@example.com" } };
      case "registration":
        return { status: 201, members: this.#register(json) };
      case "authorization":
        return { status: 302, location: this.#authorize(parameters) };
      default:
        break;
    }
    const clientId = this.#client(request.clientId, secret);
    switch (endpoint) {
      case "device_authorization":
        return { members: this.#authorizeDevice(clientId, parameters) };
      case "token":
        return { members: this.#token(clientId, parameters) };
      case "revocation":
        this.#revoke(parameters.token);
        return {};
      default:
        throw new Refusal("invalid_request", 404);
    }
  }

  /** RFC 8414 section 2. */
  #metadata(): object {
    const { issuer } = this;
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      device_authorization_endpoint: `${issuer}/device_authorization`,
      token_endpoint: `${issuer}/token`,
      revocation_endpoint: `${issuer}/revoke`,
      userinfo_endpoint: `${issuer}/userinfo`,
      ...(this.#options.registration !== false && { registration_endpoint: `${issuer}/register` }),
      response_types_supported: ["code"],
      grant_types_supported: [deviceGrant, "authorization_code", "refresh_token"],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
      authorization_response_iss_parameter_supported: true,
    };
  }

  #register(json: string): object {
    if (this.#options.registration === false) {
      throw new Refusal("invalid_request", 404);
    }
    const metadata = parsed(json);
    const clientId = `client-${this.#registered.size + 1}`;
    // RFC 7591 section 2: the default is client_secret_basic.
    const secret = metadata.token_endpoint_auth_method === "none" ? undefined : unguessable();
    this.#registered.set(clientId, secret);
    // RFC 7591 section 3.2.1: 0 means that the secret does not expire.
    return { ...metadata, client_id: clientId, ...(secret && { client_secret: secret, client_secret_expires_at: 0 }) };
  }

  #client(id: string | undefined, secret: string | undefined): string {
    const known = this.#registered.has(id ?? "") ? this.#registered : this.#clients;
    if (!id || (known !== undefined && (!known.has(id) || known.get(id) !== secret))) {
      throw new Refusal("invalid_client", 401);
    }
    return id;
  }

  #begin(clientId: string, parameters: Record<string, string>, more: Partial<Pending>): Pending {
    return {
      clientId,
      scopes: parameters.scope?.split(" ") ?? [],
      challenge: parameters.code_challenge,
      redirectUri: undefined,
      userCode: "",
      expires: now() + (this.#options.deviceCodeLifetime ?? 600) * 1000,
      decision: this.#options.approval === "automatic" ? "approved" : this.#decisions.shift(),
      isRedeemed: false,
      ...more,
    };
  }

  /** RFC 8628 section 3.2. */
  #authorizeDevice(clientId: string, parameters: Record<string, string>): object {
    const letters = Array.from(randomBytes(8), (byte) => "BCDFGHJKLMNPQRSTVWXZ"[byte % 20]).join("");
    const userCode = `${letters.slice(0, 4)}-${letters.slice(4)}`;
    const deviceCode = unguessable();
    this.#pending.set(deviceCode, this.#begin(clientId, parameters, { userCode }));
    return {
      device_code: deviceCode,
      user_code: userCode,
      verification_uri: `${this.issuer}/device`,
      verification_uri_complete: `${this.issuer}/device?user_code=${userCode}`,
      expires_in: this.#options.deviceCodeLifetime ?? 600,
      interval: 1,
    };
  }

  /** Where the browser is sent (RFC 6749 section 4.1.2), as the test decided. */
  #authorize(parameters: Record<string, string>): string {
    const { client_id: clientId = "", redirect_uri: redirectUri, state } = parameters;
    const isKnown = this.#clients === undefined || this.#clients.has(clientId) || this.#registered.has(clientId);
    if (clientId === "" || !isKnown || redirectUri === undefined || !URL.canParse(redirectUri)) {
      throw new Refusal("invalid_request");
    }
    const pending = this.#begin(clientId, parameters, { redirectUri });
    const location = new URL(redirectUri);
    const isWhole = parameters.response_type === "code" && parameters.code_challenge_method === "S256";
    if (!isWhole || pending.decision !== "approved") {
      location.searchParams.set("error", isWhole ? "access_denied" : "invalid_request");
    } else {
      const code = unguessable();
      this.#pending.set(code, pending);
      location.searchParams.set("code", code);
    }
    if (state !== undefined) {
      location.searchParams.set("state", state);
    }
    // RFC 9207 section 2.
    location.searchParams.set("iss", this.issuer);
    return location.href;
  }

  #token(clientId: string, parameters: Record<string, string>): object {
    switch (parameters.grant_type) {
      case "refresh_token":
        return this.#refreshed(clientId, parameters.refresh_token);
      case deviceGrant:
        return this.#redeem(clientId, this.#pending.get(parameters.device_code ?? ""), parameters);
      case "authorization_code":
        return this.#redeem(clientId, this.#pending.get(parameters.code ?? ""), parameters);
      default:
        throw new Refusal("unsupported_grant_type");
    }
  }

  #redeem(clientId: string, pending: Pending | undefined, parameters: Record<string, string>): object {
    const { code_verifier: verifier = "", redirect_uri: redirectUri } = parameters;
    const isProven = (challenge: string | undefined) =>
      challenge === undefined || createHash("sha256").update(verifier).digest("base64url") === challenge;
    const isHis = pending?.clientId === clientId && pending.redirectUri === redirectUri;
    if (pending === undefined || !isHis || pending.isRedeemed || !isProven(pending.challenge)) {
      throw new Refusal("invalid_grant");
    }
    if (pending.expires <= now()) {
      throw new Refusal("expired_token");
    }
    if (pending.decision === undefined) {
      throw new Refusal("authorization_pending");
    }
    pending.isRedeemed = true;
    if (pending.decision === "denied") {
      throw new Refusal("access_denied");
    }
    return this.#issue({ clientId, scopes: pending.scopes, isRevoked: false });
  }

  #refreshed(clientId: string, token: string | undefined): object {
    const issued = this.#refresh.get(token ?? "");
    if (issued === undefined || issued.login.clientId !== clientId || issued.login.isRevoked) {
      throw new Refusal("invalid_grant");
    }
    if (issued.isSpent) {
      // RFC 9700 section 4.14.2: one of the two who have it is not the client, so the whole login ends.
      issued.login.isRevoked = true;
      throw new Refusal("invalid_grant");
    }
    issued.isSpent = this.#options.rotation !== false;
    const answer = this.#issue(issued.login);
    return issued.isSpent ? answer : { ...answer, refresh_token: token };
  }

  #issue(login: Login): { access_token: string; refresh_token: string } {
    const lifetime = this.#options.accessTokenLifetime ?? 3600;
    const [access, refresh] = [unguessable(), unguessable()];
    this.#access.set(access, { login, expires: now() + lifetime * 1000, isSpent: false });
    this.#refresh.set(refresh, { login, expires: Number.POSITIVE_INFINITY, isSpent: false });
    const { scopes } = login;
    const answer = { access_token: access, refresh_token: refresh, token_type: "Bearer", expires_in: lifetime };
    return scopes.length === 0 ? answer : Object.assign(answer, { scope: scopes.join(" ") });
  }

  /** RFC 7009 section 2.1: with the refresh token, the whole login. */
  #revoke(token = ""): void {
    const issued = this.#refresh.get(token);
    if (issued !== undefined) {
      issued.login.isRevoked = true;
    }
    this.#access.delete(token);
  }

  async #wait(milliseconds: number): Promise<void> {
    const { signal } = this.#closing;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** Opens the page as a browser does: from where it is sent on this machine, it gets the last page. */
async function browse(url: string): Promise<string> {
  const { status, headers } = await got(url);
  const { location } = headers;
  if (location === undefined) {
    throw new Error(`The authorization endpoint answered ${status} instead of sending the browser back.`);
  }
  const { protocol, hostname } = new URL(location);
  if (protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(hostname)) {
    await got(location);
  }
  return location;
}

/** Not by `fetch`, which a test may have replaced. */
function got(url: string): Promise<{ status: number; headers: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
    });
    request.on("error", reject);
  });
}

function parsed(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "object" && value !== null) {
      return { ...value };
    }
  } catch {}
  throw new Refusal("invalid_client_metadata");
}

function unescaped(text: string): string {
  return decodeURIComponent(text.replaceAll("+", " "));
}

function unguessable(): string {
  return `${randomUUID()}${randomBytes(8).toString("hex")}`;
}
