/** Logins in real engines (PostgreSQL, Redis, etcd), through the stores of the package: several hosts, one login. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { type PluginApi, pluginAuth } from "../../dist/index.js";
import { postgresStatement, postgresStore } from "../../dist/stores/postgres.js";
import { redisStore } from "../../dist/stores/redis.js";
import { fakeHost, startAuthorizationServer } from "../../dist/testing/index.js";
import {
  type AuthConfig,
  doctor,
  getValidAccessToken,
  importToken,
  listProfiles,
  logout,
  status,
} from "../../index.js";
import { held } from "../../stores/lock-renewal.ts";
import { AuthorizationServer } from "../support/authorization-server.ts";
import { type Engine, type Etcd, PgBouncer, Redis } from "../support/engine.ts";
import { type EngineName, engines } from "../support/engines.ts";
import { GraceWindow } from "../support/grace-window.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { approvedLogin, configFor } from "../support/login.ts";
import { PluginProcess } from "../support/plugin-process.ts";
import { PostgreSql } from "../support/postgresql.ts";
import { rejection } from "../support/rejection.ts";
import { Relay } from "../support/relay.ts";
import { storeOf } from "../support/shared-stores.ts";
import { TempHome } from "../support/temp-home.ts";

const names = Object.keys(engines) as EngineName[];
const place = "memory/default";

interface Kept {
  access: string;
  refresh: string;
  expires: number;
  refreshedAt: number;
}

class SharedLogin {
  readonly engine: Engine;
  readonly server: AuthorizationServer;
  readonly config: AuthConfig;
  readonly store: ReturnType<typeof storeOf>;
  readonly #lifetime: Lifetime;
  /** Two hosts have nothing in common but the database. */
  readonly #hosts: TempHome[];

  static async create(t: Lifetime, name: EngineName, grace?: (server: AuthorizationServer) => Promise<GraceWindow>) {
    const [engine, server] = await Promise.all([engines[name].start(t), AuthorizationServer.start(t)]);
    const hosts = [TempHome.create(t), TempHome.create(t)];
    const store = storeOf(engine.told);
    t.after(() => store.end());
    const window = await grace?.(server);
    const endpoint = window === undefined ? {} : { tokenEndpoint: window.endpoint };
    const config = configFor(server, hosts[0]?.stateDir ?? "", { store, ...endpoint });
    await approvedLogin(config);
    return { login: new SharedLogin(t, engine, server, config, store, hosts), window };
  }

  private constructor(
    lifetime: Lifetime,
    engine: Engine,
    server: AuthorizationServer,
    config: AuthConfig,
    store: ReturnType<typeof storeOf>,
    hosts: TempHome[],
  ) {
    this.#lifetime = lifetime;
    this.engine = engine;
    this.server = server;
    this.config = config;
    this.store = store;
    this.#hosts = hosts;
  }

  /** A process on one of the hosts. */
  plugin(nth: number): Promise<PluginProcess> {
    const env = this.#hosts[nth % 2]?.env({ PLUGIN_AUTH_STORE: JSON.stringify(this.engine.told) }) ?? {};
    return PluginProcess.start(this.#lifetime, { env });
  }

  /** The config as a process gets it: with a store of its own. */
  get told(): AuthConfig {
    const { store: _, stateDir: __, ...told } = this.config;
    return told;
  }

  async kept(): Promise<Kept> {
    return JSON.parse((await this.store.read(place))?.value ?? "null");
  }

  async expire(): Promise<void> {
    const kept = await this.store.read(place);
    const value = { ...(await this.kept()), expires: Date.now() - 1, refreshedAt: Date.now() - 3_600_000 };
    assert.ok(await this.store.write(place, JSON.stringify(value), kept?.version));
    // An earlier read is trusted for a second.
    await new Promise((resolve) => setTimeout(resolve, 1_050));
  }
}

