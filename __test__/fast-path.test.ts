/** The cost of a fresh token, counted instead of timed; and another process's write is seen at the very next call. */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  type AuthConfig,
  authorizationHeaders,
  getValidAccessToken,
  importToken,
  listProfiles,
  status,
  type TokenOptions,
} from "../index.js";
import { Child } from "./support/child.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const { Content } = createRequire(import.meta.url)("../lib/content.js") as {
  Content: new (
    original: unknown,
  ) => { isOf(object: unknown): boolean; isStillOf(object: unknown): boolean; copy: unknown };
};
const issuer = "https://auth.example.com";
const calls = 1000;
/**
 * In a loop that takes longer than a second the path is looked at once more: some calls beside those that are counted.
 */
const spare = 60;
/** System calls for files. */
const ofFiles = /stat|open|read|close|access|fcntl|seek|getdents/;
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const linux = process.platform === "linux";
const traced = linux && spawnSync("strace", ["-o", "/dev/null", process.execPath, "-e", "0"]).status === 0;

/** The ways in which tools ask; of the last three each gives a value of its own. */
const forms = [
  "config",
  "signal",
  "no options",
  "another token was rejected",
  "a config for each call",
  "headers",
  "status",
  "listProfiles",
];

for (const form of forms) {
  test(`${form}: starts no thread, makes hardly an object, and a fresh token is one and the same promise`, async (t) => {
    const { home, config } = storedLogin(t);
    const args = [JSON.stringify(config), String(calls), form];
    // A large young generation, so that nothing is collected while it is counted.
    const nodeOptions = ["--expose-gc", "--min-semi-space-size=64", "--max-semi-space-size=64"];
    const child = Child.start(t, "fresh-calls.mjs", { env: home.env(), args, nodeOptions });
    const { promises, started, bytes, token } = await child.event("asked");
    assert.equal(started, 0);
    // Awaiting takes some 200 of them; a call that asks a thread, several thousand.
    const most = { "a config for each call": 1500, headers: 1500, status: 3000, listProfiles: 3000 }[form] ?? 600;
    assert.ok(Number(bytes) < most, `${bytes} bytes for each call`);
    if (["headers", "status", "listProfiles"].includes(form)) {
      assert.equal(promises, calls + 1);
    } else {
      assert.equal(token, "token-000000");
      // Once a second it is a new one.
      assert.ok(Number(promises) <= spare, `${promises} promises for ${calls} calls`);
    }
  });

  test(`${form}: costs no more system calls than it takes to look at the file, no network, no lock and no thread`, {
    skip: traced ? false : "strace cannot trace here",
  }, (t) => {
    const { home, config } = storedLogin(t);
    const listing = join(home.path, "strace.txt");
    const program = [process.execPath, fixture("fresh-calls.mjs"), JSON.stringify(config), String(calls), form];
    execFileSync("strace", ["-f", "-qq", "-o", listing, ...program], { env: home.env() });
    const { all, byMain } = systemCalls(readFileSync(listing, "utf8"));

    const looks = byMain.filter((name) => ofFiles.test(name)).length;
    // A status also looks for the order of accounts; the list, for the files that there are.
    const each = { status: 4, listProfiles: 8 }[form] ?? 1;
    assert.ok(looks >= calls, `${looks} system calls for files in ${calls} calls: the file was not looked at`);
    assert.ok(looks <= each * calls + spare, `${looks} system calls for files in ${calls} calls`);
    // A question to another thread wakes it, and its answer wakes the asker.
    const others = byMain.length - looks;
    assert.ok(others <= calls / 2, `${others} other system calls in ${calls} calls`);
    const forbidden = /^(flock|socket|connect|sendto|sendmsg|recvfrom|recvmsg|clone|clone3|fork|vfork|inotify.*)$/;
    assert.deepEqual(
      all.filter((name) => forbidden.test(name)),
      [],
    );
  });
}

