/**
 * `<id>.login`, `<id>.login.paste`, `<id>.status`, `<id>.logout` and `<id>.doctor`, for `api.registerGatewayMethod`.
 */
import { type AuthConfig, AuthError, doctor, logout, status, type Verification } from "../index.js";
import { type SharedLogin, shared } from "../lib/shared.js";
import { explain } from "./account.ts";
import { firstAccount, loginCommandOf, plainName } from "./accounts.ts";
import { type GatewayMethod, type GatewayRequest, inTerminal } from "./host.ts";
import type { Say } from "./messages.ts";
import { beginLogin, loginKey } from "./pending-login.ts";
import { withCommands } from "./status-text.ts";

export interface GatewayContext {
  id: string;
  title: string;
  logger: { info(message: string): void; warn(message: string): void };
  defaultProfile(): string | undefined;
  config(profile: string | undefined): AuthConfig;
  loginCommand(profile: string | undefined): string;
  say: Say;
  origins: { list: string[]; unencrypted: string[] };
  /** Where the browser comes back to, if the gateway serves that. */
  redirectUri?: string | undefined;
  /** The address of a page that shows the login, if the gateway serves one. */
  pageOf?: ((login: SharedLogin) => string) | undefined;
  /** Lets a person log in from a chat, on hosts without a command line for plugins. */
  invite?: (() => Promise<{ word: string; message: string }>) | undefined;
}

export interface GatewayMethods {
  login: GatewayMethod;
  paste: GatewayMethod;
  status: GatewayMethod;
  logout: GatewayMethod;
  doctor: GatewayMethod;
  chatAllow: GatewayMethod;
}

/** A mistake in the request that does not end the login. */
class NotTaken extends Error {
  readonly code = "INVALID_RESPONSE";
  readonly retryable = true;
}

/**
 * Of all registrations in this process, by any copy of the kit: a host may load the plugin again while a person
 * approves.
 */
const { pendingLogins, loginFailures: failures } = shared();

export function gatewayMethods(context: GatewayContext): GatewayMethods {
  const { title } = context;

  const method =
    (
      answer: (
        account: { profile: string; config: AuthConfig; key: string },
        params: Record<string, unknown>,
      ) => Promise<unknown>,
      first = firstAccount,
    ): GatewayMethod =>
    async ({ params = {}, respond }: GatewayRequest) => {
      const named = params.account ?? params.profile ?? context.defaultProfile();
      const name = named === undefined || typeof named === "string" ? named : "";
      try {
        const config = context.config(name);
        // Where an order decides, a login or logout means its first account, and so does a pending one.
        const profile = name === undefined ? await first(config) : plainName(name, config.pluginId);
        respond(true, await answer({ profile, config, key: await loginKey({ profile, ...config }) }, params));
      } catch (error) {
        if (!(error instanceof AuthError || error instanceof NotTaken)) {
          throw error;
        }
        const { code, message, retryable } =
          error instanceof NotTaken
            ? error
            : explain(error, title, () => inTerminal(context.loginCommand(name)), context.say, name);
        respond(false, undefined, { code, message, retryable });
      }
    };

  return {
    login: method(async ({ profile, config }) => {
      const { redirectUri, pageOf } = context;
      const login = await beginLogin(context, config, { redirectUri });
      const verification = await login.verification;
      const message =
        verification.userCode === "" && redirectUri === undefined
          ? `${verification.message}\n\nIf the last page does not load, give its whole address to the gateway method ` +
            `${context.id}.login.paste as {"paste": "…"}.`
          : verification.message;
      const page = pageOf && { page: pageOf(login) };
      return { account: profile, ...verification, message, ...page } satisfies { account: string } & Verification;
    }),
    paste: method(async ({ key }, { paste }) => {
      const login = pendingLogins.get(key);
      if (login === undefined || typeof paste !== "string") {
        const next = login === undefined ? `call ${context.id}.login first` : 'give it as {"paste": "…"}';
        throw new NotTaken(`Nothing was pasted: ${next}.`);
      }
      const ended = await login.paste(paste);
      if (typeof ended === "string") {
        throw new NotTaken(ended);
      }
      return ended;
    }),
    status: method(async ({ config, key }) => {
      const lastLoginError = failures.get(key);
      return {
        ...(await status(config)),
        origins: context.origins.list,
        ...(context.origins.unencrypted.length > 0 && { unencrypted: context.origins.unencrypted }),
        loginPending: pendingLogins.has(key),
        ...(lastLoginError !== undefined && { lastLoginError }),
      };
    }),
    logout: method(async ({ config, key }) => {
      pendingLogins.get(key)?.abort();
      failures.delete(key);
      return logout(config);
    }),
    chatAllow: method(async () => context.invite?.() ?? {}),
    doctor: method(
      async ({ config }, { fix }) =>
        withCommands(await doctor(config, { fix: fix === true }), await loginCommandOf(context)),
      // The doctor reports a damaged order.
      (config) => firstAccount(config).catch(() => "default"),
    ),
  };
}
