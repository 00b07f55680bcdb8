/** Logins in a real PostgreSQL, through the example in examples/postgres-store: several hosts, one login. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { postgresStore } from "../examples/postgres-store/postgres-store.mts";
import { type AuthConfig, getValidAccessToken, logout, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { GraceWindow } from "./support/grace-window.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, configFor } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { PostgreSql } from "./support/postgresql.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const skip = PostgreSql.unavailable;

interface Kept {
  access: string;
  refresh: string;
  expires: number;
  refreshedAt: number;
}

class SharedLogin {
  readonly database: PostgreSql;
  readonly server: AuthorizationServer;
  readonly config: AuthConfig;
  readonly #lifetime: Lifetime;
  /** Two hosts have nothing in common but the database. */
  readonly #hosts: TempHome[];

  static async create(
    t: Lifetime,
    more: Partial<AuthConfig> = {},
    grace?: (server: AuthorizationServer) => Promise<GraceWindow>,
  ) {
    const [database, server] = await Promise.all([PostgreSql.start(t), AuthorizationServer.start(t)]);
    const hosts = [TempHome.create(t), TempHome.create(t)];
    const store = await postgresStore(database.connection);
    t.after(() => store.end());
    const window = await grace?.(server);
    const endpoint = window === undefined ? {} : { tokenEndpoint: window.endpoint };
    const config = configFor(server, hosts[0]?.stateDir ?? "", { store, ...endpoint, ...more });
    await approvedLogin(config);
    return { login: new SharedLogin(t, database, server, config, hosts), window };
  }

  private constructor(
    lifetime: Lifetime,
    database: PostgreSql,
    server: AuthorizationServer,
    config: AuthConfig,
    hosts: TempHome[],
  ) {
    this.#lifetime = lifetime;
    this.database = database;
    this.server = server;
    this.config = config;
    this.#hosts = hosts;
  }

  /** A process on one of the hosts. */
  plugin(nth: number): Promise<PluginProcess> {
    const env = this.#hosts[nth % 2]?.env({ PLUGIN_AUTH_DATABASE: JSON.stringify(this.database.connection) }) ?? {};
    return PluginProcess.start(this.#lifetime, { env, nodeOptions: ["--import", "tsx"] });
  }

  /** The config as a process is told it: its store is its own. */
  get told(): AuthConfig {
    const { store: _, stateDir: __, ...told } = this.config;
    return told;
  }

  async kept(): Promise<Kept> {
    const [row] = await this.database.query<{ value: string }>(
      "SELECT value FROM plugin_auth WHERE key = 'memory/default'",
    );
    return JSON.parse(row?.value ?? "null");
  }

  async expire(): Promise<void> {
    const value = { ...(await this.kept()), expires: Date.now() - 1, refreshedAt: Date.now() - 3_600_000 };
    await this.database.query("UPDATE plugin_auth SET value = $1, version = version + 1 WHERE key = 'memory/default'", [
      JSON.stringify(value),
    ]);
    // What was read before is believed for a second.
    await new Promise((resolve) => setTimeout(resolve, 1_050));
  }
}

test("16 processes on two hosts, killed at random: one refresh each time, and nothing is lost", {
  skip,
  timeout: 240_000,
}, async (t) => {
  const { login, window } = await SharedLogin.create(t, {}, graceWindow(t));
  assert.ok(window);
  const rounds = 8;
  const processes = await Promise.all(Array.from({ length: 16 }, (_, nth) => login.plugin(nth)));
  let killed = 0;
  for (let round = 1; round <= rounds; round += 1) {
    await login.expire();
    const { refresh: due } = await login.kept();
    const calls = processes.map((plugin) => plugin.accessToken(login.told).catch(() => undefined));
    const victims = processes.map((_, nth) => nth).filter(() => Math.random() < 0.25);
    await Promise.all(
      victims.map(async (nth) => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
        processes[nth]?.child.signal("SIGKILL");
        await processes[nth]?.child.exit;
        killed += 1;
      }),
    );
    const survivors = (await Promise.all(calls)).filter((_, nth) => !victims.includes(nth));
    // Where all who were asked are dead, the next one does it.
    if (survivors.length === 0) survivors.push(await getValidAccessToken(login.config));
    const now = await login.kept();
    assert.deepEqual(new Set(survivors), new Set([now.access]), `round ${round}`);
    assert.notEqual(now.refresh, due);
    assert.equal(window.distinct, round, "a refresh for each time that it was due");
    await Promise.all(
      victims.map(async (nth) => {
        processes[nth] = await login.plugin(nth);
      }),
    );
  }
  t.diagnostic(`${killed} kills, ${window.spent.length - window.distinct} answers that died with their process`);
  assert.ok(window.spent.length - window.distinct <= killed, "asked again only for one that was killed");
  assert.equal(
    (await login.server.requests({ grant: "refresh_token" })).filter(({ status }) => status !== 200).length,
    0,
  );
});