test("a list of many says of each what its status says, and sees every change by others at the next call", async (t) => {
  const { home, config, path } = storedLogin(t);
  const login = JSON.parse(readFileSync(path, "utf8"));
  const file = (name: string) => join(dirname(path), `${name}.json`);
  const write = (name: string, more: object) =>
    writeFileSync(file(name), JSON.stringify({ ...login, ...more }), { mode: 0o600 });
  const names = Array.from({ length: 80 }, (_, number) => `account-${number}`);
  for (const [at, name] of names.entries()) {
    const more = [
      { scopes: ["a", "b"] },
      { expires: undefined },
      { subject: name },
      { refresh: undefined },
      {},
      {},
      {},
    ][at % 7];
    write(name, { scopes: ["a"], expires: Date.now() + 3_600_000 + at, createdAt: 1000 + at, ...more });
  }
  const wanted = { ...config, scopes: ["a", "c"] };
  const list = async () => {
    const listed = await listProfiles(wanted);
    const alone = listed.map(({ profile }) => status({ ...wanted, profile }));
    assert.deepEqual(listed, await Promise.all(alone));
    assert.deepEqual(
      listed.map((status) => JSON.stringify(status)),
      (await Promise.all(alone)).map((status) => JSON.stringify(status)),
      "the members come in the same order",
    );
    return listed;
  };
  const expected = new Set(["default", ...names]);
  const profiles = () => [...expected].sort();
  const before = await list();
  assert.deepEqual(
    before.map(({ profile }) => profile),
    profiles(),
  );
  // A list is the caller's own, down to its last member.
  for (const { scopes } of before) scopes?.push("changed");
  // From here on, the times of the folder are old enough to say that nothing has changed.
  await pause(100);
  await list();

  write("account-7", { scopes: ["written", "in", "place"] });
  assert.deepEqual((await list()).find(({ profile }) => profile === "account-7")?.scopes, ["written", "in", "place"]);
  write("another", {});
  expected.add("another");
  assert.deepEqual(
    (await list()).map(({ profile }) => profile),
    profiles(),
  );
  rmSync(file("account-9"));
  expected.delete("account-9");
  assert.deepEqual(
    (await list()).map(({ profile }) => profile),
    profiles(),
  );

  const [elsewhere, nothing] = [join(home.path, "elsewhere.json"), join(home.path, "nothing")];
  writeFileSync(elsewhere, readFileSync(path), { mode: 0o600 });
  symlinkSync(elsewhere, file("linked"));
  await pause(100);
  assert.deepEqual(
    (await list()).map(({ profile }) => profile),
    [...profiles(), "linked"],
  );
  // The folder itself shows nothing of this.
  renameSync(elsewhere, nothing);
  assert.deepEqual(
    (await list()).map(({ profile }) => profile),
    profiles(),
  );
});

