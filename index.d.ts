/* Generated from the doc comments in src/bindings. */

/** The kind of a rejection. Each has its own remedy: see docs/reference/errors.md. */
export type AuthErrorCode =
  | "INVALID_CONFIG"
  | "NETWORK"
  | "TIMEOUT"
  | "SERVER_ERROR"
  | "INVALID_RESPONSE"
  | "ISSUER_MISMATCH"
  | "DEVICE_FLOW_UNSUPPORTED"
  | "REGISTRATION_FAILED"
  | "OAUTH_ERROR"
  | "ACCESS_DENIED"
  | "DEVICE_CODE_EXPIRED"
  | "ABORTED"
  | "LOGIN_REQUIRED"
  | "SCOPE_REQUIRED"
  | "STORE_LOCKED"
  | "STORE_CORRUPT"
  | "STORE_VERSION"
  | "STORE_IO";

/**
 * The error with which every function of this library rejects. `instanceof` works across copies of the package in one process.
 *
 * @example
 * ```ts
 * import { AuthError, getValidAccessToken } from "clawdbot-plugin-auth";
 *
 * try {
 *   await getValidAccessToken({ pluginId: "my-memory", issuer: "https://auth.example.com" });
 * } catch (error) {
 *   if (error instanceof AuthError && error.needsLogin) console.log("Run: clawdbot my-memory login");
 *   else throw error;
 * }
 * ```
 */
export declare class AuthError extends Error {
  private constructor();
  readonly name: "AuthError";
  /** The kind of failure; stable. */
  readonly code: AuthErrorCode;
  /** Whether the same call may succeed later, without anybody doing anything. */
  readonly retryable: boolean;
  /** Whether a new login fixes it. */
  readonly needsLogin: boolean;
  /** The server's `error` (RFC 6749 §5.2). */
  readonly oauthError?: string;
  /** The server's `error_description`, without control characters and secrets. */
  readonly oauthErrorDescription?: string;
  /** The server's `error_uri`. */
  readonly oauthErrorUri?: string;
  /** The HTTP status of the server's answer. */
  readonly status?: number;
  /** How long to wait before trying again, in milliseconds. */
  readonly retryAfterMs?: number;
  /** With `SCOPE_REQUIRED`: the scopes that the service requires. The next login requests them as well. */
  readonly scopes?: string[];
}

/** How a login is begun that another call ends. */
export interface BeginLoginOptions {
  /** Called at each step of the wait. Its failure never ends the login. */
  onProgress?: ((event: ProgressEvent) => void) | undefined;
  /** With `flow: "authorization_code"`: where the browser is sent instead of the config's `redirectUri`. */
  redirectUri?: string | undefined;
  /** Ends the login for this caller: `done` rejects with `ABORTED`. It goes on for others that wait for it. */
  signal?: AbortSignal | undefined;
}

/** A login that waits for a person. */
export interface PendingLogin {
  /** Instructions for the person: the code and where to enter it, or the page to open. */
  readonly verification: Verification;
  /** How it ends, as {@link login} does. It keeps the process alive; nobody has to wait for it. */
  readonly done: Promise<AuthStatus>;
  /**
   * With `flow: "authorization_code"`: takes the address or code that the browser shows in the end, as {@link
   * LoginOptions.onPaste} does. Resolves when the login is complete. Rejects with `INVALID_RESPONSE` where the text
   * was wrong, three tries in all; else as `done` does.
   */
  paste(text: string): Promise<void>;
  /** Ends the login, for all who wait for it: nothing is stored any more. */
  cancel(): void;
}

/**
 * {@link login} in two calls: resolves as soon as there is something to show. Asked again while the login of the same account is
 * under way, in this process or another, it gives the same code. A logout ends it, whichever process it is called in.
 *
 * Rejects as {@link login} does.
 *
 * @example
 * ```ts
 * import { beginLogin } from "clawdbot-plugin-auth";
 *
 * const pending = await beginLogin({ pluginId: "my-memory", issuer: "https://auth.example.com" });
 * console.log(pending.verification.message);
 * console.log((await pending.done).state);
 * ```
 */
export declare function beginLogin(config: AuthConfig, options?: BeginLoginOptions): Promise<PendingLogin>;

/**
 * A login as plugins keep it by hand: the members of this type, or other common names: `access_token`, `accessToken`,
 * `token`; `refresh_token`, `refreshToken`; `expires_at`, `expiresAt`, `expiry_date`, `expiry`, `expires_on` (Unix
 * seconds or milliseconds, or an ISO date), `expires_in` with `created_at`; `scope`; `client_id`, `client_secret`,
 * `token_endpoint`, `redirect_uri`; all of them at the top, or in `tokens`, `token`, `credentials`, `oauth` or
 * `auth`. A refresh token alone is enough.
 */
export interface AdoptedLogin {
  /** The access token. */
  access?: string | undefined
  /** The refresh token. */
  refresh?: string | undefined
  /** When the access token ends, Unix milliseconds or seconds. @default unknown: valid until rejected */
  expires?: number | string | Date | undefined
  /** The granted scopes. */
  scopes?: Array<string> | undefined
  /** The client of the tokens, where the config names none: it is used for the next login as well. */
  clientId?: string | undefined
  /** The secret of that client. */
  clientSecret?: string | undefined
}

