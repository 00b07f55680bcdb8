/** Reports changes of the plugin's logins by any process, for callers that cache data for a person. */
import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import type { AuthStatus } from "../index.js";
import { changes } from "../lib/shared.js";

/** One change of a login. Never holds a token. */
export interface LoginChange {
  /** `logged_in`: a person logged in, perhaps another one than before; `refreshed`: the same login has new tokens;
   * `login_needed`: it cannot be used any more; `logged_out`. */
  type: "logged_in" | "refreshed" | "login_needed" | "logged_out";
  pluginId: string;
  /** The account. */
  profile: string;
  /** The account, as far as the server described it: `id`, `name`, `email`. */
  account?: AuthStatus["account"];
}

/** The channel of `node:diagnostics_channel` that carries each {@link LoginChange}. */
export const changesChannel = "clawdbot-plugin-auth:login";

export interface ChangesContext {
  pluginId: string;
  /** The account that is meant, and all others that there are. */
  statuses(): Promise<AuthStatus[]>;
}

/**
 * How often a process that listens looks by itself, in milliseconds. A look is a system call where nothing has
 * changed.
 */
const interval = 2000;

export class Changes {
  readonly #context: ChangesContext;
  readonly #listeners = new Set<(change: LoginChange) => void>();
  readonly #channel = channel(changesChannel);
  #known: Map<string, AuthStatus> | undefined;
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** A login of this process has changed, by a command perhaps: the call that did it waits until that was told. */
  readonly #hear = (looks: unknown) => {
    (looks as Promise<void>[]).push(this.look());
  };

  constructor(context: ChangesContext) {
    this.#context = context;
  }

  /** Whether anybody wants to know. */
  get areWanted(): boolean {
    return this.#listeners.size > 0 || this.#channel.hasSubscribers;
  }

  /** Calls it at each change from now on, until the function that comes back is called. */
  on(listener: (change: LoginChange) => void): () => void {
    this.#listeners.add(listener);
    void this.look();
    if (this.#timer === undefined) {
      subscribe(changes, this.#hear);
    }
    this.#timer ??= setInterval(() => void this.look(), interval).unref();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) {
        this.#rest();
      }
    };
  }

  /** The plugin is unloaded. */
  stop(): void {
    this.#listeners.clear();
    this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    unsubscribe(changes, this.#hear);
  }

  /** Checks for changes since the last check and reports them. Ends when all listeners were called. Never rejects. */
  look(): Promise<void> {
    const before = this.#looking ?? Promise.resolve();
    const look = before.then(() => this.#look()).catch(() => {});
    this.#looking = look;
    return look;
  }

  async #look(): Promise<void> {
    const statuses = await this.#context.statuses();
    const now = new Map(statuses.map((status) => [status.profile, status]));
    const before = this.#known;
    this.#known = now;
    // The first check records the present state; it is not a change.
    for (const profile of before === undefined ? [] : new Set([...before.keys(), ...now.keys()])) {
      const type = change(before?.get(profile), now.get(profile));
      if (type !== undefined) {
        const account = (type === "logged_out" ? before : now)?.get(profile)?.account;
        this.#tell({ type, pluginId: this.#context.pluginId, profile, ...(account !== undefined && { account }) });
      }
    }
  }

  #tell(change: LoginChange): void {
    this.#channel.publish(change);
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        process.emitWarning(`A listener of clawdbot-plugin-auth failed: ${error}`, "AuthWarning");
      }
    }
  }
}

function change(before: AuthStatus | undefined, now: AuthStatus | undefined): LoginChange["type"] | undefined {
  if (now === undefined || now.state === "logged_out") {
    return before === undefined || before.state === "logged_out" ? undefined : "logged_out";
  }
  const wasIn = before !== undefined && before.state !== "logged_out";
  if (!wasIn || before.createdAt !== now.createdAt || before.source !== now.source) {
    return "logged_in";
  }
  const isUsable = (status: AuthStatus) => status.state === "valid" || status.state === "expiring";
  if (isUsable(before) && !isUsable(now)) {
    return "login_needed";
  }
  return before.refreshedAt !== now.refreshedAt ? "refreshed" : undefined;
}