describe("what costs more is counted as well", { skip: traced ? false : "strace cannot trace here" }, () => {
  const count = (names: string[], which: RegExp) => names.filter((name) => which.test(name)).length;
  const ofThreads = /^(clone|clone3|fork|vfork)$/;
  /** The system calls of a fixture between its marks. */
  const callsOf = async (home: TempHome, name: string, ...args: string[]) => {
    const listing = join(home.path, "strace.txt");
    const program = [process.execPath, fixture(name), ...args];
    await promisify(execFile)("strace", ["-f", "-qq", "-o", listing, ...program], {
      env: home.env(),
      maxBuffer: 64 * 1024 * 1024,
    });
    return systemCalls(readFileSync(listing, "utf8"));
  };

  test("an order of 20 accounts of which 19 are logged out: a look at each file, no thread", async (t) => {
    const { home, config, path } = storedLogin(t);
    const gone = Array.from({ length: 19 }, (_, number) => `gone-${number}`);
    for (const name of gone) {
      writeFileSync(join(dirname(path), `${name}.json`), '{"version":1,"loggedOutAt":1}', { mode: 0o600 });
    }
    const order = { ...config, order: [...gone, "default"] };
    const { all, byMain } = await callsOf(home, "fresh-calls.mjs", JSON.stringify(order), "100", "config");
    assert.ok(count(all, ofFiles) <= 21 * 100 + 5 * spare, `${count(all, ofFiles)} system calls for files`);
    assert.ok(byMain.length - count(byMain, ofFiles) <= 50, "no other thread was asked");
    assert.equal(count(all, ofThreads), 0);
  });

  test("a proof: a look at the file, randomness twice, no thread", async (t) => {
    const { home, config, path } = storedLogin(t);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const dpopKey = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64url");
    const login = { ...JSON.parse(readFileSync(path, "utf8")), tokenType: "DPoP", dpopKey };
    writeFileSync(path, JSON.stringify(login), { mode: 0o600 });
    const { all, byMain } = await callsOf(home, "fresh-calls.mjs", JSON.stringify(config), `${calls}`, "headers");
    assert.ok(count(byMain, ofFiles) <= calls + spare, `${count(byMain, ofFiles)} system calls for files`);
    assert.ok(count(byMain, /^getrandom$/) <= 2 * calls + spare, `${count(byMain, /^getrandom$/)} times randomness`);
    assert.equal(count(all, /^futex$/) <= calls / 2, true, "no other thread was asked");
    assert.equal(count(all, ofThreads), 0);
  });

  test("the list of 1,000 accounts: a look at each file, hardly one more, and none through the folder", async (t) => {
    const { home, config, path } = storedLogin(t);
    for (let number = 1; number < 1000; number += 1) {
      writeFileSync(join(dirname(path), `account-${number}.json`), template.replace("%", "000000"), { mode: 0o600 });
    }
    const { all } = await callsOf(home, "fresh-calls.mjs", JSON.stringify(config), "5", "a list");
    assert.ok(count(all, ofFiles) <= 6 * 1050, `${count(all, ofFiles)} system calls for files in 6 lists`);
    assert.equal(count(all, /^getdents/), 0);
    // Two of them are asked for at once.
    assert.ok(count(all, ofThreads) <= 1);
  });

  test("a refresh: one connection, two syncs, no more than forty files opened, no thread of its own", async (t) => {
    const { home, config, path } = storedLogin(t);
    const server = await StubServer.start(t, {
      routes: {
        "/token": ({ form }) => ({
          status: 200,
          body: {
            access_token: `a-${form.get("refresh_token")}`,
            refresh_token: "r",
            token_type: "Bearer",
            expires_in: 3600,
          },
        }),
      },
    });
    const tokenEndpoint = `${server.origin}/token`;
    const { issuer: _, ...rest } = config;
    const profiles = Array.from({ length: 13 }, (_, number) => `account-${number}`);
    for (const name of profiles) {
      const expired = {
        ...JSON.parse(template),
        issuer: undefined,
        tokenEndpoint,
        refresh: name,
        expires: 1,
        refreshedAt: 0,
      };
      writeFileSync(join(dirname(path), `${name}.json`), JSON.stringify(expired), { mode: 0o600 });
    }
    const { all } = await callsOf(
      home,
      "refreshes.mjs",
      JSON.stringify({ ...rest, tokenEndpoint }),
      JSON.stringify(profiles),
    );
    assert.equal(count(all, /^connect$/), 10);
    assert.equal(count(all, /^f(data)?sync$/), 20);
    assert.ok(count(all, /^open/) <= 400, `${count(all, /^open/)} files opened in 10 refreshes`);
    // The pool for disk work grows by a thread or two when work arrives faster than it is done.
    assert.ok(count(all, ofThreads) < 10, "a thread for each refresh");
  });
});

for (const [form, ask] of Object.entries<(config: AuthConfig) => Promise<string>>({
  "a config for each call": (config) => getValidAccessToken({ ...config }),
  signal: (config) => getValidAccessToken(config, { signal: new AbortController().signal }),
  headers: async (config) =>
    (await authorizationHeaders(config, { method: "GET", url: "https://api.example.com/" })).Authorization.slice(7),
})) {
  test(`${form}: another process's write is seen at the very next call`, async (t) => {
    const { home, config, path } = storedLogin(t);
    const writer = Child.start(t, "writer.mjs", { env: home.env(), args: [path, template] });
    const write = async (way: string, number = 0) => {
      const written = writer.event("written");
      writer.send({ way, number });
      await written;
    };
    for (let number = 1; number <= 40; number += 1) {
      await pause(number % 10 === 0 ? 30 : 0);
      await ask(config);
      await write(number % 2 === 0 ? "replace" : "overwrite", number);
      assert.equal(await ask(config), token(number));
    }
    await write("remove");
    await assert.rejects(ask(config), { code: "LOGIN_REQUIRED" });
  });
}