/**
 * The authorization server, the client, and the owner of the credential. One object serves every call.
 *
 * Unknown names are refused with `INVALID_CONFIG`, which suggests the nearest known one.
 *
 * @example
 * ```ts
 * import type { AuthConfig } from "clawdbot-plugin-auth";
 *
 * const auth: AuthConfig = {
 *   pluginId: "my-memory",
 *   issuer: "https://auth.example.com",
 *   scopes: ["memory", "offline_access"],
 * };
 * ```
 */
export interface AuthConfig {
  /**
   * Names the credential: a plugin id or npm name of 1 to 128 bytes. It becomes one folder level, even with slashes
   * in it.
   */
  pluginId: string
  /**
   * The user's account, 1 to 128 bytes, or its id, `"<pluginId>:<profile>"`; each has its own credential and lock.
   * @default the first usable one of `order`, else of the order in the store, else "default"
   */
  profile?: string | undefined
  /**
   * Accounts, the preferred one first: {@link getValidAccessToken} uses the first that needs no login;
   * {@link login}, {@link importToken} and {@link logout} use the first. A `profile` overrides it.
   * @default the order in the store
   */
  order?: Array<string> | undefined
  /**
   * The authorization server: an https URL (http on loopback only), exactly as the server writes it. Its metadata
   * is found by RFC 8414, then by OpenID Connect Discovery. The config needs this, the endpoints, or a `resource`
   * that names its server; beside a `resource`, the issuer selects one of several servers.
   */
  issuer?: string | undefined
  /**
   * How a person logs in: with a code on any device (RFC 8628), or in a browser that returns to this machine (RFC
   * 6749 §4.1 with PKCE, RFC 8252). With `client_credentials` no person logs in: the client itself gets the tokens
   * (RFC 6749 §4.4) at the first call, in the same store under the same lock; that requires `clientId`, and
   * `clientSecret` or `clientKey`.
   * @default the device flow where the server offers it, else the browser
   */
  flow?: "device_code" | "authorization_code" | "client_credentials" | (string & {}) | undefined
  /**
   * The address that the browser returns to: http on 127.0.0.1, [::1] or localhost, with a port or on any free one.
   * Any other address, such as an https page that shows the code, needs `onPaste`.
   * @default "http://127.0.0.1/callback" on a free port
   */
  redirectUri?: string | undefined
  /** RFC 6749 §3.1; overrides what discovery says. */
  authorizationEndpoint?: string | undefined
  /** RFC 8628 §3.1; overrides what discovery says. */
  deviceAuthorizationEndpoint?: string | undefined
  /** RFC 6749 §3.2; overrides what discovery says. */
  tokenEndpoint?: string | undefined
  /** RFC 7009; overrides what discovery says. */
  revocationEndpoint?: string | undefined
  /** RFC 7591; overrides what discovery says. */
  registrationEndpoint?: string | undefined
  /** The client. Without it a client is registered (RFC 7591), once per issuer, and kept in the store. */
  clientId?: string | undefined
  /** The secret of a confidential client. Never written to disk. */
  clientSecret?: string | undefined
  /**
   * How the client authenticates (RFC 6749 §2.3).
   * @default by the server's metadata, then `client_secret_basic` with a secret and `none` without
   */
  clientAuthentication?: "none" | "client_secret_basic" | "client_secret_post" | "private_key_jwt" | (string & {}) | undefined
  /**
   * With `clientAuthentication: "private_key_jwt"` (RFC 7523): the path of the private key, for ES256, as PKCS#8 in
   * PEM or as a JWK. It is read when it is needed.
   */
  clientKey?: string | undefined
  /**
   * The URL of a client id metadata document (draft-ietf-oauth-client-id-metadata-document). Without a `clientId`
   * it identifies the client where the server supports such documents; elsewhere a client is registered.
   */
  clientMetadataUrl?: string | undefined
  /** Shown to the person by the server when a client is registered. @default pluginId */
  clientName?: string | undefined
  /** More members of the registration request (RFC 7591 §2), such as `client_uri`; they win over this library's own. */
  clientMetadata?: Record<string, unknown> | undefined
  /**
   * Scopes to request, one per entry. Most servers give a refresh token only for `offline_access`.
   * @default those of the `resource`
   */
  scopes?: Array<string> | undefined
  /**
   * The separator between scopes where a server departs from RFC 6749 §3.3: "," at Linear, Strava and Slack.
   * @default " "
   */
  scopeDelimiter?: " " | "," | (string & {}) | undefined
  /** The API that the token is for, at Auth0 and others; sent with the (device) authorization request. */
  audience?: string | undefined
  /**
   * Resource indicators (RFC 8707): absolute URIs without a fragment. Without `issuer` and endpoints, the first one
   * is asked for its authorization server (RFC 9728), as with MCP servers. Where `scopes` is left out, its
   * challenge or document also names the scopes, and `offline_access` is added where the server lists it.
   */
  resource?: Array<string> | undefined
  /**
   * Further resources that a person allows with the same login (RFC 8707 §2.1). Each gets a token of its own:
   * {@link getValidAccessToken} with `resource`. The login's own token is not for them, because many servers issue
   * a token for one resource only.
   */
  otherResources?: Array<string> | undefined
  /**
   * Device flow with PKCE (RFC 7636). Where a server demands it, it is used without this option; the authorization
   * code flow always uses it.
   * @default false
   */
  pkce?: boolean | undefined
  /**
   * Binds the tokens of the next login to a key that never leaves this machine (DPoP, RFC 9449). The server must
   * offer `ES256`, by its metadata if it has any. Requests then need {@link authorizationHeaders}; the string of
   * {@link getValidAccessToken} alone is not enough. Not for {@link authorizeDevice} and {@link refreshTokens}.
   * @default false
   */
  dpop?: boolean | undefined
  /**
   * Added to (device) authorization and token requests; an empty value removes a parameter. In the authorization
   * code flow `prompt` is "consent" with the scope `offline_access` (OpenID Connect Core §11), unless it is set
   * here: `prompt: ""` sends none. Must not name a parameter that this library sets.
   */
  extraParameters?: Record<string, string> | undefined
  /**
   * Added only to the authorization request, or to the request for a device code: `access_type` at Google,
   * `approval_prompt` at Strava, `actor` at Linear. Overrides `extraParameters`. Must not name a parameter that
   * this library sets.
   */
  authorizationParameters?: Record<string, string> | undefined
  /**
   * Members of the token answer to keep with the login, shown in `status().tokenResponse`: `["team"]` at Slack.
   * Members whose names contain token, secret, password or assertion are never kept, at any depth.
   */
  tokenResponse?: Array<string> | undefined
  /**
   * Asks, at a login, who has logged in, for `status().account`: true at the userinfo endpoint that the server
   * announces (OpenID Connect Core §5.3), or a URL where it announces none, such as `"https://api.github.com/user"`.
   * The answer may be that of a service without OpenID Connect: `id`; `display_name`, `username` or `login`; `email`.
   * It is used only if its `sub` is that of the ID token. No failure fails a login; `status().lastError` says it.
   * Not for {@link authorizeDevice}. @default false
   */
  userinfo?: boolean | string | undefined
  /**
   * A token from elsewhere, used before the stored login, or after it: where nobody is logged in, or a login is
   * needed. `status().source` names the one in use.
   */
  token?: OutsideToken | undefined
  /**
   * Origins on other machines that may be spoken to without TLS, named one by one: `["http://auth:8080"]` in a compose
   * network. It holds for the authorization server's endpoints, and for the kit's `fetch`; no proxy is used there.
   * {@link doctor} and the status warn about each.
   */
  allowHttp?: Array<string> | undefined
  /**
   * Takes over, once, a login that the plugin kept before it used this library: the path of a JSON file (with `~`),
   * several paths, or a function that returns {@link AdoptedLogin} or nothing. It is used under the lock, and only
   * while nobody is logged in and nobody has logged out. The file is then renamed `*.adopted`. A `credentials.json`
   * in the plugin's install folder is always taken over, also under `~/.openclaw`, `~/.clawdbot` and `~/.moltbot`.
   */
  adopt?: string | string[] | (() => AdoptedLogin | Record<string, unknown> | undefined | null | Promise<AdoptedLogin | Record<string, unknown> | undefined | null>) | undefined
  /** The host's state folder, for example `api.runtime.state.resolveStateDir()`. @default as the host resolves it */
  stateDir?: string | undefined
  /** The exact credential file instead of `<stateDir>/credentials/<pluginId>/<profile>.json`. */
  credentialsPath?: string | undefined
  /**
   * Uses the login that another program keeps in its own file, in its format: clawdbot's `auth-profiles.json`, or
   * the file of Claude Code, Codex, Qwen Code, pi, Kimi Code, mcp-remote (with `credentialsPath`) or Gemini CLI. It
   * is read, refreshed under that program's own lock, and written back there; everything else in the file stays
   * unchanged. Excludes `order`, `storage` and `dpop`.
   * @default this library's own format
   */
  credentialsFormat?: "auth-profiles" | "claude-code" | "codex" | "qwen-code" | "pi" | "kimi-code" | "mcp-remote" | "gemini-cli" | (string & {}) | undefined
  /** With `credentialsFormat: "auth-profiles"`: the host's agent that owns the logins. @default "main" */
  agentId?: string | undefined
  /**
   * With `credentialsFormat: "auth-profiles"`: one login, `"provider:name"`, or a provider; of a provider's logins,
   * the host's `order`, else its `lastGood`, selects one. A `profile` here means `"<pluginId>:<profile>"`. With
   * `"pi"`: the provider under which pi keeps the login. @default pluginId, as a provider
   */
  profileId?: string | undefined
  /**
   * Keeps logins in the plugin's own store instead of in files, for several machines that share them: one machine
   * refreshes, and all use the new token. A token stored by another machine is seen within a second. Excludes
   * `credentialsPath`, `credentialsFormat` and `storage`. {@link listProfiles} lists only accounts that the config
   * or the order names.
   */
  store?: CredentialStore | undefined
  /**
   * Where `login` keeps the tokens: in the credential file, in the system's keychain (Secret Service, macOS
   * Keychain, Windows Credential Manager), or `auto`: in the keychain if it can be used at that moment, else in the
   * file. The choice is recorded and lasts until the next login. The keychain requires the package
   * `clawdbot-plugin-auth-keychain`; without it `keychain` is `INVALID_CONFIG`.
   * @default "file"
   */
  storage?: "file" | "keychain" | "auto" | (string & {}) | undefined
  /**
   * How long before its end a token is refreshed, in milliseconds, 0 to 86 400 000; at most a quarter of the
   * token's life.
   * @default 300000
   */
  refreshBufferMs?: number | undefined
  /** Limit of one HTTP request, in milliseconds, 1 to 86 400 000. @default 30000 */
  requestTimeoutMs?: number | undefined
  /**
   * How long to wait for another process that holds the credential's lock, in milliseconds, 0 to 86 400 000.
   * @default 60000
   */
  lockTimeoutMs?: number | undefined
}

