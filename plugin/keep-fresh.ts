/** A service of the gateway: tokens are renewed before a tool has to wait for it, and a login that ended is noticed. */
import {
  type AuthConfig,
  type AuthError,
  type AuthStatus,
  getValidAccessToken,
  listProfiles,
  status,
} from "../index.js";
import { endListening } from "../lib/given-store.js";
import { endLogins } from "../lib/pending-login.js";
import { letGo, now, settled } from "../lib/shared.js";
import { inTerminal, type PluginService } from "./host.ts";

export interface KeepFreshContext {
  id: string;
  pluginId: string;
  /** If false, the service only ends waiting logins when it stops. */
  isKeptFresh: boolean;
  title: string;
  logger: { warn(message: string): void };
  /** The plugin is unloaded. */
  stopped(): void;
  /** A missing login of the default account is reported; of other accounts only existing logins are checked. */
  isExpected: boolean;
  defaultProfile(): string | undefined;
  config(profile: string | undefined): AuthConfig;
  loginCommand(profile: string | undefined): string;
}

const second = 1000;
const minute = 60 * second;
/** Other processes log in and out, so the files are looked at now and then, without a due date too. */
const longestPause = 10 * minute;
/** A server whose tokens live shorter is left to the tools. */
const shortestPause = 30 * second;
const defaultBuffer = 5 * minute;
/** Hosts wait for a service that stops, and then exit; openclaw gives up after 5 s. */
const stopPatience = 4.5 * second;

export function keepFresh(context: KeepFreshContext): PluginService {
  const warned = new Map<string, AuthStatus["state"]>();
  /** The kinds of failures that were logged, of each account since it was last renewed. */
  const failed = new Map<string, Set<string>>();
  let timer: NodeJS.Timeout | undefined;
  let stop = new AbortController();

  function schedule(pause: number): void {
    clearTimeout(timer);
    const { signal } = stop;
    timer = setTimeout(() => {
      round(signal)
        .catch((error) => {
          warnOfFailure(error, "", signal);
          return longestPause;
        })
        .then((next) => {
          if (!signal.aborted) {
            schedule(next);
          }
        });
    }, pause);
    // The gateway lives by itself; this alone must not keep a process alive.
    timer.unref();
  }

  /** Looks at every account; resolves to the time until the next look. */
  async function round(signal: AbortSignal): Promise<number> {
    const config = context.config(context.defaultProfile());
    const [known, used] = await Promise.all([
      listProfiles(config),
      // A damaged file is among the listed; that must not keep the others from being renewed.
      status(config).catch(() => undefined),
    ]);
    if (context.isExpected && used?.state === "logged_out") {
      warnOnce(used, undefined);
    }
    const pauses = known.map(async (account) => {
      if (account.state === "valid") {
        warned.delete(account.profile);
      } else {
        // Without a name, a login is for the first account of an order.
        const isFirst = used === undefined || (account.profile === used.profile && used.skipped === undefined);
        warnOnce(account, isFirst ? context.defaultProfile() : account.profile);
        // Until a login ends it is renewed like any other; that may even move its end.
        if (account.state !== "expiring" || !account.refreshable) {
          return longestPause;
        }
      }
      const config = context.config(account.profile);
      const due = dueIn(account, config);
      if (due > 0) {
        return due;
      }
      // A failure is remembered in the store, with the time of the next attempt; a final one shows at the next look.
      await getValidAccessToken(config, { signal }).then(
        () => failed.delete(account.profile),
        (error) => warnOfFailure(error, account.profile, signal),
      );
      return shortestPause;
    });
    return jittered(Math.min(longestPause, ...(await Promise.all(pauses))));
  }

  function warnOnce({ profile, state, loginEndsAt, refreshable }: AuthStatus, named: string | undefined): void {
    if (warned.get(profile) === state) {
      return;
    }
    warned.set(profile, state);
    const who = nameOf(profile);
    const what =
      state === "expiring"
        ? `the login to ${who} ends at ${new Date(loginEndsAt ?? 0).toISOString()}${refreshable ? "" : " and cannot be renewed"}`
        : `${who} needs a login`;
    context.logger.warn(`${what}: ${inTerminal(context.loginCommand(named))}.`);
  }

  /** Warns once for each kind of failure. A needed login is reported when the account is checked next. */
  function warnOfFailure(error: unknown, profile: string, signal: AbortSignal): void {
    const { code = "", needsLogin = false, message = String(error) } = error as Partial<AuthError>;
    const kinds = failed.get(profile) ?? new Set();
    if (signal.aborted || needsLogin || kinds.has(code)) {
      return;
    }
    failed.set(profile, kinds.add(code));
    context.logger.warn(`the login to ${nameOf(profile)} cannot be kept fresh (${code}): ${message}`);
  }

  const nameOf = (profile: string) =>
    profile === "" || profile === "default" ? context.title : `${context.title} (account ${profile})`;

  return {
    id: context.id,
    start() {
      if (!context.isKeptFresh) {
        return;
      }
      // Started again, it goes on once.
      stop.abort();
      stop = new AbortController();
      // Not at once: the gateway has better things to do while it starts, and so have its neighbours.
      schedule(second + Math.random() * 4 * second);
    },
    async stop() {
      stop.abort();
      context.stopped();
      // An approval from now on would be for a copy that is gone.
      endLogins(context.pluginId);
      clearTimeout(timer);
      warned.clear();
      failed.clear();
      // A refresh may be under way that no promise here waits for: its rotated token would be lost with the process.
      await settled(stopPatience);
      letGo();
      endListening();
    },
  };
}

/** Milliseconds until the token is to be renewed: in the window before its end in which the store renews ahead. */
export function dueIn({ expiresAt, refreshable, refreshedAt, createdAt }: AuthStatus, config: AuthConfig): number {
  const since = refreshedAt ?? createdAt;
  if (expiresAt === undefined || !refreshable || since === undefined) {
    return longestPause;
  }
  const window = Math.min(config.refreshBufferMs ?? defaultBuffer, (expiresAt - since) / 4);
  return expiresAt - window - now();
}

/** Later by up to a tenth, so that many gateways do not ask one server at the same moment. */
function jittered(pause: number): number {
  const bounded = Math.min(longestPause, Math.max(shortestPause, pause));
  return bounded + Math.random() * Math.min(0.1 * bounded, minute);
}