describe("a config is known by all that it says", () => {
  const types = readFileSync(fileURLToPath(new URL("../index.d.ts", import.meta.url)), "utf8");
  const declared = (name: string) => {
    const [, body = ""] = new RegExp(`\\nexport interface ${name} {\\n([\\s\\S]*?)\\n}`).exec(types) ?? [];
    return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member = ""]) => member);
  };
  const members = declared("AuthConfig");
  /** Values that all differ; some are invalid for any option. */
  const values = [
    ...[undefined, null, true, false, 0, 1, Number.NaN, "", "a", "b", "1", Symbol.for("a"), () => {}, () => {}],
    ...[[], [[]], ["a"], ["a", "b"], ["b", "a"], ["a", undefined], [1], ["1"], {}, { a: 1 }, { a: "1" }, { b: 1 }],
    ...[{ a: 1, b: 1 }, { a: undefined }, { a: { b: ["c"] } }, { a: { b: ["d"] } }, { read: () => {} }],
    ...[{ read: () => {} }, new (class Store {})(), new (class Store {})(), new Map(), new Date(0)],
  ];

  test("no two that differ in one member, of any name and value, are taken for one another", () => {
    assert.ok(members.length > 30 && members.includes("pluginId") && members.includes("lockTimeoutMs"));
    for (const name of [...members, "aLaterOption"]) {
      for (const [one, value] of values.entries()) {
        const content = new Content({ pluginId: "p", [name]: value, last: 1 });
        for (const [other, different] of values.entries()) {
          const isSame = content.isOf({ pluginId: "p", [name]: different, last: 1 });
          // A value that is invalid for any option is hardly ever remembered.
          const is = one === other && !Number.isNaN(value);
          assert.equal(isSame, is, `${name}: ${String(one)} and ${String(other)}`);
          const isStill = content.isStillOf({ pluginId: "p", [name]: different, last: 1 });
          const isPlain = !["object", "function"].includes(typeof value);
          assert.equal(isStill, is && (isPlain || isStill), `still ${name}: ${String(one)} and ${String(other)}`);
        }
        for (const one of [
          { pluginId: "p", last: 1 },
          { pluginId: "p", another: value, last: 1 },
        ]) {
          assert.equal(content.isOf(one), false);
          assert.equal(content.isStillOf(one), false);
        }
      }
    }
  });

  test("what says the same is the same, made for each call or not; what native code is given is what is remembered", () => {
    const make = () => ({
      pluginId: "p",
      scopes: ["a", "b"],
      extraParameters: { a: { b: [1] } },
      pkce: false,
      store: {},
    });
    const content = new Content(make());
    assert.equal(content.isOf(make()), true);
    assert.equal(content.isStillOf({ ...make(), store: {} }), true);
    assert.equal(JSON.stringify(content.copy), JSON.stringify(make()));
    const named = JSON.parse('{"pluginId": "p", "__proto__": {"profile": "other"}}');
    const { copy } = new Content(named);
    assert.deepEqual(
      [Object.keys(copy as object), (copy as { profile?: string }).profile],
      [Object.keys(named), undefined],
    );
    assert.equal(new Content(Object.create(null, Object.getOwnPropertyDescriptors(make()))).isOf(make()), true);
  });

  test("one that changes is noticed, in its depth, by a getter and by what it inherits too", () => {
    const changes: [object, (config: Record<string, unknown>) => void][] = [
      [{ order: ["a"] }, (config) => (config.order as string[]).push("b")],
      [{ order: ["a"] }, (config) => Object.assign(config.order as object, { 0: "b" })],
      [{ extraParameters: { a: "1" } }, (config) => Object.assign(config.extraParameters as object, { a: "2" })],
      [
        { clientMetadata: { a: [{ b: 1 }] } },
        (config) => Object.assign((config.clientMetadata as { a: object[] }).a[0] as object, { b: 2 }),
      ],
      [
        {
          extraParameters: new (class Parameters {
            a = "1";
          })(),
        },
        (config) => Object.assign(config.extraParameters as object, { a: "2" }),
      ],
      [{}, (config) => Object.assign(config, { profile: "b" })],
      [{ profile: "a" }, (config) => Reflect.deleteProperty(config, "profile")],
      [{ profile: "a" }, (config) => Object.assign(config, { profile: undefined })],
    ];
    for (const [config, change] of changes) {
      const content = new Content(config);
      assert.deepEqual([content.isOf(config), content.isStillOf(config)], [true, true]);
      change(config as Record<string, unknown>);
      assert.deepEqual([content.isOf(config), content.isStillOf(config)], [false, false], String(change));
    }
    let profile = "a";
    const config = Object.create(
      {
        get issuer() {
          return profile;
        },
      },
      { profile: { get: () => profile, enumerable: true } },
    );
    const content = new Content(config);
    assert.equal(content.isOf(config), true);
    profile = "b";
    assert.equal(content.isOf(config), false);
    assert.equal(content.isStillOf(config), false);
  });

  test("a getter that answers differently within one call gives no other config its token", async (t) => {
    const { config, path } = storedLogin(t);
    const file = (name: string) => join(dirname(path), `${name}.json`);
    const write = (name: string) =>
      writeFileSync(file(name), template.replace("token-%", `of-${name}`), { mode: 0o600 });
    for (const name of ["a", "b"]) write(name);
    await pause(30);
    let answers = ["a"];
    const changing = Object.defineProperty({ ...config }, "profile", {
      enumerable: true,
      get: () => (answers.length > 1 ? answers.shift() : answers[0]),
    });
    for (let call = 0; call < 3; call += 1) assert.equal(await getValidAccessToken(changing), "of-a");
    write("a");
    await pause(30);
    // The first looks find the config of before; the one that asks finds another account.
    for (let looks = 1; looks < 12; looks += 1) {
      answers = [...Array(looks).fill("a"), "b"];
      await getValidAccessToken(changing);
      for (const name of ["a", "b"])
        assert.equal(await getValidAccessToken({ ...config, profile: name }), `of-${name}`);
      write("a");
      await pause(30);
    }
  });

  test("a store that is remembered can be freed", () => {
    const content = new Content({ pluginId: "p", store: { read() {} } });
    globalThis.gc?.();
    assert.equal(content.isOf({ pluginId: "p", store: { read() {} } }), false);
  });

  test("after a call that was fast, an option that is wrong is refused all the same, whichever it is", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    for (const name of [...members, "aLaterOption"]) {
      await getValidAccessToken(config);
      await getValidAccessToken({ ...config });
      await assert.rejects(
        getValidAccessToken({ ...config, [name]: Symbol("none") }),
        { code: "INVALID_CONFIG" },
        name,
      );
    }
    const changed: Record<string, unknown> = { ...config };
    await getValidAccessToken(changed as unknown as AuthConfig);
    changed.aLaterOption = 1;
    await assert.rejects(getValidAccessToken(changed as unknown as AuthConfig), { code: "INVALID_CONFIG" });
    const throws = {
      ...config,
      get issuer(): string {
        throw new RangeError("mine");
      },
    };
    const asked = getValidAccessToken(throws);
    await assert.rejects(asked);
  });

  test("a config that hides a store or its storage from being listed is not taken for one without", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    await getValidAccessToken(config);
    const store = {
      read: async () => undefined,
      write: async () => undefined,
      withLock: async (_: string, work: () => Promise<void>) => work(),
    };
    const hidden = Object.defineProperty({ ...config }, "store", { value: store });
    await assert.rejects(getValidAccessToken(hidden), { code: "LOGIN_REQUIRED" });
  });
});

