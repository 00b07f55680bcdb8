/** One account of a plugin: its token, and requests that carry it. */
import {
  type AuthConfig,
  AuthError,
  type AuthorizationHeaders,
  type AuthStatus,
  authorizationHeaders,
  getValidAccessToken,
  type LoginOptions,
  type LogoutResult,
  login,
  logout,
  type ResourceRequest,
  type SignalOptions,
  status,
  type TokenOptions,
} from "../index.js";
import { authorizedFetch, type Sender, tokenOf } from "./authorized-fetch.ts";
import type { Changes } from "./changes.ts";
import { invalidConfig } from "./invalid-config.ts";
import { plainly, type Say } from "./messages.ts";
import { Refusals } from "./refusals.ts";

/** An account of the plugin's user, which is logged in or not. */
export interface Account {
  /** Its name. "default" where there is only one; the first of the plugin's `order` where that decides. */
  readonly profile: string;
  /** A valid access token, refreshed where it is due. Rejects with one sentence that names the command to log in. */
  getValidAccessToken(options?: TokenOptions): Promise<string>;
  /**
   * A valid access token and its end (Unix milliseconds, if known; of one for another resource only where it is a
   * JWT), for an SDK that keeps what it gets. Rejects likewise.
   */
  getToken(options?: TokenOptions): Promise<{ token: string; expiresAt?: number }>;
  /**
   * The service refused this token: it is replaced at once if it can be, else when the next one is asked for. Never
   * rejects.
   */
  reject(token: string): Promise<void>;
  /** The headers for one request, with the proof where the login is bound to a key (`dpop: true`). Rejects likewise. */
  authorizationHeaders(request: ResourceRequest, options?: TokenOptions): Promise<AuthorizationHeaders>;
  /**
   * `fetch` with the token, and with the proof where the login is bound to a key. At a 401 the token is refreshed
   * once, and the request sent once more unless its body can be read only once (a stream, a `Request` of more than 1
   * MiB). The token goes to https URLs of the login's `origins` (and http on loopback); elsewhere this is plain
   * `fetch`. Below one of `otherResources` it is the token of that one; `target` names another.
   */
  fetch(input: string | URL | Request, init?: RequestInit | null, target?: TokenTarget): Promise<Response>;
  /**
   * The state of the login, and where its token may go: no network call, no token. `unencrypted`: those without TLS.
   */
  status(): Promise<AuthStatus & { origins: string[]; unencrypted?: string[] }>;
  /** Logs in, in words of your own: `onVerification` shows the code or the page. */
  login(options: LoginOptions): Promise<AuthStatus>;
  /** Logs out. */
  logout(options?: SignalOptions): Promise<LogoutResult>;
  /** The config of this login, for the package's own functions; to be asked for again each time. */
  config(): AuthConfig;
}

/** Another access token of the same login: for a resource, or with fewer scopes. */
export type TokenTarget = Pick<TokenOptions, "resource" | "scopes">;

/** One access token of the login. */
interface TokenState {
  target: TokenTarget;
  /** The token that was handed out last. */
  last?: string;
  /** The token that the plugin rejected, until another replaces it. */
  rejected?: string | undefined;
}

export interface AccountSource extends Pick<Sender, "origins" | "isRejected"> {
  profile: string;
  /** The same object at every call, so that a fresh token costs almost nothing. */
  config(): AuthConfig;
  /** The plugin, as its user calls it. */
  title: string;
  /** The command that logs this account in: "run `openclaw my-memory login` in a terminal". */
  loginAdvice(): string;
  say: Say;
  changes: Changes;
}

