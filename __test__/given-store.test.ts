/** Logins in a store that the plugin gives (`store`): its correct behaviour, and every mistake that it can make. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  type AuthConfig,
  authorizationHeaders,
  doctor,
  getValidAccessToken,
  importToken,
  listProfiles,
  logout,
  profileOrder,
  status,
} from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, configFor } from "./support/login.ts";
import { MapStore } from "./support/map-store.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

async function loggedIn(t: Lifetime, more: Partial<AuthConfig> = {}) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const store = new MapStore();
  const config = configFor(server, home.stateDir, { store, ...more });
  const { status } = await approvedLogin(config);
  /** Like another machine with an expired token, or this one an hour later. */
  const expire = () => {
    const members = store.json();
    store.put({ ...members, expires: Date.now() - 1, refreshedAt: Date.now() - 3_600_000 });
  };
  return { server, home, store, config, status, expire };
}

/** A value that was read is trusted for a second. */
const aSecond = () => new Promise((resolve) => setTimeout(resolve, 1_050));

/** Reads like a process that has read nothing yet: the same store is given as another object. */
function readAnew(config: AuthConfig, store: MapStore) {
  config.store = {
    read: (key) => store.read(key),
    write: (key, value, expected) => store.write(key, value, expected),
    withLock: (key, work, options) => store.withLock(key, work, options),
  };
}