test("more logins than are remembered, some of which end: the others stay fast", async (t) => {
  const logins = Array.from({ length: 40 }, () => storedLogin(t));
  await pause(30);
  for (const { config } of logins) {
    await getValidAccessToken(config);
  }
  for (const { config, path } of logins.filter((_, number) => number % 3 === 0)) {
    rmSync(path);
    await assert.rejects(getValidAccessToken(config), { code: "LOGIN_REQUIRED" });
  }
  for (const { config } of logins.filter((_, number) => number % 3 !== 0)) {
    for (const form of [config, { ...config }, config]) {
      const first = getValidAccessToken(form);
      assert.equal(await first, token(0));
      assert.equal(getValidAccessToken(form), first);
    }
  }
});

describe("options beside a fresh token", () => {
  const options = { aLaterOption: 1, rejectedToken: 7, wasAccepted: "yes", signal: {} };

  test("are checked at every call", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    const { signal } = new AbortController();
    for (const [name, value] of Object.entries(options)) {
      assert.equal(await getValidAccessToken(config, { signal }), token(0));
      const wrong = { signal, [name]: value } as TokenOptions;
      await assert.rejects(getValidAccessToken(config, wrong), { code: "INVALID_CONFIG" }, name);
      await assert.rejects(
        authorizationHeaders(config, { method: "GET", url: "https://a.example/" }, wrong),
        { code: "INVALID_CONFIG" },
        name,
      );
    }
    await assert.rejects(getValidAccessToken(config, null as unknown as TokenOptions), { code: "INVALID_CONFIG" });
    await assert.rejects(getValidAccessToken(config, "signal" as unknown as TokenOptions), { code: "INVALID_CONFIG" });
  });

  test("a signal that has fired rejects with its reason as the cause", async (t) => {
    const { config } = storedLogin(t);
    const controller = new AbortController();
    const { signal } = controller;
    await pause(30);
    assert.equal(await getValidAccessToken(config, { signal }), token(0));
    const reason = new Error("enough");
    controller.abort(reason);
    for (const asked of [
      getValidAccessToken(config, { signal }),
      authorizationHeaders(config, { method: "GET", url: "https://a.example/" }, { signal }),
    ]) {
      await assert.rejects(
        asked,
        (error: Error & { code?: string }) => error.code === "ABORTED" && error.cause === reason,
      );
    }
  });

  test("a signal that has not fired gets no listener", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    await getValidAccessToken(config);
    const { signal } = new AbortController();
    let listeners = 0;
    signal.addEventListener = () => {
      listeners += 1;
    };
    for (let call = 0; call < 10; call += 1) {
      assert.equal(await getValidAccessToken(config, { signal }), token(0));
    }
    assert.equal(listeners, 0);
  });

  test("the stored token as the rejected one is refreshed, another is not", async (t) => {
    const stub = await StubServer.start(t, {
      routes: { "/token": { status: 200, body: { access_token: "renewed", token_type: "Bearer", expires_in: 3600 } } },
    });
    const home = TempHome.create(t);
    const config = { pluginId: "p", tokenEndpoint: `${stub.origin}/token`, clientId: "c", stateDir: home.stateDir };
    await importToken(config, { access: "stored", refresh: "r", expires: Date.now() + 3_600_000 });
    await pause(30);
    for (let call = 0; call < 3; call += 1) {
      assert.equal(await getValidAccessToken(config, { rejectedToken: "another" }), "stored");
    }
    assert.equal(await getValidAccessToken(config, { rejectedToken: "stored" }), "renewed");
    assert.equal(await getValidAccessToken(config, { rejectedToken: "stored" }), "renewed");
  });
});

