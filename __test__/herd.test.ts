/** Many callers need the same expired credential at once: one refresh for all of them, and no needless wait. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type AuthConfig, getValidAccessToken } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";

const refreshes = { grant: "refresh_token" } as const;
const theAddon = fileURLToPath(new URL("../index.js", import.meta.url));

test("32 processes with 10 calls each: one refresh, and all 320 get its token", async (t) => {
  const { server, home, config, credential } = await loggedIn(t);
  const before = await getValidAccessToken(config);
  const processes = await started(t, home, 32);
  credential.expire();
  const held = await server.intercept(refreshes, { hold: "after" });
  const asked = await Promise.all(processes.map((process) => tenCalls(process, config)));
  await held.arrived;
  await held.release();
  const tokens = await Promise.all(asked.flatMap(({ tokens }) => tokens));
  assert.equal(tokens.length, 320);
  assert.deepEqual([...new Set(tokens)], [credential.read().access]);
  assert.notEqual(tokens[0], before);
  assert.equal((await server.requests(refreshes)).length, 1);
});

test("processes that come while others wait and after it is over join the same refresh", async (t) => {
  const { server, home, config, credential } = await loggedIn(t);
  const [first, second, third] = await started(t, home, 3);
  credential.expire();
  const held = await server.intercept(refreshes, { hold: "after" });
  const early = await tenCalls(first, config);
  await held.arrived;
  const during = await tenCalls(second, config);
  await held.release();
  const tokens = await Promise.all([...early.tokens, ...during.tokens]);
  const late = await tenCalls(third, config);
  assert.equal(new Set([...tokens, ...(await Promise.all(late.tokens))]).size, 1);
  assert.equal((await server.requests(refreshes)).length, 1);
});

test("in the last quarter of its life a token is handed out by all, and refreshed by one", async (t) => {
  const { server, home, config, credential } = await loggedIn(t);
  const processes = await started(t, home, 4);
  credential.age({ lifetime: 3600, remaining: 240 });
  const { access } = credential.read();
  const held = await server.intercept(refreshes, { hold: "after" });
  const asked = await Promise.all(processes.map((process) => tenCalls(process, config)));
  // Everybody but the one who refreshes has the old token while the refresh is held.
  const early: string[] = [];
  const all = asked.flatMap(({ tokens }) => tokens.map((token) => token.then((value) => early.push(value) && value)));
  await new Promise<void>((resolve) => {
    for (const token of all) token.then(() => early.length === all.length - 1 && resolve());
  });
  assert.deepEqual([...new Set(early)], [access]);
  await held.release();
  const tokens = await Promise.all(all);
  assert.equal(tokens.filter((token) => token !== access).length, 1);
  assert.equal((await server.requests(refreshes)).length, 1);
});

for (const [name, folders] of [
  ["worker threads of one process", []],
  ["worker threads with two copies of the addon in one process", ["one", "two"]],
] as const) {
  test(`${name}: one refresh`, async (t) => {
    const { server, home, config, credential } = await loggedIn(t);
    const copies = folders.map((folder) => `${copyOfThePackage(home, folder)}/index.js`);
    const args = [JSON.stringify(config), "6", "10", ...(copies.length > 0 ? copies : [theAddon])];
    const child = Child.start(t, "workers.mjs", { env: home.env(), args });
    await child.event("ready");
    credential.expire();
    const held = await server.intercept(refreshes, { hold: "after" });
    child.send("ask");
    await Promise.all([child.event("asked"), held.arrived]);
    await held.release();
    const { tokens } = await child.event("tokens");
    assert.equal((tokens as string[]).length, 60);
    assert.deepEqual([...new Set(tokens as string[])], [credential.read().access]);
    assert.equal((await server.requests(refreshes)).length, 1);
    assert.deepEqual(await child.exit, { code: 0, signal: null });
  });
}

test("processes with copies of the addon of their own: one refresh", async (t) => {
  const { server, home, config, credential } = await loggedIn(t);
  const copies = ["one", "two", "three"].map((folder) => `${copyOfThePackage(home, folder)}/index.js`);
  const processes = await Promise.all(
    copies.map((path) => PluginProcess.start(t, { env: home.env({ PLUGIN_AUTH_COPY: path }) })),
  );
  credential.expire();
  const held = await server.intercept(refreshes, { hold: "after" });
  const asked = await Promise.all(processes.map((process) => tenCalls(process, config)));
  await held.arrived;
  await held.release();
  const tokens = await Promise.all(asked.flatMap(({ tokens }) => tokens));
  assert.equal(new Set(tokens).size, 1);
  assert.equal((await server.requests(refreshes)).length, 1);
  // Windows removes no addon that is loaded, and the copies lie in the home that goes.
  await Promise.all(processes.map((process) => process.end()));
});

test("a token that 4 processes report as rejected is refreshed once", async (t) => {
  const { server, home, config } = await loggedIn(t);
  const rejectedToken = await getValidAccessToken(config);
  const processes = await started(t, home, 4);
  const held = await server.intercept(refreshes, { hold: "after" });
  const asked = processes.map((process) => process.accessToken(config, { rejectedToken }));
  await Promise.all(processes.map((process) => process.status(config)));
  await held.arrived;
  await held.release();
  const tokens = new Set(await Promise.all(asked));
  assert.equal(tokens.size, 1);
  assert.ok(!tokens.has(rejectedToken));
  assert.equal((await server.requests(refreshes)).length, 1);
});

for (const [where, count] of [
  ["in one process", 1],
  ["in several processes", 3],
] as const) {
  test(`profiles do not wait for each other's refresh, ${where}`, async (t) => {
    const { server, home, config } = await loggedIn(t);
    const profiles = ["default", "work", "family"].map((profile) => ({ ...config, profile }));
    await Promise.all(profiles.slice(1).map((profile) => grantedLogin(profile)));
    const processes = await started(t, home, count);
    for (const { profile } of profiles) {
      new StoredCredential(home.credentialPath("memory", profile)).expire();
    }
    const held = await server.intercept({ ...refreshes, nth: 1 }, { hold: "after" });
    const [slow, ...others] = profiles as [AuthConfig, ...AuthConfig[]];
    const waiting = await Promise.all(processes.map((process) => tenCalls(process, slow)));
    await held.arrived;
    // All of these end while the first one is still held at the server.
    for (const other of others) {
      const asked = await Promise.all(processes.map((process) => tenCalls(process, other)));
      assert.equal(new Set(await Promise.all(asked.flatMap(({ tokens }) => tokens))).size, 1);
    }
    assert.equal((await server.requests(refreshes)).filter(({ status }) => status === 200).length, 2);
    await held.release();
    assert.equal(new Set(await Promise.all(waiting.flatMap(({ tokens }) => tokens))).size, 1);
    assert.equal((await server.requests(refreshes)).length, 3);
  });
}

/**
 * Ten calls, all begun in that process when this resolves. Its tokens are in an object: they may still be waited for.
 */
async function tenCalls(
  process: PluginProcess | undefined,
  config: AuthConfig,
): Promise<{ tokens: Promise<string>[] }> {
  assert.ok(process);
  const tokens = Array.from({ length: 10 }, () => process.accessToken(config));
  await process.status(config);
  return { tokens };
}

function started(t: Parameters<typeof TempHome.create>[0], home: TempHome, count: number): Promise<PluginProcess[]> {
  return Promise.all(Array.from({ length: count }, () => PluginProcess.start(t, { env: home.env() })));
}

async function loggedIn(t: Parameters<typeof TempHome.create>[0]) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir, { requestTimeoutMs: 60_000 });
  await grantedLogin(config);
  return { server, home, config, credential: new StoredCredential(home.credentialPath("memory")) };
}
