/** `<id>.login`, `<id>.login.paste`, `<id>.status`, `<id>.logout` and `<id>.doctor`, for `api.registerGatewayMethod`. */
import { type AuthConfig, AuthError, doctor, logout, status, type Verification } from "../index.js";
import { shared } from "../lib/shared.js";
import { explain } from "./account.ts";
import { firstAccount, plainName } from "./accounts.ts";
import type { GatewayMethod, GatewayRequest } from "./host.ts";
import { PendingLogin } from "./pending-login.ts";

export interface GatewayContext {
  id: string;
  title: string;
  logger: { info(message: string): void; warn(message: string): void };
  defaultProfile(): string | undefined;
  config(profile: string | undefined): AuthConfig;
  loginCommand(profile: string | undefined): string;
  origins: { list: string[] };
}

export interface GatewayMethods {
  login: GatewayMethod;
  paste: GatewayMethod;
  status: GatewayMethod;
  logout: GatewayMethod;
  doctor: GatewayMethod;
}

/** What is not an error of the login, which goes on. */
class NotTaken extends Error {
  readonly code = "INVALID_RESPONSE";
  readonly retryable = true;
}

/** Of all registrations in this process, by whatever copy of the kit: a host may load the plugin again while a person approves. */
const { pendingLogins, loginFailures: failures } = shared();

export function gatewayMethods(context: GatewayContext): GatewayMethods {
  const { title, logger } = context;

  const method =
    (
      answer: (
        account: { profile: string; config: AuthConfig; key: string },
        params: Record<string, unknown>,
      ) => Promise<unknown>,
    ): GatewayMethod =>
    async ({ params = {}, respond }: GatewayRequest) => {
      const named = params.account ?? params.profile ?? context.defaultProfile();
      const name = named === undefined || typeof named === "string" ? named : "";
      try {
        const config = context.config(name);
        // Where an order decides, a login or logout means its first account, and so does a pending one.
        const profile = name === undefined ? await firstAccount(config) : plainName(name, config.pluginId);
        const key = JSON.stringify([config.pluginId, config.stateDir, profile]);
        respond(true, await answer({ profile, config, key }, params));
      } catch (error) {
        if (!(error instanceof AuthError || error instanceof NotTaken)) {
          throw error;
        }
        const { code, message, retryable } =
          error instanceof NotTaken ? error : explain(error, title, () => context.loginCommand(name));
        respond(false, undefined, { code, message, retryable });
      }
    };

  return {
    login: method(async ({ profile, config, key }) => {
      const running = pendingLogins.get(key);
      // Asked twice, the person still has one code to enter.
      const login =
        running ??
        start(
          key,
          config,
          (message) => logger.info(message),
          (message) => logger.warn(message),
        );
      const verification = await login.verification;
      const message =
        verification.userCode === ""
          ? `${verification.message}\n\nIf the last page does not load, give its whole address to the gateway method ` +
            `${context.id}.login.paste as {"paste": "…"}.`
          : verification.message;
      return { account: profile, ...verification, message } satisfies { account: string } & Verification;
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
        loginPending: pendingLogins.has(key),
        ...(lastLoginError !== undefined && { lastLoginError }),
      };
    }),
    logout: method(async ({ config, key }) => {
      pendingLogins.get(key)?.abort();
      failures.delete(key);
      return logout(config);
    }),
    // A damaged order is for the doctor to tell.
    doctor: method(({ config }, { fix }) => doctor(config, { fix: fix === true })),
  };

  function start(key: string, config: AuthConfig, info: (message: string) => void, warn: (message: string) => void) {
    const login = PendingLogin.start(config);
    pendingLogins.set(key, login);
    failures.delete(key);
    login.outcome
      .then(
        ({ profile }) => info(`${title}: logged in${profile === "default" ? "" : ` as ${profile}`}.`),
        (error: unknown) => {
          const { code, message } = error as AuthError;
          if (code !== "ABORTED") {
            failures.set(key, message);
            warn(`${title}: the login failed. ${message}`);
          }
        },
      )
      .finally(() => {
        if (pendingLogins.get(key) === login) {
          pendingLogins.delete(key);
        }
      });
    return login;
  }
}
