/** An abort ends one caller's wait. The refresh belongs to the others, and once it was sent, to the process. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { getValidAccessToken, logout, refreshTokens, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";

const refreshes = { grant: "refresh_token" } as const;

test("nine of ten waiters abort: the tenth gets the token of the one refresh", async (t) => {
  const { server, config, credential } = await expired(t);
  const held = await server.intercept(refreshes, { hold: "after" });
  const controllers = Array.from({ length: 9 }, () => new AbortController());
  const aborted = controllers.map(({ signal }) => getValidAccessToken(config, { signal }));
  const patient = getValidAccessToken(config);
  await held.arrived;
  for (const controller of controllers) {
    controller.abort();
  }
  await Promise.all(aborted.map((call) => rejection(call, "ABORTED")));
  await held.release();
  assert.equal(await patient, credential.read().access);
  assert.equal((await server.requests(refreshes)).length, 1);
});

test("the one that began the refresh aborts before it is sent: the other waiter's is sent all the same", async (t) => {
  const { server, home, config } = await expired(t);
  const { holder, held } = await lockHolder(t, server, home, config);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const first = plugin.begin("getValidAccessToken", [config], {});
  const second = plugin.begin("getValidAccessToken", [config], {});
  await plugin.status(config);
  first.abort();
  await assert.rejects(first.outcome, { code: "ABORTED" });
  holder.child.signal("SIGKILL");
  await holder.child.exit;
  assert.ok(await second.outcome);
  assert.equal((await server.requests(refreshes)).filter(({ status }) => status === 200).length, 1);
  await held.remove();
});

test("the last waiter aborts before anything was sent: nothing is sent", async (t) => {
  const { server, home, config, credential } = await expired(t);
  const before = credential.read();
  const { holder, held } = await lockHolder(t, server, home, config);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const calls = [1, 2, 3].map(() => plugin.begin("getValidAccessToken", [config], {}));
  await plugin.status(config);
  for (const call of calls) {
    call.abort();
  }
  await Promise.all(calls.map(({ outcome }) => assert.rejects(outcome, { code: "ABORTED" })));
  holder.child.signal("SIGKILL");
  await holder.child.exit;
  // The lock is free, and nobody is left who wants it: the process ends.
  await plugin.end();
  assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
  assert.equal((await server.requests(refreshes)).length, 1, "that of the killed holder");
  assert.deepEqual(credential.read(), before);
  await held.remove();
});

test("every waiter aborts after it was sent: it is saved, and a waiting process gets it", async (t) => {
  const { server, home, config, credential } = await expired(t);
  const before = credential.read();
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const other = await PluginProcess.start(t, { env: home.env() });
  const held = await server.intercept(refreshes, { hold: "after" });
  const calls = [1, 2].map(() => plugin.begin("getValidAccessToken", [config], {}));
  await held.arrived;
  const waiting = other.accessToken(config);
  await other.status(config);
  for (const call of calls) {
    call.abort();
  }
  await Promise.all(calls.map(({ outcome }) => assert.rejects(outcome, { code: "ABORTED" })));
  await held.release();
  assert.equal(await waiting, credential.read().access);
  assert.notEqual(credential.read().refresh, before.refresh);
  assert.equal(await plugin.accessToken(config), credential.read().access);
  assert.equal((await server.requests(refreshes)).length, 1);
});

test("refreshTokens that is aborted once it was sent resolves to the rotated token", async (t) => {
  const { server, config, credential } = await expired(t);
  const { refresh = "" } = credential.read();
  const held = await server.intercept(refreshes, { hold: "after" });
  const controller = new AbortController();
  const tokens = refreshTokens(config, refresh, { signal: controller.signal });
  await held.arrived;
  controller.abort();
  await held.release();
  const rotated = await tokens;
  assert.notEqual(rotated.refresh, refresh);
  assert.ok((await refreshTokens(config, rotated.refresh ?? "")).access);
});

test("refreshTokens that is aborted before it is sent spends nothing", async (t) => {
  const { server, config, credential } = await expired(t);
  const held = await server.intercept({ endpoint: "discovery" }, { hold: "before" });
  const controller = new AbortController();
  const tokens = refreshTokens(config, credential.read().refresh ?? "", { signal: controller.signal });
  await held.arrived;
  controller.abort();
  await rejection(tokens, "ABORTED");
  await held.release();
  assert.deepEqual(await server.requests(refreshes), []);
});

test("logout that is aborted while the server revokes: removed, without waiting for it", async (t) => {
  const { server, config, credential } = await expired(t);
  const held = await server.intercept({ endpoint: "revocation" }, { hold: "before" });
  const controller = new AbortController();
  const outcome = logout(config, { signal: controller.signal });
  await held.arrived;
  controller.abort();
  assert.deepEqual(await outcome, { revoked: false, removed: true });
  assert.equal((await status(config)).state, "logged_out");
  assert.equal(credential.read().refresh, undefined);
  await held.release();
});

test("a signal that has fired already sends nothing", async (t) => {
  const { server, config } = await expired(t);
  await rejection(getValidAccessToken(config, { signal: AbortSignal.abort() }), "ABORTED");
  assert.equal((await server.requests(refreshes)).length, 0);
  assert.ok(await getValidAccessToken(config));
});

/** A process that holds the kernel lock: its refresh waits at the server, which has not spent the token yet. */
async function lockHolder(
  t: Parameters<typeof TempHome.create>[0],
  server: AuthorizationServer,
  home: TempHome,
  config: Parameters<typeof getValidAccessToken>[0],
) {
  const holder = await PluginProcess.start(t, { env: home.env() });
  // The provider does not see it after its release either.
  const held = await server.intercept({ ...refreshes, nth: 1 }, { hold: "before", destroy: "before" });
  holder.begin("getValidAccessToken", [config]);
  await held.arrived;
  return { holder, held };
}

async function expired(t: Parameters<typeof TempHome.create>[0]) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const credential = new StoredCredential(home.credentialPath("memory"));
  credential.expire();
  return { server, home, config, credential };
}
