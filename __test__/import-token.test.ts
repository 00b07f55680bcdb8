/** Tokens that a person brings: pasted, or made by another tool. */
import assert from "node:assert/strict";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import {
  authorizeDevice,
  getValidAccessToken,
  type ImportedToken,
  importToken,
  listProfiles,
  logout,
  status,
} from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { complete, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";

/** Tokens that another tool got. */
async function elsewhere(t: Lifetime) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const tokens = await authorizeDevice(config, {
    onVerification: (verification) => new Person().approve(complete(verification)),
  });
  return { server, home, config, tokens };
}

test("a static token needs no server: stored, handed out in every process, refused once, never refreshed", async (t) => {
  const { server, home, config, tokens } = await elsewhere(t);
  const bare = { pluginId: "memory", stateDir: home.stateDir };
  const { message } = await rejection(getValidAccessToken(bare), "LOGIN_REQUIRED");
  assert.match(message, /Import a token/);
  const stored = await importToken(bare, { access: tokens.access, scopes: ["memory"] });
  assert.equal(stored.state, "valid");
  assert.equal(stored.refreshable, false);
  assert.equal(stored.imported, true);
  assert.deepEqual(stored.scopes, ["memory"]);
  assert.equal(stored.issuer, undefined);
  if (process.platform !== "win32") assert.equal(statSync(stored.path).mode & 0o777, 0o600);

  const api = await ProtectedApi.start(t, server);
  assert.equal((await api.call(await getValidAccessToken(bare))).status, 200);
  const other = await PluginProcess.start(t, { env: home.env() });
  for (const same of [bare, config]) {
    assert.equal(await other.accessToken(same), tokens.access);
  }
  assert.equal((await listProfiles(bare))[0]?.imported, true);

  await rejection(getValidAccessToken(bare, { rejectedToken: tokens.access }), "LOGIN_REQUIRED");
  assert.equal((await status(bare)).state, "login_required");
  await importToken(bare, { access: "another" });
  assert.equal(await getValidAccessToken(bare), "another");
  assert.deepEqual(await logout(bare), { removed: true, revoked: false });
  assert.deepEqual(await server.requests({ grant: "refresh_token" }), []);
});

test("with a refresh token the login goes on here: refreshed at the server, rotated, revoked at logout", async (t) => {
  const { server, config, tokens } = await elsewhere(t);
  const { access, refresh = "" } = tokens;
  const { clientId: _client, ...noClient } = config;
  const { issuer: _issuer, ...noServer } = config;
  for (const lacking of [noClient, noServer]) {
    await rejection(importToken(lacking, { access, refresh }), "INVALID_CONFIG");
  }
  const stored = await importToken(config, { access, refresh, expires: Date.now() - 1000 });
  assert.deepEqual([stored.state, stored.refreshable, stored.imported], ["valid", true, true]);
  assert.equal(stored.issuer, server.issuer);
  const renewed = await getValidAccessToken(config);
  assert.notEqual(renewed, access);
  const api = await ProtectedApi.start(t, server);
  assert.equal((await api.call(renewed)).status, 200);
  const file = new StoredCredential(stored.path);
  assert.notEqual(file.read().refresh, refresh, "rotated");
  await rejection(getValidAccessToken({ ...config, issuer: "https://other.example.com" }), "ISSUER_MISMATCH");
  assert.equal((await status(config)).imported, true);
});

test("it takes the place of a login, a logout and a damaged file", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const before = await getValidAccessToken(config);
  const { path } = await importToken(config, { access: "first" });
  assert.equal(await getValidAccessToken(config), "first");
  assert.notEqual(before, "first");
  assert.equal(new StoredCredential(path).read().refresh, undefined);
  await logout(config);
  await importToken(config, { access: "second" });
  assert.equal(await getValidAccessToken(config), "second");
  writeFileSync(path, "damaged");
  await importToken(config, { access: "third" });
  assert.equal(await getValidAccessToken(config), "third");
  assert.equal(readdirSync(dirname(path)).filter((name) => name.includes(".corrupt-")).length, 1);
});

test("what is no token is refused, unquoted, and changes nothing", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", stateDir: home.stateDir };
  await importToken(config, { access: "kept" });
  const wrong: [unknown, RegExp][] = [
    [{ access: "canary canary" }, /`access` holds spaces/],
    [{ access: "canary\u001b[31m" }, /`access` holds/],
    [{ access: "canäry" }, /`access` holds/],
    [{ access: "" }, /`access` is empty/],
    [{ access: "a", expires: Math.floor(Date.now() / 1000) + 3600 }, /seconds.*\* 1000/],
    [{ access: "a", expires: Date.now() - 1 }, /has ended/],
    [{ access: "a", expires: "2030" }, /`expires` .*Unix milliseconds/],
    [{ access: "a", acces: "canary" }, /did you mean `access`/],
    [{}, /`access` is missing/],
    ["canary", /`token` must be an object/],
    [undefined, /`access` is missing/],
  ];
  for (const [token, hint] of wrong) {
    const { message, stack } = await rejection(importToken(config, token as ImportedToken), "INVALID_CONFIG");
    assert.match(message, hint);
    assert.doesNotMatch(`${message} ${stack}`, /canary|canäry/);
  }
  assert.equal(await getValidAccessToken(config), "kept");
});

test("refreshes of a login share a connection; those of another profile, and of what takes its place, have their own", async (t) => {
  const server = await AuthorizationServer.start(t);
  const config = configFor(server, TempHome.create(t).stateDir);
  const other = { ...config, profile: "other" };
  await grantedLogin(config, server);
  await grantedLogin(other, server);
  const refreshed = async (whose: typeof config) => {
    await expireLogin(whose);
    await getValidAccessToken(whose);
    return (await server.requests({ grant: "refresh_token" })).at(-1)?.connection;
  };
  // On a crowded machine more than a second may pass.
  let shared = await refreshed(config);
  for (let next = await refreshed(config); next !== shared; next = await refreshed(config)) shared = next;
  assert.notEqual(await refreshed(other), shared);
  await grantedLogin(config, server);
  assert.notEqual(await refreshed(config), shared);
});