describe("a whole life", { concurrency: 4 }, () => {
  test("login, token, refresh, logout; and no file anywhere", async (t) => {
    const { server, home, store, config, status: first, expire } = await loggedIn(t);
    assert.equal(first.state, "valid");
    assert.equal(first.path, "memory/default");
    const { access, refresh } = store.json();
    assert.equal(await getValidAccessToken(config), access);
    expire();
    readAnew(config, store);
    const renewed = await getValidAccessToken(config);
    assert.notEqual(renewed, access);
    assert.equal(store.json().access, renewed);
    assert.notEqual(store.json().refresh, refresh);
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
    assert.deepEqual(await logout(config), { revoked: true, removed: true });
    assert.deepEqual(Object.keys(store.json()), ["version", "loggedOutAt"]);
    await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.equal(existsSync(home.stateDir), false);
    assert.deepEqual(readdirSync(home.path), ["tmp"]);
  });

  test("a fresh token costs one read a second, however many ask", async (t) => {
    const { store, config } = await loggedIn(t);
    const before = store.count("read");
    const started = performance.now();
    await Promise.all(Array.from({ length: 500 }, () => getValidAccessToken(config)));
    const seconds = Math.floor((performance.now() - started) / 1000);
    const reads = store.count("read") - before;
    assert.ok(reads <= 2 + seconds, `${reads} in ${seconds} s`);
  });

  test("what another machine stores is seen within a second", async (t) => {
    const { store, config } = await loggedIn(t);
    await getValidAccessToken(config);
    store.put({ ...store.json(), access: "theirs" });
    await aSecond();
    assert.equal(await getValidAccessToken(config), "theirs");
    store.put({ version: 1, loggedOutAt: 1 });
    await aSecond();
    await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.equal((await status(config)).state, "logged_out");
  });

  test("what was refreshed while we waited for the lock is used", async (t) => {
    const { server, store, config, expire } = await loggedIn(t);
    expire();
    readAnew(config, store);
    let letGo = () => {};
    const other = store.withLock("memory/default", () => new Promise((resolve) => (letGo = resolve)), {
      signal: new AbortController().signal,
    });
    const token = getValidAccessToken(config);
    await until(() => store.count("withLock") >= 2);
    store.put({ ...store.json(), access: "theirs", expires: Date.now() + 3_600_000, refreshedAt: Date.now() });
    letGo();
    await other;
    assert.equal(await token, "theirs");
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
  });

  test("a registered client is kept there too, for the other machines", async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    const store = new MapStore();
    const config = configFor(server, home.stateDir, { store });
    delete config.clientId;
    await approvedLogin(config);
    const keys = [...store.kept.keys()];
    assert.equal(keys.filter((key) => key.startsWith("memory/!clients/127.0.0.1-")).length, 1, `${keys}`);
    const members = store.json();
    store.put({ ...members, expires: 1, refreshedAt: 1 });
    // Another process of another machine, in this test another object.
    const other = new MapStore();
    for (const [key, kept] of store.kept) other.kept.set(key, kept);
    const token = await getValidAccessToken({ ...config, store: other });
    assert.notEqual(token, members.access);
    assert.equal(other.json().access, token);
  });

  test("accounts and their order", async (t) => {
    const { store, config } = await loggedIn(t);
    await importToken({ ...config, profile: "work" }, { access: "w" });
    assert.equal(await profileOrder(config, ["work", "default"]).then((order) => order?.join()), "work,default");
    assert.equal(await getValidAccessToken(config), "w");
    assert.deepEqual(
      (await listProfiles(config)).map(({ profile, path }) => [profile, path]),
      [
        ["work", "memory/work"],
        ["default", "memory/default"],
      ],
    );
    await logout({ ...config, profile: "work" });
    assert.equal(await getValidAccessToken(config), store.json().access);
  });

  test("bound tokens, with their key", async (t) => {
    const { store, config } = await loggedIn(t, { dpop: true, clientId: "bound" });
    assert.equal(typeof store.json().dpopKey, "string");
    const headers = await authorizationHeaders(config, { method: "GET", url: "https://api.example.com/" });
    assert.equal(headers.Authorization, `DPoP ${store.json().access}`);
    assert.equal(typeof headers.DPoP, "string");
  });

  test("the doctor asks it", async (t) => {
    const { store, config } = await loggedIn(t);
    const { ok, checks } = await doctor(config);
    assert.equal(ok, true, JSON.stringify(checks));
    assert.match(checks.find(({ name }) => name === "place")?.message ?? "", /^store decides: memory\/default/);
    store.instead.withLock = () => Promise.reject(new Error("down"));
    const lock = (await doctor(config)).checks.find(({ name }) => name === "lock");
    assert.equal(lock?.level, "error");
  });

  test("callbacks that answer at once, without a promise", async (t) => {
    const { store, config } = await loggedIn(t);
    const inner = store.kept;
    const sync = {
      read: (key: string) => inner.get(key),
      write: () => "v",
      withLock: async (_key: string, work: () => Promise<void>) => await work(),
    };
    assert.equal(await getValidAccessToken({ ...config, store: sync }), store.json().access);
  });

  test("two stores in one process do not mix", async (t) => {
    const { store, config } = await loggedIn(t);
    const other = new MapStore();
    await importToken({ ...config, store: other }, { access: "other" });
    const [one, two] = await Promise.all([
      getValidAccessToken(config),
      getValidAccessToken({ ...config, store: other }),
    ]);
    assert.deepEqual([one, two], [store.json().access, "other"]);
  });

  test("it keeps no process alive, and worker threads have their own", async (t) => {
    const { config } = await loggedIn(t);
    const worker = new Worker(
      `const { workerData, parentPort } = require("node:worker_threads");
       const { importToken, getValidAccessToken } = require(workerData.addon);
       const kept = new Map();
       const store = {
         read: async (key) => kept.get(key),
         write: async (key, value) => { const version = String(Math.random()); kept.set(key, { value, version }); return version; },
         withLock: (key, work) => work(),
       };
       const config = { ...workerData.config, store };
       importToken(config, { access: "worker" }).then(() => getValidAccessToken(config)).then((token) => parentPort.postMessage(token));`,
      {
        eval: true,
        workerData: {
          addon: fileURLToPath(new URL("../index.js", import.meta.url)),
          config: { ...config, store: undefined },
        },
      },
    );
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    assert.equal(await new Promise((resolve) => worker.once("message", resolve)), "worker");
    assert.equal(await ended, 0);
  });
});