export function account({ profile, config, title, loginAdvice, say, changes, ...source }: AccountSource): Account {
  const explainedError = (error: unknown) =>
    error instanceof AuthError ? explain(error, title, loginAdvice, say, profile) : error;
  const explained = async <Result>(call: () => Promise<Result>): Promise<Result> => {
    try {
      return await call();
    } catch (error) {
      throw explainedError(error);
    }
  };
  const own: TokenState = { target: {} };
  const others = new Map<string, TokenState>();
  const stateOf = ({ resource, scopes }: TokenTarget = {}): TokenState => {
    if (resource === undefined && scopes === undefined) {
      return own;
    }
    const key = JSON.stringify([resource, scopes]);
    const target = { ...(resource !== undefined && { resource }), ...(scopes !== undefined && { scopes }) };
    const state = others.get(key) ?? { target };
    if (others.size > mostTargets) {
      others.clear();
    }
    others.set(key, state);
    return state;
  };
  /** A caller that caches data for a person learns about another person before the new token is used. */
  const noticed = async <Result>(
    answer: Promise<Result>,
    token: (result: Result) => string,
    state: TokenState,
  ): Promise<Result> => {
    try {
      const result = await answer;
      const now = token(result);
      if (now !== state.last && changes.areWanted) {
        await changes.look();
      }
      state.last = now;
      return result;
    } catch (error) {
      if (error instanceof AuthError && error.needsLogin && changes.areWanted) {
        await changes.look();
      }
      throw error;
    }
  };
  const ask = (options?: TokenOptions) => {
    // Before the call begins: it may throw, and nobody would hear of the call.
    const state = stateOf(options);
    return noticed(getValidAccessToken(config(), options), itself, state);
  };
  const authorize = (request: ResourceRequest, given?: TokenOptions): Promise<AuthorizationHeaders> => {
    const isNamed = given?.resource !== undefined || given?.scopes !== undefined;
    const resource = isNamed ? undefined : source.origins.otherResource(request.url);
    const options = resource === undefined ? given : { ...given, resource };
    if (source.origins.isUnencrypted(request.url)) {
      return unencryptedHeaders(request, options);
    }
    const state = stateOf(options);
    return noticed(authorizationHeaders(config(), request, options), tokenOf, state);
  };
  const unencryptedHeaders = async (request: ResourceRequest, options?: TokenOptions) => {
    const token = await ask(options);
    if ((await status(config())).dpop) {
      throw invalidConfig(
        `This login is bound to a key, which proves nothing to ${new URL(request.url).origin}: use https there.`,
      );
    }
    return { Authorization: `Bearer ${token}` };
  };
  const sender: Sender = { ...source, authorize, explained: explainedError, refusals: new Refusals() };
  const token = async (options?: TokenOptions) => {
    const state = stateOf(options);
    const { rejected: rejectedToken } = state;
    const valid = await ask(rejectedToken ? { rejectedToken, ...options } : options);
    if (valid !== state.rejected) {
      state.rejected = undefined;
    }
    return valid;
  };
  const tokenAndEnd = async (options?: TokenOptions): Promise<{ token: string; expiresAt?: number }> => {
    const valid = await token(options);
    if (stateOf(options) !== own) {
      const expiresAt = endOf(valid);
      return { token: valid, ...(expiresAt !== undefined && { expiresAt }) };
    }
    const { expiresAt } = await status(config());
    // Refreshed meanwhile? Then that was the end of which of the two?
    return valid === (await token()) ? { token: valid, ...(expiresAt !== undefined && { expiresAt }) } : tokenAndEnd();
  };
  return {
    profile,
    getValidAccessToken: (options) => explained(() => token(options)),
    getToken: (options) => explained(() => tokenAndEnd(options)),
    reject: async (refused) => {
      const state = [...others.values()].find(({ last }) => last === refused) ?? own;
      state.rejected = refused;
      await token(state.target).catch(() => {});
    },
    authorizationHeaders: (request, options) => explained(() => authorize(request, options)),
    fetch: (input, init, target) => authorizedFetch(sender, input, init, target),
    status: () =>
      explained(async () => {
        const { unencrypted } = source.origins;
        const found = { ...(await status(config())), origins: [...source.origins.list] };
        return unencrypted.length === 0 ? found : { ...found, unencrypted };
      }),
    login: (options) => explained(() => done(login(config(), options))),
    logout: (options) => explained(() => done(logout(config(), options))),
    config,
  };

  async function done<Result>(change: Promise<Result>): Promise<Result> {
    const result = await change;
    await (changes.areWanted ? changes.look() : undefined);
    return result;
  }
}

const itself = (token: string) => token;

/** More than any plugin has. */
const mostTargets = 64;

/** RFC 9068 section 2.2 `exp`; nothing where the token is no JWT. */
function endOf(token: string): number | undefined {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    return Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

/** Explains an error. Where a login fixes it, the message says how in one sentence, for the model and for the user. */
export function explain(
  error: AuthError,
  title: string,
  loginAdvice: () => string,
  say: Say = plainly,
  account = "default",
): AuthError {
  if (error.needsLogin) {
    const before = error.message;
    const reason = error.code === "LOGIN_REQUIRED" ? `${title} needs a login` : before.replace(/[.!]?$/, "");
    const advice = loginAdvice();
    error.message = say("loginNeeded", { text: `${reason}: ${advice}, then try again.`, account, advice, reason });
    // Others may have made it something else than text.
    if (typeof error.stack === "string") {
      error.stack = error.stack.replace(before, () => error.message);
    }
  }
  return error;
}
