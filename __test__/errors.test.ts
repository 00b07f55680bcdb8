/** Mistakes and failures that a user meets: a code, a sentence to act on, and nothing lost. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import {
  AuthError,
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  logout,
  refreshTokens,
  status,
} from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { rejection } from "./support/rejection.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const onVerification = () => {};

test("unknown options are refused with the nearest known one, by every function", async () => {
  const config = { pluginId: "memory", issuer: "https://auth.example.com", clientID: "x" } as never;
  for (const call of [
    login(config, { onVerification }),
    authorizeDevice(config, { onVerification }),
    getValidAccessToken(config),
    logout(config),
    status(config),
    listProfiles(config),
    refreshTokens(config, "r"),
  ]) {
    const error = await rejection(call, "INVALID_CONFIG");
    assert.match(error.message, /did you mean `clientId`/);
    assert.equal(error.retryable, false);
  }
});

test("wrong second arguments are refused", async () => {
  const config = { pluginId: "memory", issuer: "https://auth.example.com" };
  for (const [options, part] of [
    [undefined, /`onVerification` is missing/],
    [{}, /`onVerification` must be a function/],
    [{ onVerify: onVerification }, /did you mean `onVerification`/],
    [{ onVerification, openUrl: "x" }, /`openUrl` must be a function/],
    [{ onVerification, signal: {} }, /`signal` must be an AbortSignal/],
    [7, /must be an object/],
  ] as const) {
    assert.match((await rejection(login(config, options as never), "INVALID_CONFIG")).message, part);
  }
  const typo = getValidAccessToken(config, { rejectToken: "x" } as never);
  assert.match((await rejection(typo, "INVALID_CONFIG")).message, /did you mean `rejectedToken`/);
  await rejection(getValidAccessToken(config, { rejectedToken: 7 } as never), "INVALID_CONFIG");
  await rejection(refreshTokens(config, undefined as never), "INVALID_CONFIG");
  await rejection(refreshTokens({ ...config }, "r"), "INVALID_CONFIG");
});

test("values that are no options are refused", async () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  for (const config of [
    undefined,
    null,
    "memory",
    [],
    { pluginId: () => "x" },
    { pluginId: Symbol("x") },
    { pluginId: "x", issuer: new URL("https://auth.example.com") },
    { pluginId: "x", issuer: "https://auth.example.com", refreshBufferMs: Number.NaN },
    { pluginId: "x", issuer: "https://auth.example.com", clientMetadata: circular },
    { pluginId: "x", issuer: "http://auth.example.com" },
    { pluginId: "x", issuer: "ftp://auth.example.com" },
    { pluginId: "x", issuer: "https://user:secret@auth.example.com" },
    { pluginId: "x" },
    { pluginId: "x", deviceAuthorizationEndpoint: "https://auth.example.com/d" },
  ]) {
    const error = await rejection(login(config as never, { onVerification }), "INVALID_CONFIG");
    assert.doesNotMatch(error.message, /secret/);
  }
});

test("a server that is not there is NETWORK, and nothing is written", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", issuer: await deadOrigin(), clientId: "c", stateDir: home.stateDir };
  const error = await rejection(login(config, { onVerification }), "NETWORK");
  assert.equal(error.retryable, true);
  assert.ok(error.message.includes("127.0.0.1"), error.message);
  assert.ok(!existsSync(home.credentialPath("memory")));
});

test("a name that does not resolve is NETWORK", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", issuer: "https://no-such-host.invalid", clientId: "c", stateDir: home.stateDir };
  const error = await rejection(login(config, { onVerification }), "NETWORK");
  assert.ok(error.message.includes("no-such-host.invalid"));
});

test("a server that never answers is TIMEOUT", async (t) => {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t, { routes: { "/.well-known/oauth-authorization-server": "stall" } });
  const config = { pluginId: "m", issuer: stub.origin, clientId: "c", stateDir: home.stateDir, requestTimeoutMs: 300 };
  assert.equal((await rejection(login(config, { onVerification }), "TIMEOUT")).retryable, true);
});

test("an issuer whose metadata names another is ISSUER_MISMATCH", async (t) => {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  stub.describe({ issuer: "https://other.example.com" });
  const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
  const error = await rejection(login(config, { onVerification }), "ISSUER_MISMATCH");
  assert.match(error.message, /other\.example\.com/);
  assert.equal(error.needsLogin, false);
});

test("a server without metadata is INVALID_RESPONSE that names what was asked", async (t) => {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
  const error = await rejection(login(config, { onVerification }), "INVALID_RESPONSE");
  assert.match(error.message, /\.well-known/);
});

test("a captive portal's page is not taken for an answer, and a login survives it", async (t) => {
  const { server, config } = await loggedIn(t);
  const page = { status: 200, headers: { "content-type": "text/html" }, body: "<html>Welcome to the hotel" };
  await server.intercept({ grant: "refresh_token" }, { respond: page });
  const token = await getValidAccessToken(config);
  const error = await getValidAccessToken(config, { rejectedToken: token }).catch((reason) => reason);
  assert.ok(error instanceof AuthError);
  assert.ok(["SERVER_ERROR", "INVALID_RESPONSE"].includes(error.code), error.code);
  assert.doesNotMatch(error.message, /hotel/);
  assert.equal(error.needsLogin, false);
  assert.equal((await status(config)).state, "valid");
  assert.equal(await getValidAccessToken(config), token);
});

test("a server without the device flow is DEVICE_FLOW_UNSUPPORTED", async (t) => {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  stub.describe({ device_authorization_endpoint: undefined });
  const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
  await rejection(login(config, { onVerification }), "DEVICE_FLOW_UNSUPPORTED");
});

test("redirects are not followed", async (t) => {
  const home = TempHome.create(t);
  const elsewhere = await StubServer.start(t);
  const stub = await StubServer.start(t, {
    routes: { "/device": { status: 307, headers: { location: `${elsewhere.origin}/device` } } },
  });
  stub.describe();
  const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
  await rejection(login(config, { onVerification }), "INVALID_RESPONSE");
  assert.equal(elsewhere.requests.length, 0);
});

test("a wrong client is OAUTH_ERROR with the server's reason", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir, { clientId: "nobody" });
  const error = await rejection(login(config, { onVerification }), "OAUTH_ERROR");
  assert.equal(error.oauthError, "invalid_client");
  assert.equal(error.status, 401);
  assert.equal(error.needsLogin, false);
});

test("a wrong secret in the config is OAUTH_ERROR, not a logout, and correcting it is enough", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const client = { clientId: "post client/2", clientAuthentication: "client_secret_post" } as const;
  const right = configFor(server, home.stateDir, { ...client, clientSecret: 's3cr:t/+ %&=~?"post' });
  await grantedLogin(right);
  await expireLogin(right);
  const error = await rejection(getValidAccessToken({ ...right, clientSecret: "wrong" }), "OAUTH_ERROR");
  assert.equal(error.needsLogin, false);
  assert.ok(await getValidAccessToken(right));
});

test("an AbortSignal that has fired already starts nothing", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  for (const reason of [undefined, "enough", new Error("enough")]) {
    const error = await rejection(login(config, { onVerification, signal: AbortSignal.abort(reason) }), "ABORTED");
    if (reason !== undefined) assert.equal(error.cause, reason);
  }
  assert.equal((await server.requests()).length, 0);
});

test("a rejection has the caller in its stack", async () => {
  async function myPlugin() {
    await status({ pluginId: "" });
  }
  const error = await myPlugin().catch((reason) => reason);
  assert.match(error.stack, /^AuthError: /);
  assert.match(error.stack, /myPlugin|errors\.test/);
});

async function loggedIn(t: Parameters<typeof TempHome.create>[0]) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  return { server, home, config };
}

/** Where nobody listens. */
async function deadOrigin(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}