test("a new store object for each call: said once, and what nobody can reach is freed", async (t) => {
  const home = TempHome.create(t);
  const script = `
    const { importToken, getValidAccessToken } = require(${JSON.stringify(fileURLToPath(new URL("../index.js", import.meta.url)))});
    const { shared } = require(${JSON.stringify(fileURLToPath(new URL("../lib/shared.js", import.meta.url)))});
    const warnings = [];
    process.on("warning", ({ name, message }) => warnings.push(name + ": " + message));
    const config = { pluginId: "memory", issuer: "http://127.0.0.1:9", clientId: "public", stateDir: ${JSON.stringify(home.stateDir)} };
    const storeOf = (kept) => ({
      read: async (key) => kept.get(key),
      write: async (key, value) => { const version = String(Math.random()); kept.set(key, { value, version }); return version; },
      withLock: (key, work) => work(),
    });
    const seen = [];
    const kept = new Map();
    const last = storeOf(kept);
    async function once(store, token) {
      if (token !== undefined) await importToken({ ...config, store }, { access: token });
      return getValidAccessToken({ ...config, store });
    }
    async function main() {
      await once(last, "lasts");
      // Native code holds of a store only the function that it asks through.
      const { native } = shared().images.values().next().value;
      const { giveStore } = native;
      native.giveStore = (ask) => { seen.push(new WeakRef(ask)); return giveStore(ask); };
      for (let count = 0; count < 150; count += 1) await once(storeOf(new Map()), "one");
      const living = () => seen.filter((ask) => ask.deref() !== undefined).length;
      const until = Date.now() + 30_000;
      while (living() > 1 && Date.now() < until) {
        // The value that was read is held until the turn is over.
        await new Promise((resolve) => setImmediate(resolve));
        gc();
      }
      console.log(JSON.stringify({ given: seen.length, living: living(), warnings, token: await once(last) }));
    }
    main();`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "-e", script], { env: home.env() });
  const { given, living, warnings, token } = JSON.parse(stdout);
  assert.equal(given, 150);
  assert.ok(living <= 1, `${living} of them are held`);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^AuthWarning: 100 objects were given as `store`/);
  assert.equal(token, "lasts");
});

