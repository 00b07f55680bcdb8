/**
 * The real authorization server, npm's oidc-provider, on a port of loopback that was free, in a process for all the
 * servers of a test file: to start one more takes milliseconds.
 *
 *     const server = await AuthorizationServer.start(t, { accessTokenTtl: 2 });
 *     await login({ issuer: server.issuer, clientId: clients.public.clientId, … });
 *     assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
 */
import type { Lifetime } from "./lifetime.ts";
import { type Arrivals, ServerProcess } from "./server-process.ts";

export interface AuthorizationServerOptions {
  /** Seconds that an access token lives. @default 3600 */
  accessTokenTtl?: number;
  /** Seconds that a device code lives. @default 600 */
  deviceCodeTtl?: number;
  /** Seconds that a refresh token lives. @default 86400 */
  refreshTokenTtl?: number;
  /** A new refresh token at every refresh; using a spent one again revokes the whole grant. @default true */
  rotation?: boolean;
  /** Dynamic client registration (RFC 7591). @default true */
  registration?: boolean;
  /** Revocation (RFC 7009). @default true */
  revocation?: boolean;
  /** The interval that the device authorization answer names, in seconds; null: names none. @default 1 */
  interval?: number | null;
  /** Polls earlier than the interval get slow_down; with `interval`, the answer names that one. @default false */
  slowDown?: boolean | { interval: number };
  /** Where metadata is served: RFC 8414, OpenID Connect, both or nowhere. @default "both" */
  discovery?: "both" | "oidc" | "rfc8414" | "none";
  /** Path of the issuer, such as "/tenant". @default "" */
  path?: string;
  /** Host name in the issuer; the server listens on 127.0.0.1 for every name. @default "127.0.0.1" */
  host?: string;
  /** A port that must be this one, to start again where another server was. @default a free one */
  port?: number;
  /** PEM of key and certificate: serve https. */
  tls?: { key: string; cert: string };
  /** DPoP (RFC 9449): not offered, offered, or offered with a nonce demanded in every proof. @default "offered" */
  dpop?: "off" | "offered" | "nonce";
  /** Scopes besides openid and offline_access. @default ["memory", "profile"] */
  scopes?: string[];
  /** Resource indicators (RFC 8707) that it knows; access tokens for them are JWTs. @default [] */
  resources?: string[];
  /** It allows several resources in one token request, for a token for the first; oidc-provider by itself does not. */
  severalResources?: boolean;
  /** Clients besides those of {@link clients}, as RFC 7591 metadata. */
  clients?: Record<string, unknown>[];
  /** More environment of its process, such as another wall clock; it then has the process for itself. */
  env?: Record<string, string>;
}

/** The clients that every server knows. Ids and secrets hold characters that the wire reserves. */
export const clients = {
  public: { clientId: "public" },
  /** Gets no token without a proof of possession (RFC 9449 §5.2). */
  bound: { clientId: "bound" },
  basic: { clientId: "basic:client+1", clientSecret: 's3cr:t/+ %&=~?"basic' },
  post: { clientId: "post client/2", clientSecret: 's3cr:t/+ %&=~?"post' },
  /** The client of the authorization code flow; the others are for the device flow. */
  browser: { clientId: "browser" },
  browserBasic: { clientId: "browser:basic", clientSecret: "s3cr:t/+ %&=~?browser" },
  /** The client that a protected API uses at the introspection endpoint. */
  api: { clientId: "protected-api", clientSecret: "protected-api-secret" },
} as const;

/** The redirect URIs of the clients of the authorization code flow, on any port where it is loopback. */
export const redirectUris = [
  "http://127.0.0.1/callback",
  "http://localhost/callback",
  "https://console.example.com/oauth/code",
];

export type EndpointName =
  | "discovery"
  | "authorization"
  | "device_authorization"
  | "token"
  | "revocation"
  | "registration"
  | "introspection"
  | "userinfo"
  | "jwks"
  | "page";

export interface RequestMatch {
  endpoint?: EndpointName;
  /** The last part of grant_type: "device_code" is a poll, "refresh_token" a refresh. */
  grant?: "authorization_code" | "client_credentials" | "device_code" | "refresh_token";
  method?: string;
  path?: string;
  clientId?: string;
}

