/**
 * Logins that change between files and a store that several machines share: real Redis, real kills, a rotating server.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { redisStore } from "../dist/stores/redis.js";
import {
  type AuthConfig,
  getValidAccessToken,
  importToken,
  logout,
  moveLogin,
  profileOrder,
  status,
} from "../index.js";
import manifest from "../package.json" with { type: "json" };
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { Redis } from "./support/engine.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, configFor, grantedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const skip = Redis.unavailable;

async function setUp(t: Lifetime) {
  const [redis, server] = await Promise.all([Redis.start(t), AuthorizationServer.start(t)]);
  const home = TempHome.create(t);
  // A lock outlives its killed holder for no longer than this.
  const told = { ...redis.told, options: { ...redis.told.options, lockMs: 600 } };
  const store = redisStore(told.options);
  t.after(() => store.end());
  const inFile = configFor(server, home.stateDir);
  const inStore: AuthConfig = { ...inFile, store };
  const states = async () => [(await status(inFile)).state, (await status(inStore)).state];
  const refused = async () =>
    (await server.requests({ grant: "refresh_token" })).filter(({ status }) => status !== 200).length;
  return { redis, told, server, home, store, inFile, inStore, states, refused };
}

test("into the store and back: the same tokens, one living login, and it can be refreshed", { skip }, async (t) => {
  const { server, inFile, inStore, states, refused } = await setUp(t);
  await grantedLogin(inFile);
  const token = await getValidAccessToken(inFile);
  const moved = await moveLogin(inStore, "store");
  assert.deepEqual([moved.state, moved.path, moved.refreshable], ["valid", "memory/default", true]);
  assert.deepEqual(await states(), ["logged_out", "valid"]);
  await rejection(getValidAccessToken(inFile), "LOGIN_REQUIRED");
  assert.equal(await getValidAccessToken(inStore), token);
  const renewed = await getValidAccessToken(inStore, { rejectedToken: token });
  assert.notEqual(renewed, token);

  assert.equal((await moveLogin(inStore, "file")).state, "valid");
  assert.deepEqual(await states(), ["valid", "logged_out"]);
  assert.equal(await getValidAccessToken(inFile), renewed);
  assert.notEqual(await getValidAccessToken(inFile, { rejectedToken: renewed }), renewed);
  assert.equal((await server.requests({ endpoint: "revocation" })).length, 0, "nothing is revoked");
  assert.equal(await refused(), 0);
  assert.equal((await moveLogin(inStore, "file")).state, "valid", "there is nothing to move");
});

test("a registered client goes with its login", { skip }, async (t) => {
  const { inFile, inStore, refused } = await setUp(t);
  const { clientId: _, ...registering } = inFile;
  const { clientId: __, ...shared } = inStore;
  await approvedLogin(registering);
  const token = await getValidAccessToken(registering);
  await moveLogin(shared, "store");
  assert.notEqual(await getValidAccessToken(shared, { rejectedToken: token }), token);
  assert.equal(await refused(), 0);
});

test("two logins are not mixed, and without a store there is nothing to move to", { skip }, async (t) => {
  const { inFile, inStore, states } = await setUp(t);
  await grantedLogin(inFile);
  await importToken(inStore, { access: "another" });
  const error = await rejection(moveLogin(inStore, "store"), "INVALID_CONFIG");
  assert.match(error.message, /in the file and another in the store.*Nothing was changed/);
  assert.deepEqual(await states(), ["valid", "valid"]);
  await logout(inStore);
  assert.equal((await moveLogin(inStore, "store")).state, "valid");
  await rejection(moveLogin(inFile, "store"), "INVALID_CONFIG");
  await rejection(moveLogin(inStore, "there" as "file"), "INVALID_CONFIG");
});

test("the store is down: nothing is changed", { skip }, async (t) => {
  const { redis, inFile, inStore } = await setUp(t);
  await grantedLogin(inFile);
  await redis.stop();
  await rejection(moveLogin(inStore, "store"), "STORE_IO");
  assert.equal((await status(inFile)).state, "valid");
});

for (const to of ["store", "file"] as const) {
  test(`killed at any step on the way into the ${to}: never two that live, and the next try goes on`, {
    skip,
    timeout: 240_000,
  }, async (t) => {
    const { told, home, inFile, inStore, states, refused } = await setUp(t);
    const { store: _, ...config } = inStore;
    const run = (more: object) =>
      Child.start(t, "move-login.mjs", {
        env: home.env(),
        args: [JSON.stringify({ config, store: told, to, ...more })],
      });
    const [source, target] = to === "store" ? [inFile, inStore] : [inStore, inFile];
    await grantedLogin(inFile);
    if (to === "file") await moveLogin(inStore, "store");
    let token = await getValidAccessToken(source);
    const counted = run({});
    const { writes } = (await counted.event("moved")) as unknown as { writes: number };
    await moveLogin(inStore, to === "store" ? "file" : "store");
    assert.ok(writes >= 2, `${writes} writes`);
    for (let at = 1; at <= writes; at += 1) {
      for (const when of ["before", "after"]) {
        const what = `killed ${when} write ${at}`;
        const victim = run({ at, when });
        assert.equal((await victim.exit).signal, "SIGKILL", victim.stderr);
        const living = (await states()).filter((state) => state === "valid").length;
        assert.ok(living <= 1, `${what}: ${living} live`);
        const again = run({});
        assert.equal((await again.event("moved")).state, "valid", what);
        assert.deepEqual(await states(), to === "store" ? ["logged_out", "valid"] : ["valid", "logged_out"], what);
        assert.equal(await getValidAccessToken(target), token, what);
        token = await getValidAccessToken(target, { rejectedToken: token });
        await moveLogin(inStore, to === "store" ? "file" : "store");
      }
    }
    assert.equal(await refused(), 0, "no refresh token was sent twice");
  });
}

test("it is moved to and fro while both sides want to refresh: no refresh token is spent twice", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const { redis, home, inFile, inStore, refused, server } = await setUp(t);
  await grantedLogin(inFile);
  const { store: _, ...told } = inStore;
  const [file, store] = await Promise.all([
    PluginProcess.start(t, { env: home.env() }),
    PluginProcess.start(t, { env: home.env({ PLUGIN_AUTH_STORE: JSON.stringify(redis.told) }) }),
  ]);
  let isOver = false;
  const refreshing = [file, store].map(async (plugin) => {
    let token = "none";
    while (!isOver) {
      token = await plugin.accessToken(told, { rejectedToken: token }).catch(({ code }) => {
        assert.match(code, /^(?:LOGIN_REQUIRED|STORE_LOCKED)$/);
        return "none";
      });
    }
  });
  for (let turn = 0; turn < 10; turn += 1) {
    const { state } = await moveLogin(inStore, turn % 2 === 0 ? "store" : "file");
    assert.equal(state, "valid", `turn ${turn}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  isOver = true;
  await Promise.all(refreshing);
  assert.equal(await refused(), 0);
  assert.ok((await server.requests({ grant: "refresh_token" })).length > 0);
  assert.ok(await getValidAccessToken(inFile));
});

test("npx clawdbot-plugin-auth move: all accounts and their order, without a host", { skip }, async (t) => {
  const { redis, home, inFile, inStore } = await setUp(t);
  const script = fileURLToPath(new URL(`../${manifest.bin["clawdbot-plugin-auth"]}`, import.meta.url));
  const move = async (...args: string[]) => {
    const env = home.env({ REDIS_URL: String(redis.told.options.url) });
    const child = Child.start(t, script, { env, args: ["move", "memory", ...args] });
    const { code } = await child.exit;
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  for (const profile of ["work", "home"]) await importToken({ ...inFile, profile }, { access: profile });
  await profileOrder(inFile, ["work", "home"]);
  assert.deepEqual(await move("--to", "redis"), {
    code: 0,
    stdout: "home  logged in  memory/home\nwork  logged in  memory/work\n",
    stderr: "",
  });
  assert.deepEqual([await profileOrder(inFile), await profileOrder(inStore)], [null, ["work", "home"]]);
  assert.equal(await getValidAccessToken(inStore), "work");
  const back = await move("--from", "redis", "--account", "home");
  assert.match(back.stdout, /^home {2}logged in {2}.*home\.json\n$/);
  assert.equal(await getValidAccessToken({ ...inFile, profile: "home" }), "home");
  const misused = await move();
  assert.equal(misused.code, 3);
  assert.match(misused.stderr, /Name the store by --to or --from\nUsage:/);
});