// Each test has an engine of its own, and mostly waits for it.
describe("logins in real engines", { concurrency: 2 }, () => {
  for (const name of names) {
    const skip = engines[name].unavailable;

    test(`${name}: 16 processes on two hosts, killed at random: one refresh each time, and nothing is lost`, {
      skip,
      timeout: 240_000,
    }, async (t) => {
      const { login, window } = await SharedLogin.create(t, name, graceWindow(t));
      assert.ok(window);
      const rounds = 3;
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

    test(`${name}: the lock of the holder ends while it refreshes: another takes over, nobody overwrites, nothing is lost`, {
      skip,
    }, async (t) => {
      const { login, window } = await SharedLogin.create(t, name, graceWindow(t));
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
      await login.engine.breakLocks();
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

    test(`${name}: down: what was read stays valid, a login says so before a person is troubled, and all goes on afterwards`, {
      skip,
    }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      const token = await getValidAccessToken(login.config);
      await login.engine.stop();
      await new Promise((resolve) => setTimeout(resolve, 1_050));
      assert.equal(await getValidAccessToken(login.config), token);
      const codes = (await login.server.requests({ endpoint: "device_authorization" })).length;
      const error = await rejection(approvedLogin(login.config), "STORE_IO");
      assert.match(error.message, /store\.(?:withLock|read).*(?:ECONNREFUSED|GRPCUnavailableError|ETIMEDOUT)/);
      assert.equal((await login.server.requests({ endpoint: "device_authorization" })).length, codes);
      await login.engine.startAgain();
      await login.expire();
      const renewed = await getValidAccessToken(login.config);
      assert.notEqual(renewed, token);
      assert.equal((await login.kept()).access, renewed);
    });

    test(`${name}: it is killed between answer and save: the token is saved once it is back`, { skip }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      await login.expire();
      const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const token = getValidAccessToken(login.config);
      await held.arrived;
      await login.engine.stop();
      await held.release();
      const renewed = await token;
      await login.engine.startAgain();
      while ((await login.kept()).access !== renewed) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    });

    test(`${name}: a login and a logout on one host are seen on the other; a registered client is known on both`, {
      skip,
    }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
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

    test(`${name}: a fresh token costs no query, and what another machine does is seen at once; without notifications within a second`, {
      skip,
    }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      let reads = 0;
      const here = storeOf(login.engine.told);
      t.after(() => here.end());
      let isLive = () => {};
      const live = new Promise<void>((resolve) => (isLive = resolve));
      const read = here.read.bind(here);
      const watch = here.watch.bind(here);
      let hear = (_key: string) => {};
      const store = Object.assign(here, {
        read(key: string) {
          reads += 1;
          return read(key);
        },
        watch: (listener: Parameters<typeof watch>[0]) =>
          watch({
            changed(key: string) {
              listener.changed(key);
              hear(key);
            },
            live(is: boolean) {
              listener.live(is);
              if (is) isLive();
            },
          }),
      });
      const config = { ...login.config, store };
      await getValidAccessToken(config);
      await live;
      const token = await getValidAccessToken(config, { rejectedToken: "another" });
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      assert.equal(await getValidAccessToken(config), token);
      const before = reads;
      await new Promise((resolve) => setTimeout(resolve, 2_100));
      for (let call = 0; call < 100; call += 1) assert.equal(await getValidAccessToken(config), token);
      assert.equal(reads, before, "nothing was reported, so nothing is asked");

      const heard = new Promise<void>((resolve) => {
        hear = (key) => key === place && resolve();
      });
      const other = await login.plugin(1);
      const renewed = await other.accessToken(login.told, { rejectedToken: token });
      await heard;
      assert.equal(await getValidAccessToken(config), renewed, "the very next call after the report");
    });

    test(`${name}: where the network swallows the reports, others' changes are seen all the same`, {
      skip,
    }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      const relay = await Relay.start(t, login.engine.port);
      const here = storeOf(login.engine.toldThrough(relay.port), { timeoutMs: 3_000 });
      t.after(() => here.end());
      const heard = liveness(here);
      const config = { ...login.config, store: here };
      const token = await getValidAccessToken(config);
      await heard.until(true);
      assert.equal(await getValidAccessToken(config), token);
      relay.swallow();
      const other = await login.plugin(1);
      const renewed = await other.accessToken(login.told, { rejectedToken: token });
      assert.notEqual(renewed, token);
      await heard.until(false);
      relay.carryAgain();
      await heard.until(true);
      assert.equal(await getValidAccessToken(config), renewed);
    });

    test(`${name}: keeps no process alive, and is not heard of after its end`, { skip }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      const plugin = await login.plugin(0);
      await plugin.accessToken(login.told);
      plugin.child.endInput();
      assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
      const store = storeOf(login.engine.told);
      const heard = liveness(store);
      const stop = await store.watch({ changed() {}, live() {} });
      await heard.until(true);
      await store.end();
      await heard.until(false);
      await stop();
    });

    test(`${name}: accounts are listed, and the doctor looks at the engine`, { skip }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      for (const profile of ["Work", "ada@acme.example"]) {
        await importToken({ ...login.config, profile }, { access: "x" });
      }
      assert.deepEqual(
        (await listProfiles(login.config)).map(({ profile }) => profile),
        ["Work", "ada@acme.example", "default"],
      );
      const { checks } = await doctor(login.config);
      assert.match(
        checks
          .filter(({ name }) => name === "store")
          .map(({ message }) => message)
          .join(),
        /answers in \d+ ms/,
      );
      await login.engine.stop();
      const down = await doctor(login.config);
      assert.equal(down.ok, false);
      assert.match(down.checks.at(-1)?.message ?? "", /^The store could not be asked \(/);
    });

    test(`${name}: versions, keys, and what begins with a prefix`, { skip }, async (t) => {
      const engine = await engines[name].start(t);
      const [one, two] = [storeOf(engine.told), storeOf(engine.told)];
      t.after(() => Promise.all([one.end(), two.end()]));
      assert.equal(await one.read("a/x"), undefined);
      const first = await one.write("a/x", "1", undefined);
      assert.ok(first);
      assert.equal(await two.write("a/x", "2", undefined), undefined, "there is one already");
      const second = await two.write("a/x", "2", first);
      assert.ok(second);
      assert.equal(await one.write("a/x", "3", first), undefined, "another was faster");
      assert.deepEqual(await one.read("a/x"), { value: "2", version: second });
      await one.write("a/y%_*[", "", undefined);
      await one.write("ab/z", "", undefined);
      await one.withLock(
        "a/x",
        async () => {
          assert.deepEqual(await two.list("a/"), ["a/x", "a/y%_*["]);
        },
        { signal: new AbortController().signal },
      );
    });

    test(`${name}: who waits for the lock gives up with its signal, and gets it once it is free`, {
      skip,
    }, async (t) => {
      const engine = await engines[name].start(t);
      const [one, two] = [storeOf(engine.told), storeOf(engine.told)];
      t.after(() => Promise.all([one.end(), two.end()]));
      const never = new AbortController().signal;
      await one.withLock(
        "a",
        async () => {
          const tired = AbortSignal.timeout(200);
          await assert.rejects(two.withLock("a", async () => assert.fail("two holders"), { signal: tired }));
          await two.withLock("b", async () => {}, { signal: never });
        },
        { signal: never },
      );
      let hasRun = false;
      await two.withLock(
        "a",
        async () => {
          hasRun = true;
        },
        { signal: never },
      );
      assert.ok(hasRun);
    });

    test(`${name}: encrypted, nobody reads a token in the engine; a key is changed with two; without it nothing is lost`, {
      skip,
    }, async (t) => {
      const engine = await engines[name].start(t);
      const [before, after] = [randomBytes(32), randomBytes(32)];
      const stores = [
        storeOf(engine.told),
        storeOf(engine.told, { encryptionKey: before }),
        storeOf(engine.told, { encryptionKey: [after, before] }),
        storeOf(engine.told, { encryptionKey: after }),
      ] as const;
      const [plain, old, both, renewed] = stores;
      t.after(() => Promise.all(stores.map((store) => store.end())));
      const was = await plain.write("a", "in plain text", undefined);
      assert.equal((await old.read("a"))?.value, "in plain text", "as it was before there was a key");
      const first = await old.write("a", "canary", was);
      const raw = await plain.read("a");
      assert.doesNotMatch(raw?.value ?? "", /canary|plain/);
      assert.deepEqual(await both.read("a"), { value: "canary", version: first });
      await assert.rejects(renewed.read("a"), { code: "ENCRYPTION_KEY_UNKNOWN" });
      await both.write("a", "canary", first);
      assert.equal((await renewed.read("a"))?.value, "canary");
      await plain.write("b", raw?.value ?? "", undefined);
      await assert.rejects(old.read("b"), { code: "ENCRYPTED_VALUE_DAMAGED" }, "moved to another place");
    });

    test(`${name}: inspected`, { skip }, async (t) => {
      const engine = await engines[name].start(t);
      const store = storeOf(engine.told);
      t.after(() => store.end());
      const [version, ...more] = await store.inspect();
      assert.equal(version?.level, "ok");
      const program = { postgres: "PostgreSQL", redis: "Redis", valkey: "Valkey", etcd: "etcd" }[name];
      assert.match(version?.message ?? "", new RegExp(`^${program} \\d+\\.\\d+.*answers in \\d+ ms`));
      // The one of these tests runs with fsync off.
      assert.deepEqual(
        more.map(({ message }) => message.split(" ").slice(0, 3).join(" ")),
        name === "postgres" ? ["fsync is off:"] : [],
      );
      await engine.stop();
      await assert.rejects(store.inspect());
    });
  }

  const refusals: [string, EngineName, (engine: Engine) => [() => Promise<unknown>, () => Promise<unknown>]][] = [
    [
      "is a replica that cannot be written",
      "redis",
      (engine) => [
        () => (engine as Redis).send("REPLICAOF 127.0.0.1 1"),
        () => (engine as Redis).send("REPLICAOF NO ONE"),
      ],
    ],
    [
      "has no memory left",
      "redis",
      (engine) => [
        () => (engine as Redis).send("CONFIG SET maxmemory 1"),
        () => (engine as Redis).send("CONFIG SET maxmemory 0"),
      ],
    ],
    [
      "has lost its table",
      "postgres",
      (engine) => [
        () => (engine as PostgreSql).query("ALTER TABLE plugin_auth RENAME TO elsewhere"),
        () => (engine as PostgreSql).query("ALTER TABLE elsewhere RENAME TO plugin_auth"),
      ],
    ],
    [
      "has used up its quota",
      "etcd",
      (engine) => [() => (engine as Etcd).alarm(true), () => (engine as Etcd).alarm(false)],
    ],
  ];

  for (const [what, name, faults] of refusals) {
    test(`${name}: it ${what}: nothing is sent and nothing is lost`, { skip: engines[name].unavailable }, async (t) => {
      const { login } = await SharedLogin.create(t, name);
      const token = await getValidAccessToken(login.config);
      const [begin, end] = faults(login.engine);
      await begin();
      await rejection(getValidAccessToken(login.config, { rejectedToken: token }), "STORE_IO");
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 0);
      const { ok } = await doctor(login.config);
      assert.equal(ok, false, "and the doctor says so");
      await end();
      const renewed = await getValidAccessToken(login.config, { rejectedToken: token });
      assert.notEqual(renewed, token);
      assert.equal((await login.kept()).access, renewed);
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    });
  }

  test("postgres: pgbouncer in transaction mode is refused, in session mode it works", {
    skip: PostgreSql.unavailable || PgBouncer.unavailable,
  }, async (t) => {
    const database = await PostgreSql.start(t);
    const never = new AbortController().signal;
    const through = async (mode: "transaction" | "session", size: number) => {
      const bouncer = await PgBouncer.start(t, database.port, mode, size);
      const store = postgresStore({ client: { ...database.connection, port: bouncer.port } });
      t.after(() => store.end());
      return store;
    };
    for (const size of [1, 5]) {
      const pooled = await through("transaction", size);
      await assert.rejects(
        pooled.withLock("a", async () => assert.fail("it has no lock"), { signal: never }),
        { code: "PGBOUNCER_TRANSACTION_MODE" },
        `${size} backends`,
      );
    }
    const store = await through("session", 10);
    let hasRun = false;
    const work = async () => {
      hasRun = true;
    };
    await store.withLock("a", work, { signal: never });
    assert.ok(hasRun);
  });

  test("postgres: a role that may not make the table says so; the statement that makes it is printed", {
    skip: PostgreSql.unavailable,
  }, async (t) => {
    const database = await PostgreSql.start(t);
    await database.query("CREATE ROLE gateway LOGIN");
    await database.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    const client = { ...database.connection, user: "gateway" };
    const store = postgresStore({ client });
    t.after(() => store.end());
    await assert.rejects(store.read(place), { code: "42501" });
    await database.query(postgresStatement());
    await database.query("GRANT SELECT, INSERT, UPDATE ON plugin_auth TO gateway");
    const given = postgresStore({ client, create: false });
    t.after(() => given.end());
    assert.ok(await given.write(place, "{}", undefined));
  });

  test("redis: a plugin with a store, as its users meet it: logged in on one machine, known on the other", {
    skip: Redis.unavailable,
  }, async (t) => {
    const [redis, server] = await Promise.all([Redis.start(t), startAuthorizationServer()]);
    const machine = () => {
      const store = redisStore(redis.told.options);
      const host = fakeHost({ pluginConfig: { issuer: server.issuer } });
      t.after(async () => {
        await host.close();
        await store.end();
      });
      host.register({ id: "memory", name: "Memory", register: (api: PluginApi) => void pluginAuth(api, { store }) });
      return host;
    };
    t.after(() => server.close());
    const [here, there] = [machine(), machine()];
    server.approve();
    assert.equal((await here.run("memory login")).exitCode, 0);
    assert.match((await there.run("memory status")).output, /logged in.*\n {2}store {4}memory\/default\n/s);
    assert.match((await there.run("memory doctor")).output, /ok {7}store {6}Redis 7\.[\d.]+, answers in \d+ ms\./);
  });

  test("redis: what throws logins away is said by the doctor of the store", { skip: Redis.unavailable }, async (t) => {
    const redis = await Redis.start(t);
    const store = redisStore(redis.told.options);
    t.after(() => store.end());
    await redis.send("CONFIG SET appendfsync everysec");
    await redis.send("CONFIG SET maxmemory-policy allkeys-lru");
    const said = (await store.inspect()).map(({ message }) => message).join("\n");
    assert.match(said, /appendfsync everysec: a crash .*lose the last refresh token/);
    assert.match(said, /allkeys-lru: the server may throw logins away/);
  });

  /** Reports whether a store receives changes. */
});

