/**
 * A replica that lags becomes the primary, and an engine that loses what it kept: what is left of the login, and what
 * its user sees.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AuthConfig, doctor, getValidAccessToken, status } from "../../index.js";
import { AuthorizationServer } from "../support/authorization-server.ts";
import { type Engine, Redis } from "../support/engine.ts";
import { GraceWindow } from "../support/grace-window.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { isLive } from "../support/live-store.ts";
import { approvedLogin, configFor } from "../support/login.ts";
import { PostgreSql } from "../support/postgresql.ts";
import { rejection } from "../support/rejection.ts";
import { Relay } from "../support/relay.ts";
import { storeOf } from "../support/shared-stores.ts";
import { TempHome } from "../support/temp-home.ts";

const place = "memory/default";

/** Two engines, of which the second follows the first. */
interface Pair {
  primary: Engine;
  replica: Engine;
  promote(): Promise<void>;
  /** From now on nothing more arrives at the replica. */
  fallBehind(): Promise<void>;
  /** The primary confirms nothing that its replica does not have. */
  beSynchronous(): Promise<void>;
}

const pairs = {
  async postgres(t: Lifetime): Promise<Pair> {
    const primary = await PostgreSql.start(t);
    const relay = await Relay.start(t, primary.port);
    const replica = await PostgreSql.replicaOf(t, primary, relay.port);
    return {
      primary,
      replica,
      promote: () => replica.promote(),
      fallBehind: async () => relay.swallow(),
      async beSynchronous() {
        await primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
        await primary.query("SELECT pg_reload_conf()");
        await eventually(async () =>
          (await primary.query<{ sync_state: string }>("SELECT sync_state FROM pg_stat_replication")).some(
            ({ sync_state }) => sync_state === "sync",
          ),
        );
      },
    };
  },

  async redis(t: Lifetime): Promise<Pair> {
    const [primary, replica] = await Promise.all([Redis.start(t), Redis.start(t)]);
    const relay = await Relay.start(t, primary.port);
    await primary.send("CONFIG SET repl-diskless-sync-delay 0");
    await primary.send("CONFIG SET repl-ping-replica-period 1");
    await replica.send(`REPLICAOF 127.0.0.1 ${relay.port}`);
    let isSynchronous = false;
    return {
      primary,
      replica,
      promote: async () => void (await replica.send("REPLICAOF NO ONE")),
      async fallBehind() {
        relay.swallow();
        if (isSynchronous) {
          await eventually(async () => (await primary.send("INFO replication")).includes("min_slaves_good_slaves:0"));
        }
      },
      async beSynchronous() {
        await primary.send("CONFIG SET min-replicas-max-lag 1");
        await primary.send("CONFIG SET min-replicas-to-write 1");
        isSynchronous = true;
        await eventually(async () => (await primary.send("INFO replication")).includes("min_slaves_good_slaves:1"));
      },
    };
  },
};

/** Asks until it is so: an engine reports none of this by itself. */
async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** A login that both engines have. */
async function sharedLogin(t: Lifetime, pair: Pair, more: Partial<AuthConfig> = {}, server?: AuthorizationServer) {
  const authority = server ?? (await AuthorizationServer.start(t));
  const [before, after] = [pair.primary, pair.replica].map(({ told }) =>
    storeOf(told, { timeoutMs: 2_000, create: false }),
  );
  assert.ok(before && after);
  const made = storeOf(pair.primary.told);
  t.after(async () => {
    await Promise.all([made, before, after].map((store) => store.end()));
  });
  const config = configFor(authority, TempHome.create(t).stateDir, { ...more, store: made });
  await approvedLogin(config);
  const kept = await made.read(place);
  await eventually(async () => (await after.read(place).catch(() => undefined))?.version === kept?.version);
  return { server: authority, was: { ...config, store: before }, is: { ...config, store: after } };
}

for (const name of ["postgres", "redis"] as const) {
  const { unavailable: skip } = { postgres: PostgreSql, redis: Redis }[name];

  test(`${name}: a replica that lacks the last refresh becomes the primary: the old token goes on, then a login is needed once`, {
    skip,
  }, async (t) => {
    const pair = await pairs[name](t);
    const { was, is } = await sharedLogin(t, pair);
    const old = await getValidAccessToken(was);
    await pair.fallBehind();
    const renewed = await getValidAccessToken(was, { rejectedToken: old });
    assert.notEqual(renewed, old);
    await pair.primary.stop();
    await pair.promote();
    assert.equal(await getValidAccessToken(is), old, "the refresh is lost, the token before it may still live");
    // Its refresh token was spent at the old primary.
    await rejection(getValidAccessToken(is, { rejectedToken: old }), "LOGIN_REQUIRED");
    await approvedLogin(is);
    assert.equal((await status(is)).state, "valid");
  });

  test(`${name}: the same behind a server with a grace window: nobody notices`, { skip }, async (t) => {
    const pair = await pairs[name](t);
    const server = await AuthorizationServer.start(t);
    const window = await GraceWindow.start(t, server.endpoints.tokenEndpoint);
    const { was, is } = await sharedLogin(t, pair, { tokenEndpoint: window.endpoint }, server);
    const old = await getValidAccessToken(was);
    await pair.fallBehind();
    const renewed = await getValidAccessToken(was, { rejectedToken: old });
    await pair.primary.stop();
    await pair.promote();
    assert.equal(await getValidAccessToken(is, { rejectedToken: old }), renewed);
    assert.notEqual(await getValidAccessToken(is, { rejectedToken: renewed }), renewed);
  });

  test(`${name}: a primary that confirms nothing without its replica: nothing is sent, and nothing is lost`, {
    skip,
  }, async (t) => {
    const pair = await pairs[name](t);
    await pair.beSynchronous();
    const { server, was, is } = await sharedLogin(t, pair);
    const old = await getValidAccessToken(was);
    await pair.fallBehind();
    await rejection(getValidAccessToken(was, { rejectedToken: old }), "STORE_IO");
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
    await pair.primary.stop();
    await pair.promote();
    assert.notEqual(await getValidAccessToken(is, { rejectedToken: old }), old);
  });

  test(`${name}: all is thrown away while a login is there: its token is handed out as long as it lives, then a login helps`, {
    skip,
  }, async (t) => {
    const engine = await { postgres: PostgreSql, redis: Redis }[name].start(t);
    const server = await AuthorizationServer.start(t);
    const [running, restarted] = [storeOf(engine.told), storeOf(engine.told)];
    t.after(async () => {
      await Promise.all([running.end(), restarted.end()]);
    });
    const live = isLive(running);
    const config = configFor(server, TempHome.create(t).stateDir, { store: running });
    await approvedLogin(config);
    await live;
    const token = await getValidAccessToken(config);
    if (engine instanceof PostgreSql) await engine.query("DROP TABLE plugin_auth");
    else await (engine as Redis).send("FLUSHALL");
    assert.equal(await getValidAccessToken(config), token);
    const error = await rejection(
      getValidAccessToken(config, { rejectedToken: token }),
      name === "postgres" ? "STORE_IO" : "LOGIN_REQUIRED",
    );
    if (name === "postgres") {
      assert.match(error.message, /42P01/);
      const { checks } = await doctor(config);
      assert.ok(checks.some(({ message, fix }) => /is not there/.test(message) && fix?.startsWith("CREATE TABLE")));
    }
    // A gateway that is started makes its table.
    const again = { ...config, store: restarted };
    await rejection(getValidAccessToken(again), "LOGIN_REQUIRED");
    await approvedLogin(again);
    assert.notEqual(await getValidAccessToken(config), token, "the running one goes on with it");
  });
}
