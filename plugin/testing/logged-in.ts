import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { type AuthConfig, type AuthStatus, importToken, status } from "../../index.js";
import type { PluginAuth } from "../plugin-auth.ts";
import { clock } from "./clock.ts";

/** The login that is to be there. */
export interface TestLogin {
  /** @default a random one */
  access?: string | undefined;
  /** The refresh token. With one, `clientId` (here or in the config) names its client. */
  refresh?: string | undefined;
  /** When the access token ends, Unix milliseconds; in the past: it has just ended. @default never */
  expires?: number | undefined;
  scopes?: string[] | undefined;
  clientId?: string | undefined;
}

/** Logs a person in without a server: stores the given login for the account. With `server.grant()` of {@link
 * startAuthorizationServer} it can be refreshed as well.
 *
 * @example
 * ```ts
 * import { pluginAuth } from "clawdbot-plugin-auth/plugin";
 * import { fakeHost, loggedIn } from "clawdbot-plugin-auth/testing";
 *
 * const host = fakeHost();
 * const auth = pluginAuth(host.api, { issuer: "https://auth.example.com" });
 * await loggedIn(auth, { access: "token-of-ada" });
 * console.log(await auth.getValidAccessToken());
 * await host.close();
 * ```
 */
export async function loggedIn(auth: PluginAuth | AuthConfig, login: TestLogin = {}): Promise<AuthStatus> {
  const config = "pluginId" in auth ? auth : auth.config();
  const { access = `test-${randomUUID()}`, clientId, ...token } = login;
  const { expires, refresh } = token;
  const owner = clientId === undefined ? config : { ...config, clientId };
  const isOver = expires !== undefined && refresh === undefined && expires <= clock.now();
  if (!isOver) {
    return importToken(owner, { access, ...token });
  }
  // Only a token that has not ended is taken: one that ends soon, and later on a machine that is busy.
  for (const life of [20, 500, 10_000]) {
    const end = clock.now() + life;
    try {
      await importToken(owner, { access, ...token, expires: end });
    } catch (error) {
      if (life < 10_000 && clock.now() >= end) {
        continue;
      }
      throw error;
    }
    await setTimeout(Math.max(0, end - clock.now()) + 1);
    break;
  }
  return status(config);
}