test("work that never ends keeps a lock for two minutes", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const never = new Promise<void>(() => {});
  const ended = assert.rejects(
    held(() => never, never),
    { code: "LOCK_LOST" },
  );
  t.mock.timers.tick(120_000);
  await ended;
});

test("a lock that ends by itself is renewed while it is held, and its holder hears that it can be no more", async (t) => {
  const short = { lockMs: 2_000, lockSeconds: 2 };
  const never = new AbortController().signal;
  const outlives = async (name: EngineName) => {
    const engine = await engines[name].start(t);
    const [holder, other] = [storeOf(engine.told, short), storeOf(engine.told)];
    t.after(() => Promise.all([holder.end(), other.end()]));
    const hold = async () => {
      const tired = AbortSignal.timeout(3_500);
      await assert.rejects(other.withLock("a", async () => assert.fail("two holders"), { signal: tired }));
      assert.ok(tired.aborted, name);
      engine.freeze(true);
      await new Promise(() => {});
    };
    await assert.rejects(holder.withLock("a", hold, { signal: never }), { code: "LOCK_LOST" }, name);
    engine.freeze(false);
    await other.withLock("a", async () => {}, { signal: never });
  };
  // PostgreSQL's ends with its connection.
  const found = names.filter((name) => name !== "postgres" && engines[name].unavailable === false);
  await Promise.all(found.map(outlives));
});

function liveness(store: ReturnType<typeof storeOf>) {
  let current = false;
  let changed = () => {};
  const watch = store.watch.bind(store);
  store.watch = (listener) =>
    watch({
      ...listener,
      live(isLive) {
        current = isLive;
        listener.live(isLive);
        changed();
      },
    });
  return {
    async until(wanted: boolean) {
      while (current !== wanted) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
    },
  };
}

function graceWindow(t: Lifetime) {
  return async (server: AuthorizationServer) => {
    const metadata = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const { token_endpoint } = (await metadata.json()) as { token_endpoint: string };
    return await GraceWindow.start(t, token_endpoint);
  };
}