/**
 * The headers for one request to your service: a valid access token, as {@link getValidAccessToken} gives it, and where the
 * login is bound to a key (`dpop: true`) the proof, which holds for this method, URL and moment only. Ask again for each
 * request, also to repeat one. It takes a microsecond, with a proof some thirty, and no network call unless the token is due.
 *
 * When the service answers 401 with `WWW-Authenticate: DPoP error="use_dpop_nonce"`, repeat the request with its `DPoP-Nonce`
 * header as `nonce`; at any other 401, with `rejectedToken`. The plugin kit's `fetch` does both.
 *
 * Rejects with an {@link AuthError}, as {@link getValidAccessToken} does.
 *
 * @example
 * ```ts
 * import { authorizationHeaders } from "clawdbot-plugin-auth";
 *
 * const auth = { pluginId: "my-memory", issuer: "https://auth.example.com", dpop: true };
 * const url = "https://api.example.com/notes";
 * let response = await fetch(url, { headers: { ...(await authorizationHeaders(auth, { method: "GET", url })) } });
 * const nonce = response.headers.get("dpop-nonce");
 * if (response.status === 401 && nonce !== null) {
 *   response = await fetch(url, { headers: { ...(await authorizationHeaders(auth, { method: "GET", url, nonce })) } });
 * }
 * ```
 */
