/** A login with its tokens in a real keyring, for the tests of `storage: "keychain"`. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AuthConfig, AuthStatus } from "../../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "./authorization-server.ts";
import { Keyring } from "./keyring.ts";
import type { Lifetime } from "./lifetime.ts";
import { complete, configFor, grantedLogin } from "./login.ts";
import { Person } from "./person.ts";
import { PluginProcess } from "./plugin-process.ts";
import { StoredCredential, type StoredMembers } from "./stored-credential.ts";
import { TempHome } from "./temp-home.ts";

/** The part of a credential that the keychain holds. */
export interface Tokens {
  access: string;
  refresh: string;
  /** The key of a login with `dpop: true`. */
  dpopKey?: string;
}

/** A keychain that a test can read without the addon. */
export interface Keychain {
  /** The variables that lead to it. */
  readonly env: Record<string, string>;
  /** The accounts of our entries, sorted. */
  accounts(): string[];
  secret(account: string): string;
  remove(account: string): void;
}

export class KeychainLogin<K extends Keychain = Keyring> {
  readonly #lifetime: Lifetime;
  readonly server: AuthorizationServer;
  readonly home: TempHome;
  readonly keyring: K;
  readonly config: AuthConfig;

  /** Server, home and keyring; nobody is logged in yet. */
  static async prepare(
    lifetime: Lifetime,
    options: AuthorizationServerOptions = {},
    config: Partial<AuthConfig> = {},
  ): Promise<KeychainLogin> {
    return KeychainLogin.prepareIn(lifetime, (home) => Keyring.start(lifetime, home), options, config);
  }

  /** Prepares a login in another keychain. */
  static async prepareIn<K extends Keychain>(
    lifetime: Lifetime,
    start: (home: TempHome) => Promise<K>,
    options: AuthorizationServerOptions = {},
    config: Partial<AuthConfig> = {},
  ): Promise<KeychainLogin<K>> {
    const home = TempHome.create(lifetime);
    const [server, keyring] = await Promise.all([AuthorizationServer.start(lifetime, options), start(home)]);
    return new KeychainLogin(lifetime, server, home, keyring, {
      ...configFor(server, home.stateDir),
      storage: "keychain",
      ...config,
    });
  }

  static async create(lifetime: Lifetime, options: AuthorizationServerOptions = {}): Promise<KeychainLogin> {
    const login = await KeychainLogin.prepare(lifetime, options);
    const plugin = await login.plugin();
    await grantedLogin(login.config, login.server, (tokens) => plugin.call("importToken", [login.config, tokens]));
    return login;
  }

  private constructor(lifetime: Lifetime, server: AuthorizationServer, home: TempHome, keyring: K, config: AuthConfig) {
    this.#lifetime = lifetime;
    this.server = server;
    this.home = home;
    this.keyring = keyring;
    this.config = config;
  }

  /** A process of the plugin, in the session of the keyring unless another environment is given. */
  plugin(env: Record<string, string> = this.keyring.env): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.home.env(env) });
  }

  async logIn(plugin: PluginProcess, config: AuthConfig = this.config): Promise<AuthStatus> {
    const status = plugin.login(config);
    const shown = plugin.verification();
    // A login that fails before it shows anything says why itself.
    await Promise.race([shown, status]);
    await new Person().approve(complete(await shown));
    return status;
  }

  get path(): string {
    return this.home.credentialPath(this.config.pluginId);
  }

  get text(): string {
    return readFileSync(this.path, "utf8");
  }

  get stored(): StoredMembers {
    return JSON.parse(this.text) as StoredMembers;
  }

  get files(): string[] {
    return readdirSync(dirname(this.path)).sort();
  }

  /** The tokens that the file names: whole, or this throws. */
  tokens(): Tokens {
    const { secretsId } = this.stored;
    return JSON.parse(this.keyring.secret(secretsId as string).slice("000001".length)) as Tokens;
  }

  expire(): void {
    new StoredCredential(this.path).expire();
  }

  /** No file of this home holds any of these. */
  assertInNoFile(...secrets: string[]): void {
    let looked = 0;
    for (const entry of readdirSync(this.home.path, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name);
      const content = readFileSync(path);
      looked += 1;
      for (const secret of secrets) {
        assert.ok(secret.length > 10);
        assert.ok(!content.includes(secret), `${path} holds a secret`);
      }
    }
    assert.ok(looked > 2);
  }

  /** The keyring holds the entries that the file names, and no others of this package. */
  assertTidy(): void {
    const { secretsId } = this.stored;
    assert.deepEqual(this.keyring.accounts(), secretsId === undefined ? [] : [secretsId]);
    // A login that was killed leaves the file of what it had shown, which is free.
    const left = this.files.filter((file) => file !== ".default.json.login.lock");
    assert.deepEqual(left, ["default.json", "default.json.lock"]);
  }
}
