import type { AuthConfig, BeginLoginOptions, login, profileOrder } from "../index.js";
import type { SharedLogin } from "./shared.js";

/** The part that the kit uses; documented in `pending-login.js`. */
export interface Api {
  login: typeof login;
  profileOrder: typeof profileOrder;
}
export function accountKey(api: Pick<Api, "profileOrder">, config: AuthConfig): Promise<string>;
export function sharedLogin(
  api: Api,
  config: AuthConfig,
  options?: Omit<BeginLoginOptions, "signal"> & { owner?: string | undefined },
): Promise<SharedLogin>;
export function endLogins(pluginId: string): void;