export declare function authorizationHeaders(config: AuthConfig, request: ResourceRequest, options?: TokenOptions): Promise<AuthorizationHeaders>

/** The headers of one request. */
export interface AuthorizationHeaders {
  /** `Bearer` or `DPoP`, and the access token. */
  Authorization: string
  /** The proof for this one request (RFC 9449 §4.2); absent where the login is not bound to a key. */
  DPoP?: string
}

/**
 * {@link login} without the store: the device flow, its tokens returned and kept nowhere.
 *
 * Without `clientId` a client is registered for this call; keep `clientId` (and `clientSecret`) of the answer.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`,
 * `ISSUER_MISMATCH`, `DEVICE_FLOW_UNSUPPORTED`, `REGISTRATION_FAILED`, `OAUTH_ERROR`, `ACCESS_DENIED`,
 * `DEVICE_CODE_EXPIRED`, `ABORTED`.
 *
 * @example
 * ```ts
 * import { authorizeDevice } from "clawdbot-plugin-auth";
 *
 * const tokens = await authorizeDevice(
 *   { pluginId: "my-provider", issuer: "https://auth.example.com", clientId: "my-client" },
 *   { onVerification: (verification) => console.log(verification.message) },
 * );
 * console.log(tokens.expires);
 * ```
 */
export declare function authorizeDevice(config: AuthConfig, options: LoginOptions): Promise<TokenSet>

/** The state of one login. Never holds a token. */
export interface AuthStatus {
  /**
   * `valid`: usable now or after a silent refresh; `expiring`: the login itself ends within 24 hours; `expired`: it
   * has ended and cannot be refreshed; `login_required`: the server refused the refresh token, or its time is over;
   * `logged_out`: no credential.
   */
  state: "valid" | "expiring" | "expired" | "login_required" | "logged_out"
  /** The account. */
  profile: string
  /** The credential file. */
  path: string
  /** The authorization server that issued the credential. */
  issuer?: string
  /** The client that it was issued to. */
  clientId?: string
  /** The account at the server, as the server describes it. For people to read; nothing in it is verified. */
  account?: LoginAccount
  /** The members of the token answer that {@link AuthConfig.tokenResponse} names. */
  tokenResponse?: Record<string, unknown>
  /** The scopes that were granted. */
  scopes?: Array<string>
  /**
   * Scopes that the config or a service (`SCOPE_REQUIRED`) requires and the credential lacks: log in again to get
   * them.
   */
  missingScopes?: Array<string>
  /** When the access token ends, Unix milliseconds. */
  expiresAt?: number
  /**
   * When the login itself ends, Unix milliseconds: with the access token where there is no refresh token, else with
   * the refresh token (or an access token that outlives it), if the server named its lifetime. A refresh can move
   * it.
   */
  loginEndsAt?: number
  /** There is a refresh token. */
  refreshable: boolean
  /** True where the tokens are bound to a key (RFC 9449): requests need {@link authorizationHeaders}. */
  dpop?: boolean
  /** The login was stored by {@link importToken}. */
  imported?: boolean
  /** When the person logged in, Unix milliseconds. */
  createdAt?: number
  /** When the tokens were last renewed, Unix milliseconds. */
  refreshedAt?: number
  /** Where the tokens are kept, once they are stored. */
  storage?: "file" | "keychain"
  /** Where the token in use comes from, with `token` in the config: the stored login, an environment variable, or the config. */
  source?: "login" | "env" | "config"
  /** The last failure that is still of consequence. */
  lastError?: LastError
  /**
   * Accounts of an order that come before this one and need a login. Where all do, this is the status of the first, and
   * these are the others.
   */
  skipped?: Array<SkippedProfile>
}