describe("headers of a request", () => {
  test("each call has an object of its own, which its caller may change", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    const request = { method: "GET", url: "https://api.example.com/notes" };
    await authorizationHeaders(config, request);
    const first = await authorizationHeaders(config, request);
    first.Authorization = "changed";
    assert.deepEqual(await authorizationHeaders(config, request), { Authorization: `Bearer ${token(0)}` });
  });

  test("with a proof, each is of the right login, by any config, in any turn", async (t) => {
    const logins = [1, 2, 3].map((number) => {
      const login = storedLogin(t);
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const key = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64url");
      const bound = { ...JSON.parse(template), access: token(number), tokenType: "DPoP", dpopKey: key };
      writeFileSync(login.path, JSON.stringify(bound));
      return { ...login, number, signs: privateKey.export({ format: "jwk" }) };
    });
    await pause(30);
    const request = { method: "GET", url: "https://api.example.com/notes" };
    const check = async ({ number, signs }: (typeof logins)[number], config: AuthConfig) => {
      const { Authorization, DPoP = "" } = await authorizationHeaders(config, request);
      assert.equal(Authorization, `DPoP ${token(number)}`);
      const [header = "", claims = ""] = DPoP.split(".").map((part) => Buffer.from(part, "base64url").toString());
      assert.equal(JSON.parse(header).jwk.x, signs.x);
      assert.equal(JSON.parse(claims).ath, createHash("sha256").update(token(number)).digest("base64url"));
    };
    for (let round = 0; round < 4; round += 1) {
      for (const login of logins) {
        await check(login, login.config);
        await check(login, { ...login.config });
      }
      await Promise.all(logins.map((login) => check(login, login.config)));
      await Promise.all(logins.map((login) => check(login, { ...login.config, lockTimeoutMs: 1000 + round })));
    }
    // Another login takes the place of the first.
    const [one, two] = logins as [(typeof logins)[number], (typeof logins)[number]];
    writeFileSync(one.path, readFileSync(two.path));
    await check(two, one.config);
  });

  test("what is wrong with a request is said after one that was right as before", async (t) => {
    const { config } = storedLogin(t);
    await pause(30);
    const right = { method: "GET", url: "https://api.example.com/notes" };
    const wrong: [object, string][] = [
      [{ ...right, aLaterMember: 1 }, "an unknown member"],
      [{ ...right, method: "G T" }, "no method"],
      [{ ...right, method: "https://api.example.com" }, "a host for a method"],
      [{ ...right, url: "GET" }, "a method for a URL"],
      [{ ...right, nonce: 1 }, "no nonce"],
      [{ ...right, url: "http://api.example.com/notes" }, "not encrypted"],
      [{ ...right, url: "https://api.example.com:0/notes" }, "the port 0"],
      [{ ...right, url: "https://user:password@api.example.com/notes" }, "a password"],
      [{ ...right, url: "https:///user:password@api.example.com/notes" }, "a password after three slashes"],
      [{ ...right, url: "https://\\\\/user:password@api.example.com/notes" }, "a password after backslashes"],
      [{ ...right, url: "https://api.example.com@evil.example/notes" }, "a name"],
      [{ ...right, url: `https://api.example.com/${"a".repeat(2100)}` }, "too long"],
      [{ ...right, url: `https://api.example.com/${"ü".repeat(700)}` }, "too long once it is encoded"],
      [{ method: "GET" }, "no URL"],
    ];
    for (const [request, why] of wrong) {
      for (let call = 0; call < 2; call += 1) await authorizationHeaders(config, right);
      await assert.rejects(authorizationHeaders(config, request as typeof right), { code: "INVALID_CONFIG" }, why);
    }
    for (const url of [
      "https://api.example.com",
      "https://api.example.com?q=ü",
      "https://api.example.com/a b#c",
      "http://127.0.0.1:1/",
    ]) {
      for (let call = 0; call < 2; call += 1) {
        assert.equal((await authorizationHeaders(config, { method: "POST", url })).Authorization, `Bearer ${token(0)}`);
      }
    }
  });
});

