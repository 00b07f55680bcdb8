/** Two real logins of one provider, in one `auth-profiles.json`: changes of one do not affect the other. */
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AuthConfig } from "../../index.js";
import { AuthorizationServer } from "./authorization-server.ts";
import type { Tokens } from "./foreign-file.ts";
import type { Lifetime } from "./lifetime.ts";
import { configFor } from "./login.ts";
import { PluginProcess } from "./plugin-process.ts";
import { TempHome } from "./temp-home.ts";

export type Name = "a" | "b";

export class TwoLogins {
  readonly path: string;
  readonly #lifetime: Lifetime;
  readonly server: AuthorizationServer;
  readonly #home: TempHome;

  /** Access tokens that live that long, in ms; expired ones by default. */
  static async create(lifetime: Lifetime, lives: Partial<Record<Name, number>> = {}): Promise<TwoLogins> {
    const server = await AuthorizationServer.start(lifetime);
    const home = TempHome.create(lifetime);
    const profiles: Record<string, object> = {};
    for (const name of ["a", "b"] as const) {
      const { access, refresh } = await server.grant("public", ["memory", "offline_access"]);
      const expires = Date.now() + (lives[name] ?? -1000);
      profiles[`memory:${name}`] = { type: "oauth", provider: "memory", access, refresh, expires };
    }
    const path = join(home.path, ".clawdbot/agents/main/agent/auth-profiles.json");
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, JSON.stringify({ version: 1, profiles }), { mode: 0o600 });
    return new TwoLogins(lifetime, server, home, path);
  }

  private constructor(lifetime: Lifetime, server: AuthorizationServer, home: TempHome, path: string) {
    this.#lifetime = lifetime;
    this.server = server;
    this.#home = home;
    this.path = path;
  }

  config(name: Name, more: Partial<AuthConfig> = {}): AuthConfig {
    return configFor(this.server, join(this.#home.path, ".clawdbot"), {
      credentialsFormat: "auth-profiles",
      profileId: `memory:${name}`,
      ...more,
    });
  }

  plugin(): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.#home.env() });
  }

  stored(name: Name): Tokens {
    return JSON.parse(readFileSync(this.path, "utf8")).profiles[`memory:${name}`];
  }

  /** Changes one as its host would, in place. */
  edit(name: Name, change: Partial<Tokens>): void {
    const json = JSON.parse(readFileSync(this.path, "utf8"));
    Object.assign(json.profiles[`memory:${name}`], change);
    writeFileSync(this.path, JSON.stringify(json));
  }

  /** A killed holder of the host's lock is waited for half a minute: here it has been. */
  passHalfAMinute(): void {
    const longAgo = new Date(Date.now() - 31_000);
    utimesSync(`${this.path}.lock`, longAgo, longAgo);
  }

  /** Journals and other temp files. */
  leftovers(): string[] {
    return readdirSync(dirname(this.path)).filter((name) => name.endsWith(".tmp"));
  }

  refreshes() {
    return this.server.requests({ grant: "refresh_token" });
  }
}
