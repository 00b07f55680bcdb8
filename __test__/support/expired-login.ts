/**
 * A login with an expired access token, at the real server with rotation and reuse detection: the next caller has to
 * refresh. Refreshed tokens live for an hour, so that even in a slow test no second refresh is due.
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AuthConfig } from "../../index.js";
import {
  AuthorizationServer,
  type AuthorizationServerOptions,
  type Interception,
  type LoggedRequest,
} from "./authorization-server.ts";
import type { ChildOptions } from "./child.ts";
import type { Lifetime } from "./lifetime.ts";
import { configFor, grantedLogin } from "./login.ts";
import { PluginProcess } from "./plugin-process.ts";
import { StoredCredential } from "./stored-credential.ts";
import { TempHome } from "./temp-home.ts";

/** The contents of a credential file, as far as tests look at it. */
export interface CredentialFile {
  version: number;
  access?: string;
  refresh?: string;
}

export interface ExpiredLoginOptions {
  server?: AuthorizationServerOptions;
  /** More of the config, or other values. */
  config?: Partial<AuthConfig>;
  /** The state folder. @default the default one of the home */
  stateDir?: (home: TempHome) => string;
}

export class ExpiredLogin {
  readonly server: AuthorizationServer;
  readonly home: TempHome;
  readonly config: AuthConfig;
  /** The credential file. */
  readonly path: string;
  /** The credential before the refresh. */
  readonly old: Required<CredentialFile>;
  readonly #lifetime: Lifetime;

  static async create(lifetime: Lifetime, options: ExpiredLoginOptions = {}): Promise<ExpiredLogin> {
    const server = await AuthorizationServer.start(lifetime, options.server ?? {});
    const home = TempHome.create(lifetime);
    const config = configFor(server, options.stateDir?.(home) ?? home.stateDir, options.config ?? {});
    const { status } = await grantedLogin(config);
    new StoredCredential(realpathSync(status.path)).expire();
    return new ExpiredLogin(lifetime, server, home, config, status.path);
  }

  private constructor(
    lifetime: Lifetime,
    server: AuthorizationServer,
    home: TempHome,
    config: AuthConfig,
    path: string,
  ) {
    this.#lifetime = lifetime;
    this.server = server;
    this.home = home;
    this.config = config;
    this.path = path;
    this.old = this.stored() as Required<CredentialFile>;
  }

  /** The folder of the credential file. */
  get folder(): string {
    return dirname(this.path);
  }

  /** A process of the plugin. */
  plugin(options: Partial<ChildOptions> = {}): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.home.env(), ...options });
  }

  /** The contents of the file; throws unless it is complete. */
  stored(): CredentialFile {
    return JSON.parse(readFileSync(this.path, "utf8")) as CredentialFile;
  }

  /** The names beside the credential. */
  files(): string[] {
    return readdirSync(this.folder).sort();
  }

  /** The temp file of the refresh that is under way. */
  temp(): string {
    const [name, ...others] = this.files().filter((file) => file.endsWith(".tmp"));
    if (name === undefined || others.length > 0) {
      throw new Error(`Not one temp file, but ${this.files()}`);
    }
    return join(this.folder, name);
  }

  /** The refresh requests that the server has seen so far. */
  refreshes(): Promise<LoggedRequest[]> {
    return this.server.requests({ grant: "refresh_token" });
  }

  /** Keeps the answer of the next refresh back; the server has handled it by then. */
  heldAnswer(): Promise<Interception> {
    return this.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
  }
}
