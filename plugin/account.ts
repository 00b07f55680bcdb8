/** One account of a plugin: its token, and requests that carry it. */
import {
  type AuthConfig,
  AuthError,
  type AuthorizationHeaders,
  type AuthStatus,
  authorizationHeaders,
  getValidAccessToken,
  type ResourceRequest,
  status,
  type TokenOptions,
} from "../index.js";
import { authorizedFetch, type Sender } from "./authorized-fetch.ts";
import { Refusals } from "./refusals.ts";

/** An account of the plugin's user, which is logged in or not. */
export interface Account {
  /** Its name; "default" where there is but one, the first of the plugin's `order` where that decides. */
  readonly profile: string;
  /** A valid access token, refreshed where it is due. Rejects with one sentence that names the command to log in. */
  getValidAccessToken(options?: TokenOptions): Promise<string>;
  /** A valid access token and its end (Unix milliseconds, if known), for an SDK that keeps what it gets. Rejects likewise. */
  getToken(options?: TokenOptions): Promise<{ token: string; expiresAt?: number }>;
  /** The service refused this token: it is replaced at once if it can be, else when the next one is asked for. Never rejects. */
  reject(token: string): Promise<void>;
  /** The headers for one request, with the proof where the login is bound to a key (`dpop: true`). Rejects likewise. */
  authorizationHeaders(request: ResourceRequest, options?: TokenOptions): Promise<AuthorizationHeaders>;
  /**
   * `fetch` with the token, and with the proof where the login is bound to a key. At a 401 the token is refreshed once, and the request sent once more unless its body can be
   * read only once (a stream, a `Request` of more than 1 MiB). The token goes to https URLs of the login's `origins` (and http on loopback); elsewhere this is plain `fetch`.
   */
  fetch(input: string | URL | Request, init?: RequestInit | null): Promise<Response>;
  /** The state of the login, and where its token may go: no network call, no token. */
  status(): Promise<AuthStatus & { origins: string[] }>;
}

export interface AccountSource extends Pick<Sender, "origins" | "isRejected"> {
  profile: string;
  /** The same object at every call, so that a fresh token costs next to nothing. */
  config(): AuthConfig;
  /** The plugin, as its user calls it. */
  title: string;
  /** What logs this account in: "run `openclaw my-memory login` in a terminal". */
  loginAdvice(): string;
}

export function account({ profile, config, title, loginAdvice, ...source }: AccountSource): Account {
  const explainedError = (error: unknown) => (error instanceof AuthError ? explain(error, title, loginAdvice) : error);
  const explained = async <Result>(call: () => Promise<Result>): Promise<Result> => {
    try {
      return await call();
    } catch (error) {
      throw explainedError(error);
    }
  };
  const authorize = (request: ResourceRequest, options?: TokenOptions) =>
    authorizationHeaders(config(), request, options);
  const sender: Sender = { ...source, authorize, explained: explainedError, refusals: new Refusals() };
  /** What the plugin said of it, until another takes its place. */
  let rejectedToken: string | undefined;
  const token = async (options?: TokenOptions) => {
    const valid = await getValidAccessToken(config(), rejectedToken ? { rejectedToken, ...options } : options);
    rejectedToken = valid === rejectedToken ? rejectedToken : undefined;
    return valid;
  };
  const tokenAndEnd = async (options?: TokenOptions): Promise<{ token: string; expiresAt?: number }> => {
    const valid = await token(options);
    const { expiresAt } = await status(config());
    // Refreshed meanwhile? Then that was the end of which of the two?
    return valid === (await token()) ? { token: valid, ...(expiresAt !== undefined && { expiresAt }) } : tokenAndEnd();
  };
  return {
    profile,
    getValidAccessToken: (options) => explained(() => token(options)),
    getToken: (options) => explained(() => tokenAndEnd(options)),
    reject: async (refused) => {
      rejectedToken = refused;
      await token().catch(() => {});
    },
    authorizationHeaders: (request, options) => explained(() => authorize(request, options)),
    fetch: (input, init) => authorizedFetch(sender, input, init),
    status: () => explained(async () => ({ ...(await status(config())), origins: [...source.origins.list] })),
  };
}

/** The same error; where a login fixes it, its message says in one sentence how, for the model and for the user. */
export function explain(error: AuthError, title: string, loginAdvice: () => string): AuthError {
  if (error.needsLogin) {
    const before = error.message;
    const reason = error.code === "LOGIN_REQUIRED" ? `${title} needs a login` : before.replace(/[.!]?$/, "");
    error.message = `${reason}: ${loginAdvice()}, then try again.`;
    // Others may have made it something else than text.
    if (typeof error.stack === "string") {
      error.stack = error.stack.replace(before, () => error.message);
    }
  }
  return error;
}
