/** Tests getValidAccessToken against the real authorization server with rotation and reuse detection. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type AuthConfig, getValidAccessToken, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { approvedLogin, complete, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

test("an expired token is refreshed with rotation, again and again", async (t) => {
  const { server, config, api } = await loggedIn(t);
  const tokens = new Set([await getValidAccessToken(config)]);
  for (let round = 1; round <= 3; round += 1) {
    await expireLogin(config);
    const token = await getValidAccessToken(config);
    assert.equal((await api.call(token)).status, 200);
    tokens.add(token);
  }
  assert.equal(tokens.size, 4);
  const refreshes = await server.requests({ grant: "refresh_token" });
  assert.equal(refreshes.length, 3);
  assert.equal(new Set(refreshes.map(({ form }) => form?.refresh_token)).size, 3);
});

test("an expired token is refreshed, even if it was handed out before", async (t) => {
  const { server, config } = await loggedIn(t, { accessTokenTtl: 1 });
  const first = await getValidAccessToken(config);
  const { expiresAt = 0 } = await status(config);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiresAt - Date.now()) + 5));
  assert.notEqual(await getValidAccessToken(config), first);
  assert.ok((await server.requests({ grant: "refresh_token" })).length >= 1);
});

test("a server that gives no new refresh token: the old one is kept", async (t) => {
  const { server, config } = await loggedIn(t, { rotation: false });
  await server.intercept({ grant: "refresh_token" }, { remove: ["refresh_token"] });
  for (let round = 1; round <= 2; round += 1) {
    await expireLogin(config);
    await getValidAccessToken(config);
  }
  const refreshes = await server.requests({ grant: "refresh_token" });
  assert.equal(refreshes.length, 2);
  assert.equal(refreshes[0]?.form?.refresh_token, refreshes[1]?.form?.refresh_token);
  assert.equal((await status(config)).refreshable, true);
});

test("ten calls at once cost one refresh", async (t) => {
  const { server, config } = await loggedIn(t);
  await expireLogin(config);
  const tokens = await Promise.all(Array.from({ length: 10 }, () => getValidAccessToken(config)));
  assert.equal(new Set(tokens).size, 1);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("two processes with the same expired credential: one refresh, both get the new token", async (t) => {
  const { server, config, home } = await loggedIn(t);
  const processes = await Promise.all([1, 2].map(() => PluginProcess.start(t, { env: home.env() })));
  await expireLogin(config);
  // Held, so that both are sure to ask while the refresh is under way.
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const asked = processes.map((process) => process.accessToken({ ...config, requestTimeoutMs: 60_000 }));
  await held.arrived;
  await held.release();
  const [first, second] = await Promise.all(asked);
  assert.equal(first, second);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("a login in one process is seen by a running other one at its next call", async (t) => {
  const { server, config, home } = await loggedIn(t);
  const running = await PluginProcess.start(t, { env: home.env() });
  const before = await running.accessToken(config);
  const { status: again } = await approvedLogin(config);
  assert.equal(again.state, "valid");
  const after = await running.accessToken(config);
  assert.notEqual(after, before);
  assert.equal(after, await getValidAccessToken(config));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
});

test("a logout in one process is seen by a running other one, and so is the next login", async (t) => {
  const { config, home } = await loggedIn(t);
  const running = await PluginProcess.start(t, { env: home.env() });
  await running.accessToken(config);
  const other = await PluginProcess.start(t, { env: home.env() });
  assert.deepEqual(await other.call("logout", [config]), { revoked: true, removed: true });
  await assert.rejects(running.accessToken(config), { code: "LOGIN_REQUIRED", needsLogin: true });
  await approvedLogin(config);
  assert.ok(await running.accessToken(config));
});

test("a token that the service rejects is refreshed once, however many report it", async (t) => {
  const { server, config, api } = await loggedIn(t);
  const rejectedToken = await getValidAccessToken(config);
  await server.revokeAccessTokens();
  assert.equal((await api.call(rejectedToken)).status, 401);
  const tokens = await Promise.all(Array.from({ length: 10 }, () => getValidAccessToken(config, { rejectedToken })));
  assert.equal(new Set(tokens).size, 1);
  assert.equal((await api.call(tokens[0] ?? "")).status, 200);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
  // Late news of the old token: the stored one is another by now.
  assert.equal(await getValidAccessToken(config, { rejectedToken }), tokens[0]);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("a service that rejects every token does not make us refresh for ever", async (t) => {
  const { server, config } = await loggedIn(t);
  let token = await getValidAccessToken(config);
  for (let round = 1; round <= 6; round += 1) {
    token = await getValidAccessToken(config, { rejectedToken: token });
  }
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 3);
});

test("a login that the server revoked is LOGIN_REQUIRED, and asked about once", async (t) => {
  const { server, config, home } = await loggedIn(t);
  const token = await getValidAccessToken(config);
  await server.revokeLogins();
  const error = await rejection(getValidAccessToken(config, { rejectedToken: token }), "LOGIN_REQUIRED");
  assert.equal(error.needsLogin, true);
  assert.equal(error.oauthError, "invalid_grant");
  // Neither this process nor another one bothers the server again.
  await rejection(getValidAccessToken(config, { rejectedToken: token }), "LOGIN_REQUIRED");
  const other = await PluginProcess.start(t, { env: home.env() });
  await assert.rejects(other.accessToken(config, { rejectedToken: token }), { code: "LOGIN_REQUIRED" });
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
  const told = await status(config);
  assert.equal(told.state, "login_required");
  assert.equal(told.lastError?.code, "LOGIN_REQUIRED");
  // The credential is not deleted, and a login fixes it.
  assert.ok(JSON.parse(readFileSync(home.credentialPath("memory"), "utf8")).refresh);
  await approvedLogin(config);
  assert.equal((await status(config)).state, "valid");
  assert.ok(await getValidAccessToken(config));
});

test("a refresh token that somebody else has spent is LOGIN_REQUIRED, not a loop", async (t) => {
  const { server, config, home } = await loggedIn(t);
  const { refresh } = JSON.parse(readFileSync(home.credentialPath("memory"), "utf8"));
  await fetch(`${server.issuer}/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: refresh, client_id: "public" }),
  });
  await expireLogin(config);
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 2);
});

test("a passing failure keeps the login, and the next success forgets it", async (t) => {
  const { server, config } = await loggedIn(t);
  await expireLogin(config);
  const broken = await server.intercept({ grant: "refresh_token" }, { respond: { status: 503, body: "down" } });
  const error = await rejection(getValidAccessToken(config), "SERVER_ERROR");
  assert.equal(error.retryable, true);
  assert.equal(error.needsLogin, false);
  assert.equal(error.status, 503);
  assert.equal((await status(config)).state, "valid");
  assert.equal((await status(config)).lastError?.code, "SERVER_ERROR");
  // Within the back-off nobody asks the server.
  const asked = (await server.requests({ grant: "refresh_token" })).length;
  const again = await rejection(getValidAccessToken(config), "SERVER_ERROR");
  assert.ok((again.retryAfterMs ?? 0) > 0);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, asked);
  await broken.remove();
  await new Promise((resolve) => setTimeout(resolve, again.retryAfterMs));
  assert.ok(await getValidAccessToken(config));
  assert.equal((await status(config)).lastError, undefined);
});

test("a lost answer is asked for once more, and a server with a grace window forgives it", async (t) => {
  const { server, config } = await loggedIn(t, { rotation: false });
  await expireLogin(config);
  await server.intercept({ grant: "refresh_token", nth: 1 }, { destroy: "after" });
  assert.ok(await getValidAccessToken(config));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 2);
});

test("a valid token is handed out while the server is down", async (t) => {
  const { server, config } = await loggedIn(t);
  const token = await getValidAccessToken(config);
  await server.stop();
  // Due for an advisory refresh at every call, as the last quarter of its life would be.
  assert.equal(await getValidAccessToken({ ...config, refreshBufferMs: 86_400_000 }), token);
});

test("the credential of another issuer or client is never sent to this one", async (t) => {
  const { server, config } = await loggedIn(t);
  const other = await AuthorizationServer.start(t);
  await expireLogin(config);
  for (const change of [
    { issuer: other.issuer },
    { tokenEndpoint: `${other.issuer}/token` },
    { clientId: "another" },
  ]) {
    const error = await rejection(getValidAccessToken({ ...config, ...change }), "ISSUER_MISMATCH");
    assert.equal(error.needsLogin, true);
  }
  assert.equal((await other.requests()).length, 0);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
  assert.ok(await getValidAccessToken(config));
});

test("an abort ends one caller's wait and leaves the others and the refresh alone", async (t) => {
  const { server, config } = await loggedIn(t);
  await expireLogin(config);
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const controller = new AbortController();
  const aborted = getValidAccessToken(config, { signal: controller.signal });
  const patient = getValidAccessToken(config);
  await held.arrived;
  const reason = new Error("the tool was cancelled");
  controller.abort(reason);
  const error = await rejection(aborted, "ABORTED");
  assert.equal(error.cause, reason);
  await held.release();
  assert.ok(await patient);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("a refresh that was sent is saved, though its only caller aborted and had nothing else to do", async (t) => {
  const { server, config, home } = await loggedIn(t);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  await expireLogin(config);
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const call = plugin.begin("getValidAccessToken", [config], {});
  await held.arrived;
  call.abort();
  await assert.rejects(call.outcome, { code: "ABORTED" });
  const ended = plugin.end();
  await held.release();
  await ended;
  assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
  // Saved: the next refresh spends the rotated token, which the server would punish otherwise.
  await expireLogin(config);
  await held.remove();
  assert.ok(await getValidAccessToken(config));
});

test("the life of a token counts from when it was asked for, not from when a slow answer arrived", async (t) => {
  const server = await AuthorizationServer.start(t, { accessTokenTtl: 60 });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  await expireLogin(config);
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const token = getValidAccessToken(config);
  const { time } = await held.arrived;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await held.remove();
  await token;
  const { expiresAt = 0 } = await status(config);
  assert.ok(expiresAt <= time + 60_000, `${expiresAt - time} ms after the server had the request`);
});

test("profiles are separate logins", async (t) => {
  const { server, config } = await loggedIn(t);
  const work = { ...config, profile: "work" };
  await rejection(getValidAccessToken(work), "LOGIN_REQUIRED");
  await grantedLogin(work);
  assert.notEqual(await getValidAccessToken(work), await getValidAccessToken(config));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
});

test("the same config object is followed when it is changed", async (t) => {
  const { config, server } = await loggedIn(t);
  const work = { ...config, profile: "work" };
  await grantedLogin(work);
  const changing: AuthConfig = { ...config };
  const first = await getValidAccessToken(changing);
  changing.profile = "work";
  assert.notEqual(await getValidAccessToken(changing), first);
  changing.profile = "default";
  assert.equal(await getValidAccessToken(changing), first);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
});

test("tokens without an expiry are valid until they are rejected", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await server.intercept({ grant: "device_code" }, { remove: ["expires_in", "refresh_token"] });
  const config = configFor(server, home.stateDir);
  await approvedLogin(config);
  const token = await getValidAccessToken(config);
  const told = await status(config);
  assert.equal(told.state, "valid");
  assert.equal(told.refreshable, false);
  assert.equal(told.expiresAt, undefined);
  await rejection(getValidAccessToken(config, { rejectedToken: token }), "LOGIN_REQUIRED");
  // Remembered against that token, in this process and in others.
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  const other = await PluginProcess.start(t, { env: home.env() });
  await assert.rejects(other.accessToken(config), { code: "LOGIN_REQUIRED" });
  const person = new Person();
  const again = other.login(config);
  await person.approve(complete(await other.verification()));
  await again;
  assert.ok(await getValidAccessToken(config));
});

async function loggedIn(
  t: Parameters<typeof TempHome.create>[0],
  options: Parameters<typeof AuthorizationServer.start>[1] = {},
) {
  const server = await AuthorizationServer.start(t, options);
  const home = TempHome.create(t);
  const api = await ProtectedApi.start(t, server);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  return { server, home, api, config };
}
