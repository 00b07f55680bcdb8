/**
 * Authorization servers on a network of the plugin's own, without TLS: only where `allowHttp` names their origin. The
 * address is this machine's, and no loopback by its name.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AuthConfig, doctor, getValidAccessToken, login, logout, status } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const host = "0.0.0.0";

async function started(t: Lifetime) {
  const server = await AuthorizationServer.start(t, { host });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir, { allowHttp: [server.origin] });
  const { allowHttp: _, ...strict } = config;
  return { server, home, config, strict: strict as AuthConfig };
}

/** A login that gets as far as a person ends there. */
const silent = {
  onVerification() {
    throw new Error("A person was asked");
  },
};
const refusal = /https URL \(http on loopback, or where `allowHttp` names it\)/;

test("the whole life of a login there, and a warning of it", async (t) => {
  const { server, home, config, strict } = await started(t);
  const { clientId: _, ...registering } = config;
  assert.equal((await approvedLogin(registering)).status.state, "valid");
  await expireLogin(registering);
  await getValidAccessToken(registering);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);

  const { checks } = await doctor(registering);
  assert.equal(checks.find(({ name }) => name === "http")?.level, "warning");
  assert.equal(checks.find(({ name }) => name === "server")?.level, "ok");
  const { pluginId: _id, stateDir: _dir, ...options } = registering;
  const plugin = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(plugin.api, { ...options, pluginId: "memory" });
  const { output } = await plugin.run("my-memory status");
  assert.match(output, new RegExp(`warning +.*without encryption to ${server.origin}`));

  // The plugin has changed its mind: the server of the stored login is not asked any more.
  await expireLogin(registering);
  const before = await server.requests();
  const { clientId: _client, ...unnamed } = strict;
  assert.match((await rejection(getValidAccessToken(unnamed), "INVALID_CONFIG")).message, refusal);
  assert.equal((await server.requests()).length, before.length);

  assert.deepEqual(await logout(registering), { revoked: true, removed: true });
});

test("a stored endpoint that `allowHttp` names no more is the config's fault, and costs no login", async (t) => {
  const { server, config } = await started(t);
  await grantedLogin(config);
  await expireLogin(config);
  const { path } = await status(config);
  const issuer = "https://auth.example.com";
  new StoredCredential(path).becomeLogin({ issuer });
  const { allowHttp, ...unnamed } = { ...config, issuer };
  const error = await rejection(getValidAccessToken(unnamed), "INVALID_CONFIG");
  assert.match(error.message, refusal);
  assert.match(error.message, /Name its origin there/);
  assert.equal((await status(unnamed)).state, "valid");
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
  assert.ok(await getValidAccessToken({ ...unnamed, ...(allowHttp && { allowHttp }) }));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("without the word, and with that of another origin, nothing is asked", async (t) => {
  const { server, config, strict } = await started(t);
  const { port } = new URL(server.origin);
  const { issuer: _, ...bare } = strict;
  for (const refused of [
    strict,
    { ...strict, allowHttp: [] },
    { ...strict, allowHttp: [`http://${host}`, `http://${host}:${Number(port) + 1}`, "http://auth:8080"] },
    { ...bare, ...server.endpoints },
  ]) {
    const error = await rejection(login(refused, silent), "INVALID_CONFIG");
    assert.match(error.message, refusal);
  }
  for (const allowHttp of [
    ["auth:8080"],
    ["https://auth"],
    [`${server.origin}/x`],
    ["http://*.lan"],
    server.origin,
    [1],
  ]) {
    const error = await rejection(login({ ...config, allowHttp: allowHttp as string[] }, silent), "INVALID_CONFIG");
    assert.match(error.message, /`allowHttp`/);
  }
  assert.equal((await server.requests()).length, 0);
});

test("metadata leads to no origin that is not named", async (t) => {
  const { server, config } = await started(t);
  const elsewhere = await StubServer.start(t, { host });
  await server.intercept({ endpoint: "discovery" }, { edit: { token_endpoint: `${elsewhere.origin}/token` } });
  const error = await rejection(login(config, silent), "INVALID_RESPONSE");
  assert.match(error.message, /token_endpoint` must be an https URL/);
  assert.equal(elsewhere.requests.length, 0);
});

test("a resource there names its server", async (t) => {
  const { server, config } = await started(t);
  const resource = await StubServer.start(t, { host });
  const url = `${resource.origin}/mcp`;
  resource.route("/mcp", { status: 401, headers: { "www-authenticate": "Bearer" } });
  resource.route("/.well-known/oauth-protected-resource/mcp", {
    status: 200,
    body: { resource: url, authorization_servers: [server.issuer] },
  });
  const { issuer: _, ...rest } = config;
  const named = { ...rest, resource: [url] };
  await rejection(login(named, silent), "INVALID_CONFIG");
  assert.equal(resource.requests.length, 0);
  // oidc-provider refuses resources that it does not know.
  await server.intercept({ endpoint: "device_authorization" }, { respond: { status: 400, body: { error: "seen" } } });
  const asked = await rejection(
    login({ ...named, allowHttp: [server.origin, resource.origin] }, silent),
    "OAUTH_ERROR",
  );
  assert.match(asked.message, /seen/);
});
