/** `flow: "client_credentials"`: a login without a person, from the same store under the same lock. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { authorizationHeaders, getValidAccessToken, login, logout, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { expireLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const robot = {
  client_id: "robot",
  client_secret: "a-secret-of-the-robot-of-this-test",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: "client_secret_basic",
  scope: "memory profile",
};

async function robots(t: Lifetime, more: object = {}) {
  const server = await AuthorizationServer.start(t, { clients: [{ ...robot, ...more }] });
  const home = TempHome.create(t);
  const config = {
    pluginId: "memory",
    stateDir: home.stateDir,
    issuer: server.issuer,
    flow: "client_credentials",
    clientId: robot.client_id,
    clientSecret: robot.client_secret,
    scopes: ["memory"],
  };
  return { server, home, config };
}

const onVerification = () => assert.fail("nobody is asked");

test("many calls of several processes at once: one request, then one for each end of a token", async (t) => {
  const { server, home, config } = await robots(t);
  assert.equal((await status(config)).state, "valid");
  const processes = await Promise.all([0, 1, 2].map(() => PluginProcess.start(t, { env: home.env() })));
  const calls = processes.flatMap((process) => [0, 1, 2, 3].map(() => process.accessToken(config)));
  const tokens = new Set(await Promise.all(calls));
  assert.equal(tokens.size, 1);
  const sent = await server.requests({ grant: "client_credentials" });
  assert.equal(sent.length, 1);
  const known = await status(config);
  assert.deepEqual([known.state, known.refreshable, known.scopes], ["valid", true, ["memory"]]);
  await expireLogin(config);
  const again = await Promise.all(processes.map((process) => process.accessToken(config)));
  assert.equal(new Set(again).size, 1);
  assert.ok(!tokens.has(again[0] as string));
  assert.equal((await server.requests({ grant: "client_credentials" })).length, 2);
});

test("a logout revokes the token and holds until the next login, which asks nobody", async (t) => {
  const { server, config } = await robots(t);
  const token = await getValidAccessToken(config);
  assert.deepEqual(await logout(config), { revoked: true, removed: true });
  assert.equal((await server.requests({ endpoint: "revocation" })).length, 1);
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  assert.equal((await login(config, { onVerification })).state, "valid");
  assert.notEqual(await getValidAccessToken(config), token);
});

test("a wrong secret is said as such, and the right one works at once; a client without one is refused", async (t) => {
  const { config } = await robots(t);
  const wrong = await rejection(getValidAccessToken({ ...config, clientSecret: "wrong" }), "OAUTH_ERROR");
  assert.equal(wrong.needsLogin, false);
  assert.ok(await getValidAccessToken(config));
  const { clientSecret: _, ...open } = config;
  await rejection(getValidAccessToken(open), "INVALID_CONFIG");
});

test("a login that is refused leaves the stored one", async (t) => {
  const { config } = await robots(t);
  const token = await getValidAccessToken(config);
  await rejection(login({ ...config, clientSecret: "wrong" }, { onVerification }), "OAUTH_ERROR");
  assert.equal((await status(config)).state, "valid");
  assert.equal(await getValidAccessToken(config), token);
  await login(config, { onVerification });
  assert.notEqual(await getValidAccessToken(config), token);
});

test("a client that has to prove a key logs in over a stored login, and a refused one leaves that", async (t) => {
  const { config } = await robots(t, { dpop_bound_access_tokens: true });
  const bound = { ...config, dpop: true };
  await login(bound, { onVerification });
  const token = await getValidAccessToken(bound);
  await login(bound, { onVerification });
  const next = await getValidAccessToken(bound);
  assert.notEqual(next, token);
  await rejection(login({ ...bound, clientSecret: "wrong" }, { onVerification }), "OAUTH_ERROR");
  assert.equal(await getValidAccessToken(bound), next);

  const asksNobody = { ...bound, profile: "other" };
  const { Authorization, DPoP } = await authorizationHeaders(asksNobody, { method: "GET", url: "https://a.example/" });
  assert.match(Authorization, /^DPoP /);
  assert.equal(typeof DPoP, "string");
});

test("a token with fewer scopes of the same client leaves its own", async (t) => {
  const { server, config } = await robots(t);
  const all = { ...config, scopes: ["memory", "profile"] };
  const own = await getValidAccessToken(all);
  const less = await getValidAccessToken(all, { scopes: ["memory"] });
  assert.notEqual(less, own);
  assert.equal(await getValidAccessToken(all, { scopes: ["memory"] }), less);
  assert.equal(await getValidAccessToken(all), own);
  const sent = await server.requests({ grant: "client_credentials" });
  assert.deepEqual(
    sent.map(({ form }) => form?.scope),
    ["memory profile", "memory"],
  );
});