test("10,000 writes of another process, each seen at the very next call", { timeout: 300_000 }, async (t) => {
  const { home, config, path } = storedLogin(t);
  const writer = Child.start(t, "writer.mjs", { env: home.env(), args: [path, template] });
  const write = async (way: string, number = 0) => {
    const written = writer.event("written");
    writer.send({ way, number });
    await written;
  };
  let number = 0;
  for (let round = 0; round < 2000; round += 1) {
    if (round % 20 === 0) {
      // Old enough that from here on only metadata is read: it alone has to show the change.
      await pause(30);
      for (let call = 0; call < 3; call += 1) {
        await getValidAccessToken(config).catch(() => {});
      }
    }
    for (const way of ["replace", "overwrite", "overwrite"]) {
      number += 1;
      await write(way, number);
      assert.equal(await getValidAccessToken(config), token(number), `${way} ${number}`);
    }
    // A file without a word in it is damaged; one that is gone is a logout.
    for (const [way, code] of round % 2 === 0
      ? [
          ["truncate", "STORE_CORRUPT"],
          ["remove", "LOGIN_REQUIRED"],
        ]
      : [
          ["remove", "LOGIN_REQUIRED"],
          ["replace", undefined],
        ]) {
      await write(way as string, number);
      const asked = getValidAccessToken(config);
      if (code === undefined) {
        assert.equal(await asked, token(number));
      } else {
        await assert.rejects(asked, { code }, `${way} after ${number}`);
      }
    }
  }
});