/**
 * A store for logins instead of files, for several machines that share them: a database. All three functions may be
 * called several times at once. A rejection, or a malformed answer, is `STORE_IO`; it never loses a stored login.
 *
 * @example
 * ```ts
 * import type { CredentialStore } from "clawdbot-plugin-auth";
 *
 * // For one process; the package has some for PostgreSQL, Redis and etcd: docs/operations/several-machines.md.
 * const kept = new Map<string, { value: string; version: string }>();
 * const locks = new Map<string, Promise<void>>();
 * export const store: CredentialStore = {
 *   read: async (key) => kept.get(key),
 *   write: async (key, value, expected) => {
 *     if (kept.get(key)?.version !== expected) return undefined;
 *     const version = `${Number(expected ?? 0) + 1}`;
 *     kept.set(key, { value, version });
 *     return version;
 *   },
 *   withLock: async (key, work) => {
 *     const turn = (locks.get(key) ?? Promise.resolve()).then(work);
 *     locks.set(key, turn.catch(() => {}));
 *     await turn;
 *   },
 * };
 * ```
 */
export interface CredentialStore {
  /**
   * Returns the value under that key, exactly as it was written, with its version; undefined where there is no
   * value.
   */
  read: (key: string) => KeptValue | undefined | Promise<KeptValue | undefined>
  /**
   * Stores a value durably if the key still has the version `expected`; undefined: if it has no value yet. Resolves
   * to the new version, which must differ from all earlier ones of that key, or to undefined if another writer was
   * faster.
   */
  write: (key: string, value: string, expected: string | undefined) => string | undefined | Promise<string | undefined>
  /**
   * Runs `work` under the lock of that key, which excludes all other holders on all machines; releases it when the
   * promise of `work` settles, which never rejects. `signal` fires when the lock is not needed any more.
   */
  withLock: (key: string, work: () => Promise<void>, options: { signal: AbortSignal }) => Promise<unknown>
  /**
   * Lists the keys with that prefix, for {@link listProfiles}. Without it, only accounts that the config or the
   * order names are listed.
   */
  list?: ((prefix: string) => Array<string> | Promise<Array<string>>) | undefined
  /**
   * Reports keys that any machine writes, until the returned function is called. While it is live, a value that was
   * read counts until a change is reported; else for a second. Called when the store is used, ended after a minute
   * without use.
   */
  watch?: ((listener: { changed(key: string): void; live(isLive: boolean): void }) => Promise<() => Promise<unknown> | unknown>) | undefined
  /** Checks the engine for {@link doctor}. */
  inspect?: (() => Promise<Array<DoctorCheck>>) | undefined
}

/**
 * Checks everything that a login needs: place, permissions, format, lock and leftovers of the files, the login
 * itself, the clock, the connection to the server, its metadata, the client. Changes nothing unless `fix` is true.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`. A finding is never a rejection.
 *
 * @example
 * ```ts
 * import { doctor } from "clawdbot-plugin-auth";
 *
 * const { ok, checks } = await doctor({ pluginId: "my-memory", issuer: "https://auth.example.com" });
 * for (const { name, level, message, fix = "" } of checks) {
 *   console.log(level, name, message, fix);
 * }
 * console.log(ok);
 * ```
 */
export declare function doctor(config: AuthConfig, options?: DoctorOptions): Promise<DoctorReport>

/** The result of one check. */
export interface DoctorCheck {
  /**
   * `place`, `folder`, `file`, `format`, `lock`, `leftovers`, `order`, `login`, `server`, `clock`, `metadata`, `client`;
   * later versions may have more.
   */
  name: string
  /** `warning`: it works, but less well than it should; `error`: it does not work. */
  level: "ok" | "warning" | "error"
  /** The finding. */
  message: string
  /** The next step, where the message does not contain it. */
  fix?: string | undefined
  /** The problem was found, and is fixed. */
  fixed?: boolean | undefined
}

/** Options of {@link doctor}. */
export interface DoctorOptions {
  /**
   * Tighten permissions, and finish or delete what killed processes left, under the lock. Nothing else is changed, and
   * never a token. @default false
   */
  fix?: boolean | undefined
}

/** The findings of {@link doctor}. Never holds a token. */
export interface DoctorReport {
  /** True if no check is an error, fixed ones aside. */
  ok: boolean
  /** In the order of the checks. */
  checks: Array<DoctorCheck>
}