test("the connection of the holder is cut while it refreshes: another takes over, nobody overwrites, nothing is lost", {
  skip,
}, async (t) => {
  const { login, window } = await SharedLogin.create(t, {}, graceWindow(t));
  assert.ok(window);
  const [first, second] = await Promise.all([login.plugin(0), login.plugin(1)]);
  await login.expire();
  let letGo = () => {};
  let arrived = () => {};
  const isSent = new Promise<void>((resolve) => (arrived = resolve));
  window.beforeAnswer = () => {
    window.beforeAnswer = async () => {};
    arrived();
    return new Promise((resolve) => (letGo = resolve));
  };
  const one = first.accessToken(login.told);
  await isSent;
  await login.database.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
  const two = await second.accessToken(login.told);
  const kept = await login.kept();
  assert.equal(kept.access, two);
  letGo();
  assert.equal(await one, two);
  assert.deepEqual(await login.kept(), kept);
  assert.equal(window.distinct, 1);
  // The login lives: it can be refreshed again.
  await login.expire();
  assert.equal(await first.accessToken(login.told), (await login.kept()).access);
});

test("a database that is down: what was read stays valid, a login says so before a person is troubled, and all goes on afterwards", {
  skip,
}, async (t) => {
  const { login } = await SharedLogin.create(t);
  const token = await getValidAccessToken(login.config);
  await login.database.stop();
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  assert.equal(await getValidAccessToken(login.config), token);
  const codes = (await login.server.requests({ endpoint: "device_authorization" })).length;
  const error = await rejection(approvedLogin(login.config), "STORE_IO");
  assert.match(error.message, /store\.withLock.*ECONNREFUSED/);
  assert.equal((await login.server.requests({ endpoint: "device_authorization" })).length, codes);
  await login.database.startAgain();
  await login.expire();
  const renewed = await getValidAccessToken(login.config);
  assert.notEqual(renewed, token);
  assert.equal((await login.kept()).access, renewed);
});

test("it goes down between answer and save: the token is saved once it is back", { skip }, async (t) => {
  const { login } = await SharedLogin.create(t);
  await login.expire();
  const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const token = getValidAccessToken(login.config);
  await held.arrived;
  await login.database.stop();
  await held.release();
  const renewed = await token;
  await login.database.startAgain();
  while ((await login.kept()).access !== renewed) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
});

test("a login and a logout on one host are seen on the other; a registered client is known on both", {
  skip,
}, async (t) => {
  const { login } = await SharedLogin.create(t, {}, undefined);
  const { clientId: _, ...registering } = login.config;
  await approvedLogin(registering);
  const other = await login.plugin(1);
  const { clientId: __, ...told } = login.told;
  const token = await other.accessToken(told);
  assert.equal(token, (await login.kept()).access);
  assert.notEqual(await other.accessToken(told, { rejectedToken: token }), token);
  await logout(registering);
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  await assert.rejects(other.accessToken(told), { code: "LOGIN_REQUIRED" });
  assert.equal((await status(registering)).state, "logged_out");
});

function graceWindow(t: Lifetime) {
  return async (server: AuthorizationServer) => {
    const metadata = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const { token_endpoint } = (await metadata.json()) as { token_endpoint: string };
    return await GraceWindow.start(t, token_endpoint);
  };
}
