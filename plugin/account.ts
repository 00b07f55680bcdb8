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
import { authorizedFetch } from "./authorized-fetch.ts";

/** An account of the plugin's user, which is logged in or not. */
export interface Account {
  /** Its name; "default" where there is but one, the first of the plugin's `order` where that decides. */
  readonly profile: string;
  /** A valid access token, refreshed where it is due. Rejects with one sentence that names the command to log in. */
  getValidAccessToken(options?: TokenOptions): Promise<string>;
  /** The headers for one request, with the proof where the login is bound to a key (`dpop: true`). Rejects likewise. */
  authorizationHeaders(request: ResourceRequest, options?: TokenOptions): Promise<AuthorizationHeaders>;
  /**
   * `fetch` with the token, and with the proof where the login is bound to a key. At a 401 the token is refreshed once, and the request sent once more unless its body can be
   * read only once (a stream). Takes https URLs, and http on loopback.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** The state of the login: no network call, no token. */
  status(): Promise<AuthStatus>;
}

export interface AccountSource {
  profile: string;
  /** The same object at every call, so that a fresh token costs next to nothing. */
  config(): AuthConfig;
  /** The plugin, as its user calls it. */
  title: string;
  /** The exact command that logs this account in. */
  loginCommand(): string;
}

export function account({ profile, config, title, loginCommand }: AccountSource): Account {
  const explained = async <Result>(call: () => Promise<Result>): Promise<Result> => {
    try {
      return await call();
    } catch (error) {
      throw error instanceof AuthError ? explain(error, title, loginCommand) : error;
    }
  };
  const authorize = (request: ResourceRequest, options?: TokenOptions) =>
    explained(() => authorizationHeaders(config(), request, options));
  return {
    profile,
    getValidAccessToken: (options) => explained(() => getValidAccessToken(config(), options)),
    authorizationHeaders: authorize,
    fetch: (input, init) => authorizedFetch(authorize, input, init),
    status: () => explained(() => status(config())),
  };
}

/** The same error; where a login mends it, its message says in one sentence how, for the model and for the user. */
export function explain(error: AuthError, title: string, loginCommand: () => string): AuthError {
  if (error.needsLogin) {
    const before = error.message;
    const reason = error.code === "LOGIN_REQUIRED" ? `${title} needs a login` : before.replace(/[.!]?$/, "");
    error.message = `${reason}: run \`${loginCommand()}\` in a terminal, then try again.`;
    // Others may have made it something else than text.
    if (typeof error.stack === "string") {
      error.stack = error.stack.replace(before, () => error.message);
    }
  }
  return error;
}