/** One request, as the server saw it. Secrets and all: the server's log is where a test may look at them. */
export interface LoggedRequest {
  sequence: number;
  /** When it had arrived whole, and when its answer was ready: Unix milliseconds, monotonic, with fractions. */
  time: number;
  answeredAt?: number;
  /** The client's end of it. */
  connection: string;
  method: string;
  path: string;
  endpoint: EndpointName;
  grant?: string;
  headers: Record<string, string>;
  contentType?: string;
  /** Parameters; one that came several times is an array. */
  form?: Record<string, string | string[]>;
  json?: unknown;
  clientId?: string;
  clientSecret?: string;
  clientAuthentication?: "none" | "client_secret_basic" | "client_secret_post";
  /** A poll that came before its interval was over. */
  early: boolean;
  intercepted?: boolean;
  /** HTTP status of the answer; 0 where the connection was broken instead; absent while there is none yet. */
  status?: number;
  error?: string;
}

export interface RawAnswer {
  status: number;
  headers?: Record<string, string>;
  /** Text as it is, anything else as JSON. */
  body?: unknown;
}

/** The effects on an intercepted request, in this order. With none, it is only announced by `arrived`. */
export interface InterceptionAction {
  /** Milliseconds to wait first. */
  delay?: number;
  /** Wait for `release()` before the provider sees it, or after the provider has handled it. */
  hold?: "before" | "after";
  /** Break the connection: before the provider sees it, after it handled it, or in the middle of the answer. */
  destroy?: "before" | "after" | "within";
  /** Answer this; the provider does not see the request. */
  respond?: RawAnswer;
  /** Answer this, after the provider has handled the request. */
  replace?: RawAnswer;
  /** Set these members of the provider's JSON answer. */
  edit?: Record<string, unknown>;
  /** Take these members out of the provider's JSON answer. */
  remove?: string[];
  /** Set these headers of the provider's answer, by names in small letters. */
  headers?: Record<string, string>;
}

export interface Interception {
  /** The first request that was intercepted. */
  readonly arrived: Promise<LoggedRequest>;
  /** Lets held requests go on, those that are held now and those that would be. */
  release(): Promise<void>;
  /** Releases, and intercepts no more. */
  remove(): Promise<void>;
}

/** The records of oidc-provider, by its names. */
export type StoredModel = "AccessToken" | "RefreshToken" | "Grant" | "Client" | "DeviceCode";

/** Tokens that the server gave without a login. */
export interface GrantedTokens {
  access: string;
  /** Only with the scope offline_access. */
  refresh?: string;
  /** Seconds that the access token lives. */
  lifetime: number;
}

export class AuthorizationServer {
  readonly origin: string;
  readonly issuer: string;
  readonly #process: ServerProcess;
  readonly #number: number;
  readonly #ownProcess: boolean;
  readonly #arrivals: Arrivals;
  #stopped: Promise<void> | undefined;

  /** The servers that run, by their issuers. */
  static readonly #running = new Map<string, AuthorizationServer>();