/**
 * Returns a valid access token: the stored one, or a new one where it is due. Safe to call at every request: a fresh
 * token costs about a microsecond, and among all callers in all processes only one refreshes.
 *
 * Call it again with `rejectedToken` when the service answers 401. Where the login is bound to a key (`dpop: true`),
 * a request also needs a proof: use {@link authorizationHeaders}. Rejects with an {@link AuthError}: `LOGIN_REQUIRED`
 * when a person has to log in; `SCOPE_REQUIRED` with `requiredScope`; `NETWORK`, `TIMEOUT`, `SERVER_ERROR`,
 * `STORE_LOCKED` when the same call may succeed later; `INVALID_CONFIG`, `INVALID_RESPONSE`, `ISSUER_MISMATCH`,
 * `OAUTH_ERROR`, `ABORTED`, `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { getValidAccessToken } from "clawdbot-plugin-auth";
 *
 * const auth = { pluginId: "my-memory", issuer: "https://auth.example.com" };
 * const token = await getValidAccessToken(auth);
 * let response = await fetch("https://api.example.com/notes", { headers: { authorization: `Bearer ${token}` } });
 * if (response.status === 401) {
 *   const renewed = await getValidAccessToken(auth, { rejectedToken: token });
 *   response = await fetch("https://api.example.com/notes", { headers: { authorization: `Bearer ${renewed}` } });
 * }
 * ```
 */
export declare function getValidAccessToken(config: AuthConfig, options?: TokenOptions): Promise<string>

/** A token that a person brings, for {@link importToken}. */
export interface ImportedToken {
  /** The access token: printable ASCII without spaces. */
  access: string
  /** The refresh token. The config must then name the `clientId` that it was issued to, and the server. */
  refresh?: string | undefined
  /** When the access token ends, Unix milliseconds. @default the `exp` of a JWT, else unknown: valid until rejected */
  expires?: number | undefined
  /** The granted scopes. */
  scopes?: Array<string> | undefined
}

/**
 * Stores a token that a person pasted, or that another tool made, as the login of the account. It replaces the
 * previous one, as {@link login} does. No server is asked.
 *
 * A token without a refresh token is static: it is handed out until it ends or the service rejects it, with
 * `refreshable: false`. It belongs to the `issuer` or `tokenEndpoint` of the config, or to no server if the config
 * names none.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { getValidAccessToken, importToken } from "clawdbot-plugin-auth";
 *
 * const auth = { pluginId: "my-memory" };
 * const { state, refreshable } = await importToken(auth, { access: "pasted" });
 * console.log(state, refreshable, await getValidAccessToken(auth));
 * ```
 */
export declare function importToken(config: AuthConfig, token: ImportedToken): Promise<AuthStatus>

/** A value that a {@link CredentialStore} keeps. */
export interface KeptValue {
  /** The value, exactly as it was given to `write`. */
  value: string
  /** The value that `write` resolved to. */
  version: string
}

/** A failure that is remembered. */
export interface LastError {
  /** See {@link AuthError}. */
  code: string
  /** A sentence: the failure, and the next step. */
  message: string
  /** When, Unix milliseconds. */
  at: number
}

/**
 * Returns the status of every account of the plugin that is logged in or needs attention, sorted by profile. A
 * damaged file shows as `login_required` with its `lastError`.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { listProfiles } from "clawdbot-plugin-auth";
 *
 * for (const account of await listProfiles({ pluginId: "my-memory" })) {
 *   console.log(account.profile, account.state);
 * }
 * ```
 */
export declare function listProfiles(config: AuthConfig): Promise<Array<AuthStatus>>

/**
 * Logs in by the OAuth 2.0 Device Authorization Grant (RFC 8628), or in the browser by the authorization code flow
 * with PKCE (`flow` in the config; RFC 6749 §4.1, 7636, 8252, 9207), and stores the credential. A previous credential
 * stays until then.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`,
 * `ISSUER_MISMATCH`, `DEVICE_FLOW_UNSUPPORTED`, `REGISTRATION_FAILED`, `OAUTH_ERROR`, `ACCESS_DENIED`,
 * `DEVICE_CODE_EXPIRED`, `ABORTED`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`. `TIMEOUT` also means that the
 * browser did not return within 10 minutes.
 *
 * @example
 * ```ts
 * import { login } from "clawdbot-plugin-auth";
 *
 * const status = await login(
 *   { pluginId: "my-memory", issuer: "https://auth.example.com", scopes: ["memory", "offline_access"] },
 *   { onVerification: (verification) => console.log(verification.message) },
 * );
 * console.log(status.state);
 * ```
 */
export declare function login(config: AuthConfig, options: LoginOptions): Promise<AuthStatus>

/** The person at the server. */
export interface LoginAccount {
  /**
   * `sub` of the token answer, which some servers send (atproto: the account's DID), else of the userinfo endpoint
   * ({@link AuthConfig.userinfo}), else of the ID token.
   */
  id?: string
  /**
   * `name`, else `preferred_username`, of the userinfo endpoint or the ID token. With the scope `openid`, most servers
   * send one for the scope `profile`.
   */
  name?: string
  /** `email` of the same; most servers send it for the scope `email`. */
  email?: string
}

