/**
 * Logins that go on in the background, after their code or page was handed out; the gateway's log has their outcome.
 */
import { type AuthConfig, type AuthError, login as logIn, profileOrder } from "../index.js";
import { accountKey, sharedLogin } from "../lib/pending-login.js";
import { type SharedLogin, shared } from "../lib/shared.js";

/** The person who begins a login, as far as known. */
export interface LoginContext {
  title: string;
  logger: { info(message: string): void; warn(message: string): void };
}

export interface LoginOwner {
  /** The only one who may take part. */
  owner?: string | undefined;
  /** Where the browser is to come back to. */
  redirectUri?: string | undefined;
}

/** Names the account that a login with this config is for, among all copies of the package in the process. */
export function loginKey(config: AuthConfig): Promise<string> {
  return accountKey({ profileOrder }, config);
}

/** The login of the account that is under way, or a new one: asked twice, the person still has one code to enter. */
export async function beginLogin(
  { title, logger }: LoginContext,
  config: AuthConfig,
  { owner, redirectUri }: LoginOwner = {},
): Promise<SharedLogin> {
  const { pendingLogins, loginFailures } = shared();
  const key = await loginKey(config);
  const before = pendingLogins.get(key);
  const login = await sharedLogin({ login: logIn, profileOrder }, config, {
    owner,
    ...(redirectUri !== undefined && { redirectUri }),
  });
  if (login === before) {
    return login;
  }
  loginFailures.delete(key);
  login.outcome.then(
    ({ profile }) => logger.info(`${title}: logged in${profile === "default" ? "" : ` as ${profile}`}.`),
    (error: unknown) => {
      const { code, message } = error as AuthError;
      if (code !== "ABORTED") {
        loginFailures.set(key, message);
        logger.warn(`${title}: the login failed. ${message}`);
      }
    },
  );
  return login;
}
