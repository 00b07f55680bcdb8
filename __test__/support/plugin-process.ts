/** A plugin in a process of its own, which calls the package's functions on command. */
import type { AuthConfig, AuthStatus, TokenOptions, Verification } from "../../index.js";
import { Child, type ChildOptions } from "./child.ts";
import type { Lifetime } from "./lifetime.ts";

/** The rejection of a call, as far as it can be written as JSON. */
export interface ReportedError {
  name: string;
  code: string;
  message: string;
  retryable: boolean;
  needsLogin: boolean;
  oauthError?: string;
  retryAfterMs?: number;
}

export class PluginProcess {
  readonly child: Child;
  #calls = 0;

  static async start(lifetime: Lifetime, options: ChildOptions): Promise<PluginProcess> {
    const process = new PluginProcess(Child.start(lifetime, "plugin.mjs", options));
    await process.child.event("ready");
    return process;
  }

  private constructor(child: Child) {
    this.child = child;
  }

  accessToken(config: AuthConfig, options?: TokenOptions): Promise<string> {
    return this.call("getValidAccessToken", [config], options) as Promise<string>;
  }

  status(config: AuthConfig): Promise<AuthStatus> {
    return this.call("status", [config]) as Promise<AuthStatus>;
  }

  login(config: AuthConfig): Promise<AuthStatus> {
    return this.call("login", [config]) as Promise<AuthStatus>;
  }

  async verification(): Promise<Verification> {
    const { verification } = await this.child.event("verification");
    return verification as Verification;
  }

  /** Resolves to the value, rejects with the {@link ReportedError}. */
  call(call: string, args: unknown[], options?: object): Promise<unknown> {
    return this.begin(call, args, options).outcome;
  }

  /** Starts a call, with a handle to abort it. */
  begin(call: string, args: unknown[], options?: object): { outcome: Promise<unknown>; abort(): void } {
    const id = ++this.#calls;
    const done = this.child.event(`done ${id}`).then(({ value }) => value);
    const failed = this.child.event(`failed ${id}`).then(({ error }) => Promise.reject(error));
    this.child.send({ id, call, args, options });
    const outcome = Promise.race([done, failed]);
    outcome.catch(() => {});
    done.catch(() => {});
    failed.catch(() => {});
    return { outcome, abort: () => this.child.send({ abort: id }) };
  }

  /** Closes its input: without anything left to do it ends. */
  async end(): Promise<void> {
    this.child.endInput();
    await this.child.exit;
  }
}