/** How a login talks to the person. */
export interface LoginOptions {
  /**
   * Called once with the code and where to enter it, or with the page to open: print `message`. If it throws or
   * rejects, the login ends with that same error.
   */
  onVerification: (verification: Verification) => void | Promise<void>
  /** Called with the URL to open, which is always http(s). Its failure never ends the login. */
  openUrl?: ((url: string) => void | Promise<void>) | undefined
  /**
   * Asks the person for the address or code that the browser shows at the end of an authorization code flow, where
   * the browser cannot return by itself: `redirectUri` is not on this machine, its port is taken, or the session is
   * remote. Resolve to the address of the last page, to the code, or to `code#state`. A wrong text leads to another
   * call, three in all. `request.signal` aborts when the text is no longer needed. If it throws or rejects, the
   * login ends with that same error.
   */
  onPaste?: ((request: PasteRequest) => Promise<string>) | undefined
  /**
   * The person's browser is on another machine, so `onPaste` is called at once; this machine still waits for the
   * browser as well.
   * @default over SSH, in a container, and on Linux without a display
   */
  remote?: boolean | undefined
  /** Called at each step of the wait. Its failure never ends the login. */
  onProgress?: ((event: ProgressEvent) => void) | undefined
  /** Ends the login at once: `ABORTED`, with the signal's reason as `cause`. */
  signal?: AbortSignal | undefined
}

/**
 * Removes the credential even where the server fails, and revokes it at the server where that can be done (RFC 7009).
 *
 * Revocation needs the tokens. While the system's keychain keeps them and cannot be opened, the login stays, and the
 * call rejects with `STORE_IO`. With `storage: "file"` in the config the login is removed anyway: the server is not
 * informed, and `leftInKeychain` names the entries that stay.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `ABORTED`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { logout } from "clawdbot-plugin-auth";
 *
 * const { removed, revoked } = await logout({ pluginId: "my-memory" });
 * console.log(removed ? "Logged out." : "Nobody was logged in.", revoked ? "" : "The server was not told.");
 * ```
 */
export declare function logout(config: AuthConfig, options?: SignalOptions): Promise<LogoutResult>

/** The result of a logout. */
export interface LogoutResult {
  /** The server confirmed that the tokens are revoked. */
  revoked: boolean
  /** There was a credential, and its file is closed: nobody is logged in. */
  removed: boolean
  /**
   * The names of entries in the system's keychain that could not be removed: the keychain is locked or unreachable,
   * or it refused. The next login or logout tries again. Absent where there are none.
   */
  leftInKeychain?: Array<string>
}

/**
 * Moves the login of the config's account from the file into the config's `store`, or back, with the client that was
 * registered for it. It holds both locks, and the tokens do not change. If the process is killed in the middle, the
 * login is neither lost nor doubled: nobody is logged in until the next call, which continues. Without a login it
 * does nothing. Resolves to the status of the login in its new place.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG` also where both places have a login; `STORE_LOCKED`, `STORE_CORRUPT`,
 * `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { moveLogin } from "clawdbot-plugin-auth";
 * import { redisStore } from "clawdbot-plugin-auth/stores/redis";
 *
 * const { path } = await moveLogin({ pluginId: "my-memory", store: redisStore() }, "store");
 * console.log(path); // the key in the store
 * ```
 */
export declare function moveLogin(config: AuthConfig, to: "store" | "file"): Promise<AuthStatus>

/** A token that the user has set, used instead of a login or after it. */
export interface OutsideToken {
  /** The environment variable that holds the token. It is read at each call; a blank value counts as unset. */
  env?: string | undefined
  /** The token itself, for example from the plugin's configuration; after `env`. */
  value?: string | undefined
  /** Used only where the stored login cannot be used. @default false */
  behindLogin?: boolean | undefined
}

/** The request that {@link LoginOptions.onPaste} shows to the person. */
export interface PasteRequest {
  /** Ready to print: the text to paste, and why the last one was wrong. */
  message: string
  /** The browser has come back by itself, or the login is over. */
  signal: AbortSignal
}

/**
 * Reads or sets the order in which the plugin's accounts are used. The store keeps it, for configs that name neither
 * `profile` nor `order`. Names or ids set it; null removes it. Resolves to the order now in effect, or null without
 * one.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_CORRUPT`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { profileOrder } from "clawdbot-plugin-auth";
 *
 * const auth = { pluginId: "my-memory" };
 * await profileOrder(auth, ["work", "my-memory:personal"]);
 * console.log(await profileOrder(auth)); // [ "work", "personal" ]
 * await profileOrder(auth, null);
 * ```
 */
export declare function profileOrder(config: AuthConfig, order?: Array<string> | null): Promise<Array<string> | null>

/** A step of the wait. */
export interface ProgressEvent {
  /**
   * `waiting`: the person has not decided; `slow_down`: the server asked for a longer interval; `retrying`: the server
   * could not be reached or failed and is asked again; `approved`.
   */
  type: "waiting" | "slow_down" | "retrying" | "approved"
  /** When the server is asked next, Unix milliseconds. */
  nextPollAt?: number
  /** When the code ends, or the wait for the browser, Unix milliseconds. */
  expiresAt: number
  /** The message of the server or the network; with `waiting`, why a request from a browser was refused. */
  detail?: string
}

