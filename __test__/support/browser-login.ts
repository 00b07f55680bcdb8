/** Logins of the authorization code flow, as tests need them. */
import { type AuthConfig, type AuthStatus, type LoginOptions, login, type Verification } from "../../index.js";
import { type AuthorizationServer, clients } from "./authorization-server.ts";
import { type ExchangeAnswer, exchange } from "./exchange.ts";
import { configFor } from "./login.ts";
import { Person } from "./person.ts";

export interface BegunLogin {
  /** The page for the person to open. */
  url: string;
  /** Where the browser is to come back to. */
  redirectUri: string;
  verification: Verification;
  /** How it ends. */
  outcome: Promise<AuthStatus>;
}

/** The config of a test: the server's client for this flow, everything in the given state folder. */
export function browserConfig(
  server: AuthorizationServer,
  stateDir: string,
  more: Partial<AuthConfig> = {},
): AuthConfig {
  return configFor(server, stateDir, { flow: "authorization_code", ...clients.browser, ...more });
}

/** Starts a login; resolves when there is a page to open, rejects when there is none. */
export function begin(config: AuthConfig, options: Partial<LoginOptions> = {}): Promise<BegunLogin> {
  return new Promise((resolve, reject) => {
    const outcome = login(config, {
      ...options,
      onVerification(verification) {
        const url = verification.verificationUri;
        const redirectUri = new URL(url).searchParams.get("redirect_uri") ?? "";
        resolve({ url, redirectUri, verification, outcome });
      },
    });
    outcome.catch(reject);
  });
}

/** A person approves in a browser on this machine: returns the last page. */
export async function approve({ url }: { url: string }): Promise<ExchangeAnswer> {
  return exchange(await new Person().authorize(url));
}