  static async start(lifetime: Lifetime, options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
    const { env, ...others } = options;
    const process = env === undefined ? ServerProcess.shared() : new ServerProcess(env);
    const { number, arrivals } = process.enter();
    try {
      const at = await process.call<{ origin: string; issuer: string }>(number, "start", withDefaults(others));
      const server = new AuthorizationServer(process, number, arrivals, at, env !== undefined);
      AuthorizationServer.#running.set(server.issuer, server);
      lifetime.after(() => server.stop());
      return server;
    } catch (error) {
      process.leave(number);
      throw new Error(`The authorization server did not start: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The server of this process that has this issuer. */
  static of(issuer: string | undefined): AuthorizationServer {
    const server = AuthorizationServer.#running.get(issuer ?? "");
    if (server === undefined) {
      throw new Error(`No authorization server of this test has the issuer ${issuer}`);
    }
    return server;
  }

  private constructor(
    process: ServerProcess,
    number: number,
    arrivals: Arrivals,
    at: { origin: string; issuer: string },
    ownProcess: boolean,
  ) {
    this.#process = process;
    this.#number = number;
    this.#arrivals = arrivals;
    this.#ownProcess = ownProcess;
    this.origin = at.origin;
    this.issuer = at.issuer;
  }

  /** The URL of an endpoint, for configurations without discovery. */
  get endpoints(): {
    authorizationEndpoint: string;
    deviceAuthorizationEndpoint: string;
    tokenEndpoint: string;
    revocationEndpoint: string;
    registrationEndpoint: string;
  } {
    return {
      authorizationEndpoint: `${this.issuer}/auth`,
      deviceAuthorizationEndpoint: `${this.issuer}/device/auth`,
      tokenEndpoint: `${this.issuer}/token`,
      revocationEndpoint: `${this.issuer}/token/revocation`,
      registrationEndpoint: `${this.issuer}/reg`,
    };
  }

  /** Every request so far that matches, in order of arrival. */
  requests(match: RequestMatch = {}): Promise<LoggedRequest[]> {
    return this.#call("requests", match);
  }

  /** The nth (from 1) matching request since the start that was answered: now, or when that has happened. */
  request(match: RequestMatch = {}, nth = 1): Promise<LoggedRequest> {
    return this.#call("awaitRequest", { match, nth });
  }

  /**
   * From now on, does this to matching requests: to all, or to the nth (from 1, counted from now; several as an array).
   * Where several interceptions match, the oldest wins.
   */
  async intercept(
    match: RequestMatch & { nth?: number | number[] },
    action: InterceptionAction = {},
  ): Promise<Interception> {
    const id = await this.#call<number>("intercept", { match, action });
    const arrived = new Promise<LoggedRequest>((resolve) => {
      this.#arrivals.set(id, (entry) => resolve(entry as LoggedRequest));
    });
    return {
      arrived,
      release: () => this.#call("release", { id }),
      remove: () => this.#call("removeInterception", { id }),
    };
  }

  /** Releases all held requests, and intercepts no more. */
  async removeInterceptions(): Promise<void> {
    await Promise.all(Array.from(this.#arrivals.keys(), (id) => this.#call("removeInterception", { id })));
  }

  /** Revokes every login, or those of one client: grants, refresh tokens and access tokens. */
  async revokeLogins(clientId?: string): Promise<void> {
    await this.#call("revoke", { models: ["Grant", "RefreshToken", "AccessToken"], clientId });
  }

  /** Makes access tokens worthless before their time, while refresh tokens go on working. */
  async revokeAccessTokens(clientId?: string): Promise<void> {
    await this.#call("revoke", { models: ["AccessToken"], clientId });
  }

  /** Forgets registered clients: to their requests the answer is then invalid_client. */
  async forgetClients(clientId?: string): Promise<void> {
    await this.#call("revoke", { models: ["Client"], clientId });
  }

  /** Gives the tokens of a device login, without one: the log shows nothing of it. */
  grant(
    clientId: string,
    scopes: string[],
    accountId = "ada",
    resources: readonly string[] = [],
  ): Promise<GrantedTokens> {
    return this.#call("grant", { clientId, scopes, accountId, resources });
  }

  /** How many of these the server holds. */
  stored(model: StoredModel): Promise<number> {
    return this.#call("stored", { model });
  }

  /** Ends it before its lifetime does. Connections to it break. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    await this.#stopped;
  }

  async #stop(): Promise<void> {
    AuthorizationServer.#running.delete(this.issuer);
    await (this.#ownProcess ? this.#process.kill() : this.#call("stop", undefined));
    this.#process.leave(this.#number);
  }

  #call<Result>(call: string, argument: unknown): Promise<Result> {
    return this.#process.call(this.#number, call, argument);
  }
}

function withDefaults(options: AuthorizationServerOptions): Record<string, unknown> {
  const { slowDown = false } = options;
  return {
    accessTokenTtl: 3600,
    deviceCodeTtl: 600,
    refreshTokenTtl: 86_400,
    rotation: true,
    registration: true,
    revocation: true,
    interval: 1,
    discovery: "both",
    dpop: "offered",
    path: "",
    host: "127.0.0.1",
    scopes: ["memory", "profile"],
    resources: [],
    ...options,
    slowDown: slowDown === true ? {} : slowDown,
    clients: [...staticClients(), ...(options.clients ?? [])],
  };
}

function staticClients(): Record<string, unknown>[] {
  const device = {
    grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    response_types: [],
    redirect_uris: [],
  };
  const browser = {
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    redirect_uris: redirectUris,
    application_type: "native",
  };
  const named = ({ clientId, clientSecret }: { clientId: string; clientSecret?: string }, method: string) => ({
    client_id: clientId,
    ...(clientSecret !== undefined && { client_secret: clientSecret }),
    token_endpoint_auth_method: method,
  });
  return [
    { ...device, ...named(clients.public, "none"), application_type: "native", client_name: "A public client" },
    { ...device, ...named(clients.bound, "none"), application_type: "native", dpop_bound_access_tokens: true },
    { ...device, ...named(clients.basic, "client_secret_basic") },
    { ...device, ...named(clients.post, "client_secret_post") },
    { ...device, ...named(clients.api, "client_secret_basic"), grant_types: [] },
    { ...browser, ...named(clients.browser, "none") },
    { ...browser, ...named(clients.browserBasic, "client_secret_basic") },
  ];
}