/**
 * Refreshes tokens that the caller stores (RFC 6749 §6). The answer always holds the refresh token to use next.
 *
 * Nothing here keeps two processes from spending the same refresh token: the caller has to.
 *
 * Rejects with an {@link AuthError}: `LOGIN_REQUIRED` when the server refuses the refresh token; `INVALID_CONFIG`,
 * `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`, `ISSUER_MISMATCH`, `OAUTH_ERROR`, `ABORTED`.
 *
 * @example
 * ```ts
 * import { refreshTokens } from "clawdbot-plugin-auth";
 *
 * const stored = { refresh: "…" };
 * const tokens = await refreshTokens(
 *   { pluginId: "my-provider", issuer: "https://auth.example.com", clientId: "my-client" },
 *   stored.refresh,
 * );
 * console.log(tokens.expires);
 * ```
 */
export declare function refreshTokens(config: AuthConfig, refreshToken: string, options?: SignalOptions): Promise<TokenSet>

/** The request that {@link authorizationHeaders} are for. */
export interface ResourceRequest {
  /** The HTTP method of the request. */
  method: string
  /** The URL of the request: https, or http on loopback. */
  url: string
  /**
   * The `DPoP-Nonce` header of that server's last answer, where it had one. It stays in use for the server (by host and port)
   * until another is given.
   */
  nonce?: string | undefined
}

/** Options of {@link logout} and {@link refreshTokens}. */
export interface SignalOptions {
  /**
   * Ends the wait: `ABORTED`, and nothing has changed. Once a refresh token is being sent it is too late: the
   * request is finished, and the call resolves. A logout that has removed the credential stops waiting for the
   * server, and resolves.
   */
  signal?: AbortSignal | undefined
}

/** An account that was passed over because it needs a login. */
export interface SkippedProfile {
  /** The account. */
  profile: string
  /** See {@link AuthStatus}. */
  state: "expired" | "login_required" | "logged_out"
  /** Why, and what to do next. */
  message: string
}

/**
 * Returns the state of the login. Reads only: no network call, nothing written, no token in the result.
 *
 * Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
 *
 * @example
 * ```ts
 * import { status } from "clawdbot-plugin-auth";
 *
 * const { state, expiresAt } = await status({ pluginId: "my-memory" });
 * console.log(state, expiresAt === undefined ? "" : new Date(expiresAt));
 * ```
 */
export declare function status(config: AuthConfig): Promise<AuthStatus>

/** Options of {@link getValidAccessToken}. */
export interface TokenOptions {
  /**
   * The access token that the resource server just answered 401 to. It is refreshed only if it is still the stored
   * one, and at most three times a minute, unless `wasAccepted`.
   */
  rejectedToken?: string | undefined
  /**
   * The service had accepted `rejectedToken` after refusing an earlier one, so the refresh between them helped and
   * does not count. Refreshes that do not help, for a service that refuses every token, stop after three.
   * @default false
   */
  wasAccepted?: boolean | undefined
  /**
   * The `scope` of a challenge with `error="insufficient_scope"` (RFC 6750 §3.1), exactly as sent; empty where it
   * has none. Rejects with `SCOPE_REQUIRED`, and the next login requests these scopes beside the present ones.
   * Resolves if the login has all of them, because another login would not help.
   */
  requiredScope?: string | undefined
  /**
   * A token for this resource alone (RFC 8707 §2.2): one of `resource` or `otherResources`, where the config names
   * any. It is requested with the login's one refresh token, kept in memory, and renewed like the login's own
   * token, which does not change.
   */
  resource?: string | undefined
  /**
   * A token with these scopes alone (RFC 6749 §6): fewer than the login has, or scopes that the server grants for
   * other APIs.
   */
  scopes?: Array<string> | undefined
  /** Ends this caller's wait at once: `ABORTED`. A refresh that was sent goes on and is saved. */
  signal?: AbortSignal | undefined
}

/** Tokens for a host that stores them itself. */
export interface TokenSet {
  /** The access token. */
  access: string
  /** The refresh token, where the server gave one. Store the newest: many servers accept each only once. */
  refresh?: string
  /** When the access token ends, Unix milliseconds. */
  expires?: number
  /** The scopes that were granted. */
  scopes?: Array<string>
  /** `Bearer`. */
  tokenType: string
  /** The OpenID Connect ID token, not validated. */
  idToken?: string
  /** The client that the tokens were issued to; {@link refreshTokens} needs it in its config. */
  clientId: string
  /** The secret of a client that was registered for this login. */
  clientSecret?: string
  /** The authorization server. */
  issuer?: string
  /** Where the tokens came from. */
  tokenEndpoint: string
}

/** The page, and the code, with which a person approves the login (RFC 8628 §3.2, RFC 6749 §4.1.1). */
export interface Verification {
  /** The code to enter. Empty in the authorization code flow, which has none. */
  userCode: string
  /** The page to enter it on; in the authorization code flow, the page to open. http(s). */
  verificationUri: string
  /** The page with the code filled in, where the server offers it. */
  verificationUriComplete?: string
  /** When the code ends, or the wait for the browser, Unix milliseconds. */
  expiresAt: number
  /** Ready to print: URL, code, minutes left. */
  message: string
  /**
   * The verification URL as a QR code of half-block characters, for a dark terminal. Empty when the URL is too long, or of
   * use only in a browser on this machine.
   */
  qrCode: string
}
