/** `token`: a token that the user has set elsewhere, before the login or behind it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { authorizationHeaders, doctor, getValidAccessToken, importToken, logout, status } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const env = "OUTSIDE_TOKEN_OF_A_TEST";
const request = { method: "GET", url: "https://api.example.com/notes" };

function offline(t: Lifetime) {
  const home = TempHome.create(t);
  t.after(() => {
    delete process.env[env];
  });
  return { home, config: { pluginId: "memory", stateDir: home.stateDir } };
}

test("an environment variable goes before the login, at the very next call, and status says so", async (t) => {
  const { config } = offline(t);
  const given = { ...config, token: { env } };
  await rejection(getValidAccessToken(given), "LOGIN_REQUIRED");
  await importToken(config, { access: "of-the-login" });
  assert.equal(await getValidAccessToken(given), "of-the-login");
  assert.equal((await status(given)).source, "login");

  process.env[env] = " of-the-environment\n";
  assert.equal(await getValidAccessToken(given), "of-the-environment");
  assert.deepEqual(await authorizationHeaders(given, request), { Authorization: "Bearer of-the-environment" });
  const { state, source, refreshable, profile } = await status(given);
  assert.deepEqual(
    { state, source, refreshable, profile },
    { state: "valid", source: "env", refreshable: false, profile: "default" },
  );
  assert.ok((await doctor(given)).checks.some(({ name, message }) => name === "token" && message.includes(env)));
  // A login would change nothing, so nobody is asked for one.
  const refused = await rejection(
    getValidAccessToken(given, { rejectedToken: "of-the-environment" }),
    "INVALID_CONFIG",
  );
  assert.match(refused.message, new RegExp(`environment variable ${env}.*set another`));
  assert.equal(refused.needsLogin, false);

  process.env[env] = "";
  assert.equal(await getValidAccessToken(given), "of-the-login");
});

test("behind the login it is used where nobody is logged in", async (t) => {
  const { config } = offline(t);
  const given = { ...config, token: { env, value: "of-the-config", behindLogin: true } };
  assert.equal(await getValidAccessToken(given), "of-the-config");
  assert.equal((await status(given)).source, "config");
  process.env[env] = "of-the-environment";
  assert.equal(await getValidAccessToken(given), "of-the-environment");
  await importToken(config, { access: "of-the-login" });
  assert.equal(await getValidAccessToken(given), "of-the-login");
  assert.deepEqual(await authorizationHeaders(given, request), { Authorization: "Bearer of-the-login" });
  assert.equal((await status(given)).source, "login");
  await logout(given);
  assert.equal(await getValidAccessToken(given), "of-the-environment");
});

test("a token that says when it ends is expired then; what is no token is refused without being quoted", async (t) => {
  const { config } = offline(t);
  const jwt = `e30.${Buffer.from(JSON.stringify({ exp: 1_000_000 })).toString("base64url")}.x`;
  const { state, expiresAt } = await status({ ...config, token: { value: jwt } });
  assert.deepEqual({ state, expiresAt }, { state: "expired", expiresAt: 1_000_000_000 });
  assert.equal((await doctor({ ...config, token: { value: jwt } })).ok, false);
  for (const token of [7, "x", { enf: "X" }, { env: 7 }, { behindLogin: "yes" }, { value: "two words" }]) {
    const error = await rejection(getValidAccessToken({ ...config, token } as never), "INVALID_CONFIG");
    assert.doesNotMatch(error.message, /two words/);
  }
});

test("the kit takes it from the plugin's configuration, for the account that is meant where none is named", async (t) => {
  const { home } = offline(t);
  const host = new FakeHost({ stateDir: home.stateDir, pluginConfig: { apiKey: "of-the-user" } });
  const auth = pluginAuth(host.api, { issuer: "https://auth.example.com", token: { env, config: "apiKey" } });
  assert.equal(await auth.getValidAccessToken(), "of-the-user");
  assert.equal((await auth.status()).source, "config");
  await assert.rejects(auth.account("work").getValidAccessToken(), { code: "LOGIN_REQUIRED" });
  process.env[env] = "of-the-environment";
  assert.equal(await auth.getValidAccessToken(), "of-the-environment");
});