describe("what it can do wrong", { concurrency: 4 }, () => {
  for (const [what, break_, message] of [
    [
      "read rejects",
      (store: MapStore) => (store.instead.read = () => Promise.reject(coded("ECONNREFUSED"))),
      /store\.read.*ECONNREFUSED/,
    ],
    [
      "read throws",
      (store: MapStore) =>
        (store.instead.read = () => {
          throw new TypeError("canary");
        }),
      /store\.read.*TypeError/,
    ],
    ["read gives a number", (store: MapStore) => (store.instead.read = () => 5), /store\.read.*something else/],
    [
      "read gives no version",
      (store: MapStore) => (store.instead.read = () => ({ value: "{}" })),
      /store\.read.*something else/,
    ],
    [
      "withLock rejects",
      (store: MapStore) => (store.instead.withLock = () => Promise.reject(coded("57P01"))),
      /store\.withLock.*57P01/,
    ],
    [
      "withLock ends without work",
      (store: MapStore) => (store.instead.withLock = () => Promise.resolve()),
      /store\.withLock.*something else/,
    ],
    [
      "write rejects",
      (store: MapStore) => (store.instead.write = () => Promise.reject(coded("40001"))),
      /store\.write.*40001/,
    ],
    ["write gives a number", (store: MapStore) => (store.instead.write = () => 7), /store\.write.*something else/],
    [
      "write gives the same version",
      (store: MapStore) => (store.instead.write = () => store.kept.get("memory/default")?.version),
      /store\.write.*something else/,
    ],
  ] as const) {
    test(`${what}: an error in words, nothing is spent, nothing is lost`, async (t) => {
      const { server, store, config, expire } = await loggedIn(t);
      expire();
      const before = store.json();
      readAnew(config, store);
      // The last value read is trusted while the store fails: here, that the token has expired.
      await status(config);
      break_(store);
      const error = await rejection(getValidAccessToken(config), "STORE_IO");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /canary|password/);
      await rejection(importToken(config, { access: "x" }), "STORE_IO");
      assert.deepEqual(store.json(), before);
      assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
      store.instead = {};
      assert.equal(await getValidAccessToken(config), store.json().access);
    });
  }

  test("rejects with what is no error: said as a failure, without its words", async (t) => {
    const home = TempHome.create(t);
    for (const thrown of ["canary", undefined, null, { code: {} }]) {
      const store = new MapStore();
      store.instead.read = () => Promise.reject(thrown);
      const error = await rejection(status({ pluginId: "memory", stateDir: home.stateDir, store }), "STORE_IO");
      assert.match(error.message, /`store\.read` of the plugin failed \(Error\)/);
    }
  });

  test("withLock throws at once: its signal does not fire later, for nobody waits", async (t) => {
    const home = TempHome.create(t);
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const store = new MapStore();
    let given: AbortSignal | undefined;
    store.withLock = (_key, _work, { signal }) => {
      given = signal;
      throw new TypeError("canary");
    };
    const config = { pluginId: "memory", issuer: "https://auth.example.com", stateDir: home.stateDir, store };
    const error = await rejection(importToken(config, { access: "x" }), "STORE_IO");
    assert.match(error.message, /failed \(TypeError\)/);
    t.mock.timers.tick(10_000);
    assert.equal(given?.aborted, false);
  });

  test("a valid token is handed out once it was read, even if locks and writes fail", async (t) => {
    const { store, config } = await loggedIn(t);
    store.instead = { write: () => Promise.reject(new Error()), withLock: () => Promise.reject(new Error()) };
    store.put({ ...store.json(), expires: Date.now() + 30_000, refreshedAt: Date.now() - 3_570_000 });
    readAnew(config, store);
    assert.equal(await getValidAccessToken(config), store.json().access);
  });

  test("while it fails, what it last said counts", async (t) => {
    const { store, config } = await loggedIn(t);
    const token = await getValidAccessToken(config);
    store.instead.read = () => Promise.reject(coded("ECONNREFUSED"));
    await aSecond();
    assert.equal(await getValidAccessToken(config), token);
    store.instead = {};
    store.put({ ...store.json(), access: "theirs" });
    await aSecond();
    assert.equal(await getValidAccessToken(config), "theirs");
  });

  test("a login says so before a person is troubled", async (t) => {
    const { server, store, config } = await loggedIn(t);
    const codes = (await server.requests({ endpoint: "device_authorization" })).length;
    store.instead.write = () => Promise.reject(coded("25006"));
    await rejection(approvedLogin(config), "STORE_IO");
    assert.equal((await server.requests({ endpoint: "device_authorization" })).length, codes);
  });

  test("a save that fails: the token is handed out, and saved once the store is back", async (t) => {
    const { server, store, config, expire } = await loggedIn(t);
    expire();
    readAnew(config, store);
    const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    const token = getValidAccessToken(config);
    await held.arrived;
    const old = store.json().access;
    store.instead.write = () => Promise.reject(coded("53100"));
    await held.release();
    const renewed = await token;
    assert.notEqual(renewed, old);
    assert.equal(store.json().access, old);
    assert.match((await status(config)).lastError?.message ?? "", /not saved yet/);
    store.instead = {};
    await until(() => store.json().access === renewed);
  });

  test("the word of a write is lost, but not the write: nothing is sent twice", async (t) => {
    const { server, store, config, expire } = await loggedIn(t);
    expire();
    readAnew(config, store);
    const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    const token = getValidAccessToken(config);
    await held.arrived;
    store.instead.write = async (proper) => {
      await proper();
      throw coded("ECONNRESET");
    };
    await held.release();
    assert.equal(await token, store.json().access);
    assert.equal((await status(config)).lastError, undefined);
    store.instead = {};
    assert.equal(await getValidAccessToken(config, { rejectedToken: await token }), store.json().access);
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 2);
    assert.deepEqual(await server.requests({ endpoint: "revocation" }), []);
  });

  for (const [what, createdAt, revocations] of [
    ["the same login, which revoking would end", undefined, 0],
    ["another login, so what came is revoked", 1, 1],
  ] as const) {
    test(`${what}: who lost the lock without knowing overwrites nothing`, async (t) => {
      const { server, store, config, expire } = await loggedIn(t);
      expire();
      readAnew(config, store);
      const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const token = getValidAccessToken(config);
      await held.arrived;
      const theirs = {
        ...store.json(),
        ...(createdAt !== undefined && { createdAt }),
        access: "theirs",
        refresh: "theirs",
        expires: Date.now() + 3_600_000,
        refreshedAt: Date.now(),
      };
      store.put(theirs);
      await held.release();
      assert.equal(await token, "theirs");
      assert.deepEqual(store.json(), theirs);
      const sent = async () => (await server.requests({ endpoint: "revocation" })).length;
      if (revocations > 0) await until(async () => (await sent()) === revocations);
      // A logout waits for nothing that is under way, and sends its own after it: two tokens.
      await logout(config);
      assert.equal(await sent(), revocations + 2);
    });
  }

  test("a lock that ends by itself before anything was sent: nothing is sent", async (t) => {
    const { server, store, config, expire } = await loggedIn(t);
    expire();
    readAnew(config, store);
    store.instead.withLock = (proper) => Promise.race([proper(), until(() => store.count("write") > 3)]);
    const writes = store.count("write");
    store.instead.write = async (proper) => {
      const version = await proper();
      // The connection that held the lock is gone by now.
      if (store.count("write") === writes + 1)
        for (let nth = 0; nth < 4; nth += 1) store.calls.push({ call: "write", key: "" });
      await new Promise((resolve) => setTimeout(resolve, 100));
      return version;
    };
    const error = await rejection(getValidAccessToken({ ...config, lockTimeoutMs: 2_000 }), "STORE_LOCKED");
    assert.match(error.message, /ended while it was held/);
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
  });

  test("a lock that nobody waits for any more is given back, and its signal fires", async (t) => {
    const { store, config, expire } = await loggedIn(t);
    expire();
    readAnew(config, store);
    let signal: AbortSignal | undefined;
    const proper = store.withLock;
    store.withLock = (key, work, options) => {
      signal = options.signal;
      return proper(key, work, options);
    };
    let letGo = () => {};
    const other = proper("memory/default", () => new Promise((resolve) => (letGo = resolve)), {
      signal: new AbortController().signal,
    });
    await rejection(getValidAccessToken({ ...config, lockTimeoutMs: 100 }), "STORE_LOCKED");
    await until(() => signal?.aborted === true);
    letGo();
    await other;
    store.withLock = proper;
    assert.equal(await getValidAccessToken(config), store.json().access);
  });

  test("damaged and newer values are never overwritten; a login keeps the damaged one under another key", async (t) => {
    const { store, config } = await loggedIn(t);
    for (const damaged of [
      "",
      "no json",
      "[]",
      '{"version":1,"access":5}',
      '{"version":1,"storage":"keychain","secretsId":"x"}',
    ]) {
      store.put(damaged);
      readAnew(config, store);
      await rejection(getValidAccessToken(config), "STORE_CORRUPT");
      assert.equal(store.kept.get("memory/default")?.value, damaged);
      await importToken(config, { access: "new" });
      assert.equal(store.json().access, "new");
      const aside = [...store.kept].filter(([key]) => key.startsWith("memory/default.corrupt-"));
      assert.ok(aside.some(([, { value }]) => value === damaged));
    }
    store.put('{"version":2}');
    readAnew(config, store);
    await rejection(getValidAccessToken(config), "STORE_VERSION");
    await rejection(importToken(config, { access: "new" }), "STORE_VERSION");
    assert.equal(store.kept.get("memory/default")?.value, '{"version":2}');
  });

  test("unknown members stay", async (t) => {
    const { store, config } = await loggedIn(t);
    store.put({ ...store.json(), expires: 1, refreshedAt: 1, note: { by: "a later version" } });
    readAnew(config, store);
    await getValidAccessToken(config);
    assert.deepEqual(store.json().note, { by: "a later version" });
  });
});