test("while another process writes as fast as it can, no call gives a token from before a write that had returned", {
  timeout: 300_000,
}, async (t) => {
  const { home, config, path } = storedLogin(t);
  const progress = join(home.path, "progress");
  writeFileSync(progress, "000000");
  const said = openSync(progress, "r");
  t.after(() => closeSync(said));
  const buffer = Buffer.alloc(6);
  const written = () => {
    const length = readSync(said, buffer, 0, 6, 0);
    return length === 6 ? Number(buffer.toString()) : 0;
  };
  // `npm run test:long` takes 10,000.
  const count = Number(process.env.PLUGIN_AUTH_WRITES ?? 2_000);
  const args = [path, template, String(count), progress];
  const writer = Child.start(t, "writer.mjs", { env: home.env(), args });
  let asked = 0;
  for (let before = 0; before < count; before = written()) {
    const got = Number((await getValidAccessToken(config)).slice("token-".length));
    assert.ok(got >= before, `${got} was handed out after write ${before} had returned`);
    asked += 1;
    if (asked % 1000 === 0) {
      // Lets the test learn of a writer that failed.
      await Promise.race([pause(0), writer.exit]);
    }
  }
  assert.deepEqual(await writer.exit, { code: 0, signal: null });
  assert.equal(await getValidAccessToken(config), token(count));
});

const template = JSON.stringify({
  version: 1,
  access: "token-%",
  refresh: "refresh",
  expires: Date.now() + 3_600_000,
  createdAt: Date.now(),
  refreshedAt: Date.now(),
  tokenType: "Bearer",
  issuer,
  tokenEndpoint: `${issuer}/token`,
  clientId: "client",
});

function token(number: number): string {
  return `token-${String(number).padStart(6, "0")}`;
}

function storedLogin(t: TestContext): { home: TempHome; config: AuthConfig; path: string } {
  const home = TempHome.create(t);
  const path = home.credentialPath("demo");
  mkdirSync(dirname(path), { recursive: true });
  chmodSync(dirname(path), 0o700);
  writeFileSync(path, template.replace("%", "000000"), { mode: 0o600 });
  const config = { pluginId: "demo", issuer, clientId: "client", stateDir: home.stateDir };
  return { home, config, path };
}

/** The names of the system calls between the fixture's two marks: of all threads, and of the one that set them. */
function systemCalls(listing: string): { all: string[]; byMain: string[] } {
  const lines = listing.split("\n");
  const mark = (name: string) => lines.findIndex((line) => line.includes(`/fresh-calls-${name}`));
  const [begin, end] = [mark("begin"), mark("end")];
  assert.ok(begin !== -1 && end > begin, "the marks are in the listing");
  const main = lines[begin]?.split(" ")[0];
  const between = lines.slice(begin + 1, end).flatMap((line) => {
    const [, thread, name] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    return thread === undefined || name === undefined ? [] : [{ thread, name }];
  });
  return {
    all: between.map(({ name }) => name),
    byMain: between.filter(({ thread }) => thread === main).map(({ name }) => name),
  };
}