describe("configs that make no sense", () => {
  const store = new MapStore();
  for (const [what, config] of [
    ["no object", { store: 5 }],
    ["null", { store: null }],
    ["a function is missing", { store: { read: () => {}, write: () => {} } }],
    ["a file as well", { store, credentialsPath: "/tmp/x.json" }],
    ["a format as well", { store, credentialsFormat: "codex" }],
    ["the keychain as well", { store, storage: "keychain" }],
  ] as const) {
    test(what, async () => {
      await rejection(getValidAccessToken({ pluginId: "memory", ...config } as never), "INVALID_CONFIG");
    });
  }
});

function coded(code: string): Error {
  return Object.assign(new Error("canary: password=hunter2"), { code });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("a store that takes its time holds up nobody else", { concurrency: 2 }, () => {
  // The store's own limit is 30 s: a call that waited for it would end only then.
  const inTime = { timeout: 25_000 };

  test("another login is refreshed while a waiter for a lock reads it", inTime, async (t) => {
    const { config, waiting, reads, other, release } = await slow(t);
    const outcome = getValidAccessToken(config);
    await waiting;
    assert.equal((await status(other)).state, "valid");
    assert.notEqual(await getValidAccessToken(other), "ended");
    assert.equal(reads.pending, true);
    release();
    await outcome;
  });

  test("it may itself need a token of this package", inTime, async (t) => {
    const { config, waiting, reads, other, release } = await slow(t);
    // The login that opens its database.
    reads.meanwhile = () => getValidAccessToken(other);
    const outcome = getValidAccessToken(config);
    await waiting;
    assert.notEqual(await reads.needed, "ended");
    release();
    await outcome;
  });

  const request = { method: "GET", url: "https://api.example.com/" };
  for (const [what, call] of [
    ["a token", getValidAccessToken],
    [
      "a token of the first account that needs no login",
      (config: AuthConfig) => getValidAccessToken({ ...config, order: ["default", "work"] }),
    ],
    ["the headers of a request", (config: AuthConfig) => authorizationHeaders(config, request)],
    ["a status", status],
  ] as const) {
    test(`${what} is asked for while it is read: the thread of JavaScript does not wait`, inTime, async (t) => {
      const { config, store, other, released, release } = await ended(t);
      const reading = new Promise<void>((resolve) => {
        store.instead.read = async (proper) => {
          resolve();
          await released;
          return proper();
        };
      });
      const first = getValidAccessToken(config);
      await reading;
      const outcome = call(config);
      assert.notEqual(await getValidAccessToken(other), "ended");
      release();
      await Promise.all([first, outcome]);
    });
  }

  /** A login in a store, one in a file that has ended, and what a slow database waits for. */
  async function ended(t: Lifetime) {
    const login = await loggedIn(t);
    const other = configFor(login.server, login.home.stateDir, { profile: "other" });
    const { status: file } = await approvedLogin(other);
    const stored = JSON.parse(readFileSync(file.path, "utf8"));
    const old = { ...stored, access: "ended", expires: Date.now() - 1, refreshedAt: Date.now() - 3_600_000 };
    writeFileSync(file.path, JSON.stringify(old));
    readAnew(login.config, login.store);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    return { ...login, other, released, release };
  }

  /**
   * An expired login, with its lock held by another machine until `release`; reads of the waiting call are delayed as
   * long.
   */
  async function slow(t: Lifetime) {
    const { store, config, expire, other, released, release } = await ended(t);
    expire();
    readAnew(config, store);
    const reads = {
      pending: false,
      meanwhile: async () => "",
      needed: Promise.resolve(""),
    };
    let isTried = false;
    const waiting = new Promise<void>((resolve) => {
      store.instead.withLock = async (proper) => {
        isTried = true;
        await released;
        return proper();
      };
      store.instead.read = async (proper) => {
        if (isTried && !reads.pending) {
          reads.pending = true;
          reads.needed = reads.meanwhile();
          resolve();
          await reads.needed;
          await released;
        }
        return proper();
      };
    });
    return { config, waiting, reads, other, release };
  }
});

test("a lock that is asked for again while its failure is on the way is not kept for nobody", async (t) => {
  const { store, config, expire } = await loggedIn(t);
  expire();
  let fail: ((error: Error) => void) | undefined;
  let calls = 0;
  config.store = {
    async read(key) {
      const value = await store.read(key);
      if (fail !== undefined) {
        const failNow = fail;
        fail = undefined;
        // Native code has its value, and asks for the lock again; that arrives after the failure.
        setImmediate(() => {
          const until = performance.now() + 1_000;
          while (performance.now() < until);
          failNow(new Error("down"));
        });
      }
      return value;
    },
    write: (key, value, expected) => store.write(key, value, expected),
    async withLock(key, work, options) {
      calls += 1;
      if (calls === 1) {
        await new Promise((_resolve, reject) => {
          fail = reject;
        });
      }
      await store.withLock(key, work, options);
    },
  };
  await getValidAccessToken(config).catch(({ code }) => assert.equal(code, "STORE_IO"));
  expire();
  readAnew(config, store);
  const { access } = store.json();
  assert.notEqual(await getValidAccessToken(config), access);
});
