/** Login through the real authorization server. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  type AuthError,
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  refreshTokens,
  status,
} from "../index.js";
import { AuthorizationServer, clients } from "./support/authorization-server.ts";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { approvedLogin, complete, configFor, expireLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

test("a public client logs in, and its token opens the API", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const api = await ProtectedApi.start(t, server);
  const config = configFor(server, home.stateDir);

  const { status: loggedIn, verification, progress } = await approvedLogin(config);
  assert.equal(loggedIn.state, "valid");
  assert.equal(loggedIn.refreshable, true);
  assert.equal(loggedIn.issuer, server.issuer);
  assert.equal(loggedIn.clientId, "public");
  assert.deepEqual(loggedIn.scopes, ["memory", "offline_access"]);
  assert.equal(loggedIn.missingScopes, undefined);
  assert.equal(loggedIn.path, home.credentialPath("memory"));
  assert.ok((loggedIn.expiresAt ?? 0) > Date.now() + 3_500_000);
  assert.ok(verification.message.includes(verification.userCode));
  assert.ok(verification.expiresAt > Date.now());
  assert.equal(progress.at(-1)?.type, "approved");

  const token = await getValidAccessToken(config);
  assert.deepEqual(await api.call(token), { status: 200, subject: "ada", memories: ["ada likes tea"] });
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);

  const [asked] = await server.requests({ endpoint: "device_authorization" });
  assert.equal(asked?.contentType, "application/x-www-form-urlencoded");
  assert.equal(asked?.form?.scope, "memory offline_access");
  assert.match(asked?.headers["user-agent"] ?? "", /^clawdbot-plugin-auth\/\d/);
});

for (const [method, client] of [
  ["client_secret_basic", clients.basic],
  ["client_secret_post", clients.post],
] as const) {
  test(`a confidential client logs in and refreshes by ${method}`, async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir, { ...client, clientAuthentication: method });
    await approvedLogin(config);
    const first = await server.request({ endpoint: "token" });
    assert.equal(first.clientAuthentication, method);
    await expireLogin(config);
    await getValidAccessToken(config);
    const refresh = await server.request({ grant: "refresh_token" });
    assert.equal(refresh.clientAuthentication, method);
    assert.equal(refresh.status, 200);
    const stored = readFileSync(home.credentialPath("memory"), "utf8");
    assert.ok(!stored.includes(JSON.stringify(client.clientSecret).slice(1, -1)), "the secret is never written");
  });
}

test("without a method the server's metadata decides how the client authenticates", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await approvedLogin(configFor(server, home.stateDir, { ...clients.basic }));
  assert.equal((await server.request({ endpoint: "token" })).clientAuthentication, "client_secret_basic");
});

test("without a clientId one client is registered per issuer, kept, and used for every refresh", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { clientId: _, ...config } = configFor(server, home.stateDir, { clientName: "A Memory Plugin" });
  const first = await approvedLogin(config);
  await expireLogin(config);
  await getValidAccessToken(config);
  const refresh = await server.request({ grant: "refresh_token" });
  assert.equal(refresh.clientId, first.status.clientId);
  const second = await approvedLogin({ ...config, profile: "work" });
  assert.equal(second.status.clientId, first.status.clientId);

  const registrations = await server.requests({ endpoint: "registration" });
  assert.equal(registrations.length, 1);
  const { client_name, redirect_uris } = (registrations[0]?.json ?? {}) as Record<string, unknown>;
  assert.equal(client_name, "A Memory Plugin");
  assert.deepEqual(redirect_uris, []);
  const folder = join(dirname(home.credentialPath("memory")), "clients");
  assert.deepEqual(readdirSync(folder).filter((name) => name.endsWith(".json")).length, 1);
  assert.deepEqual(
    (await listProfiles(config)).map(({ profile }) => profile),
    ["default", "work"],
  );
});

test("a confidential client can be registered, and its secret is used for every refresh", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { clientId: _, ...config } = configFor(server, home.stateDir, {
    clientAuthentication: "client_secret_post",
  });
  await approvedLogin(config);
  await expireLogin(config);
  await getValidAccessToken(config);
  const refresh = await server.request({ grant: "refresh_token" });
  assert.equal(refresh.clientAuthentication, "client_secret_post");
  assert.equal(refresh.status, 200);
  assert.ok((refresh.clientSecret ?? "").length > 8);
});

test("a registration that the server has forgotten is renewed at the next login", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { clientId: _, ...config } = configFor(server, home.stateDir);
  const before = await approvedLogin(config);
  await server.forgetClients(before.status.clientId);
  const after = await approvedLogin(config);
  assert.notEqual(after.status.clientId, before.status.clientId);
  assert.equal((await server.requests({ endpoint: "registration" })).length, 2);
});

test("a registration that the server forgets while it polls is renewed at the next login", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { clientId: _, ...config } = configFor(server, home.stateDir);
  const lost = login(config, { onVerification: () => server.forgetClients() });
  const error = await rejection(lost, "OAUTH_ERROR");
  assert.equal(error.oauthError, "invalid_client");
  assert.equal(error.needsLogin, true);
  assert.equal((await approvedLogin(config)).status.state, "valid");
  assert.equal((await server.requests({ endpoint: "registration" })).length, 2);
});

test("a server without registration says so", async (t) => {
  const server = await AuthorizationServer.start(t, { registration: false });
  const home = TempHome.create(t);
  const { clientId: _, ...config } = configFor(server, home.stateDir);
  const error = await rejection(login(config, { onVerification: () => {} }), "REGISTRATION_FAILED");
  assert.match(error.message, /clientId/);
});

test("endpoints can be given without an issuer", async (t) => {
  const server = await AuthorizationServer.start(t, { discovery: "none" });
  const home = TempHome.create(t);
  const { issuer: _, ...config } = configFor(server, home.stateDir);
  const explicit = { ...config, ...server.endpoints };
  await approvedLogin(explicit);
  assert.equal((await status(explicit)).issuer, undefined);
  assert.ok(await getValidAccessToken(explicit));
  assert.equal((await server.requests({ endpoint: "discovery" })).length, 0);
});

for (const options of [
  { discovery: "oidc" },
  { discovery: "rfc8414" },
  { discovery: "rfc8414", path: "/tenant/one" },
  { discovery: "oidc", path: "/tenant/one" },
] as const) {
  test(`discovery: ${JSON.stringify(options)}`, async (t) => {
    const server = await AuthorizationServer.start(t, options);
    const home = TempHome.create(t);
    const { status: loggedIn } = await approvedLogin(configFor(server, home.stateDir));
    assert.equal(loggedIn.state, "valid");
  });
}

test("over https, with a certificate authority from NODE_EXTRA_CA_CERTS", async (t) => {
  const home = TempHome.create(t);
  const authority = await CertificateAuthority.create(home.path);
  const server = await AuthorizationServer.start(t, {
    tls: await authority.issue(),
    host: "localhost",
  });
  const person = new Person({ ca: authority.certificate });
  const config = configFor(server, home.stateDir);
  assert.match(server.issuer, /^https:/);

  for (const trust of [{ NODE_EXTRA_CA_CERTS: authority.path }, { SSL_CERT_FILE: authority.path }]) {
    const plugin = await PluginProcess.start(t, { env: home.env(trust) });
    const loggedIn = plugin.login(config);
    await person.approve(complete(await plugin.verification()));
    assert.equal((await loggedIn).state, "valid");
    const refreshes = (await server.requests({ grant: "refresh_token" })).length;
    await loggedIn;
    await expireLogin(config);
    assert.ok(await plugin.accessToken(config));
    assert.equal((await server.requests({ grant: "refresh_token" })).length, refreshes + 1);
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
  }

  const stranger = await PluginProcess.start(t, { env: home.env() });
  await assert.rejects(stranger.login(config), (error: AuthError) => {
    assert.equal(error.code, "NETWORK");
    assert.match(error.message, /certificate/);
    assert.match(error.message, /NODE_EXTRA_CA_CERTS/);
    return true;
  });
});

test("what the person denies is ACCESS_DENIED, and an earlier login stays", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await approvedLogin(config);
  const before = readFileSync(home.credentialPath("memory"), "utf8");
  const denied = login(config, {
    onVerification: (verification) => new Person().deny(complete(verification)),
  });
  const error = await rejection(denied, "ACCESS_DENIED");
  assert.equal(error.needsLogin, false);
  assert.equal(readFileSync(home.credentialPath("memory"), "utf8"), before);
  assert.ok(await getValidAccessToken(config));
});

test("a code that nobody confirms is DEVICE_CODE_EXPIRED", async (t) => {
  const server = await AuthorizationServer.start(t, { deviceCodeTtl: 3 });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await rejection(login(config, { onVerification: () => {} }), "DEVICE_CODE_EXPIRED");
  assert.ok(!existsSync(home.credentialPath("memory")));
  assert.equal((await status(config)).state, "logged_out");
});

test("slow_down lengthens the interval for all later polls", async (t) => {
  const server = await AuthorizationServer.start(t, { interval: 1 });
  const home = TempHome.create(t);
  await server.intercept(
    { grant: "device_code", nth: 1 },
    { respond: { status: 400, body: { error: "slow_down", interval: 3 } } },
  );
  const seen: string[] = [];
  const person = new Person();
  let shown = "";
  await login(configFor(server, home.stateDir), {
    onVerification: (verification) => {
      shown = complete(verification);
    },
    onProgress: async (event) => {
      seen.push(event.type);
      if (event.type === "slow_down") {
        assert.ok(event.detail);
        await person.approve(shown);
      }
    },
  });
  assert.ok(seen.includes("slow_down"));
  const polls = await server.requests({ grant: "device_code" });
  assert.equal(polls.length, 2);
  // RFC 8628 §3.5: the interval MUST be increased by 5 seconds for this and all subsequent requests.
  assert.ok((polls[1]?.time ?? 0) - (polls[0]?.time ?? 0) >= 6000 - 50);
});

test("never a poll earlier than the interval", async (t) => {
  const server = await AuthorizationServer.start(t, { interval: 2, slowDown: true });
  const home = TempHome.create(t);
  await approvedLogin(configFor(server, home.stateDir));
  const polls = await server.requests({ grant: "device_code" });
  assert.ok(polls.length >= 1);
  assert.deepEqual(
    polls.filter(({ early }) => early),
    [],
  );
});

test("a connection that breaks in the middle of polling does not end the login", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await server.intercept({ grant: "device_code", nth: 1 }, { destroy: "before" });
  await server.intercept({ grant: "device_code", nth: 2 }, { respond: { status: 502, body: "<html>Bad Gateway" } });
  const { progress } = await approvedLogin(configFor(server, home.stateDir));
  assert.equal(progress.filter(({ type }) => type === "retrying").length, 2);
});

test("audience, resource, extra parameters and PKCE go where they belong", async (t) => {
  const resource = "https://api.example.com/memory";
  const server = await AuthorizationServer.start(t, { resources: [resource] });
  const home = TempHome.create(t);
  await approvedLogin(
    configFor(server, home.stateDir, {
      audience: "https://audience.example.com",
      resource: [resource],
      extraParameters: { tenant: "one" },
      pkce: true,
    }),
  );
  const [asked] = await server.requests({ endpoint: "device_authorization" });
  assert.equal(asked?.form?.audience, "https://audience.example.com");
  assert.equal(asked?.form?.resource, resource);
  assert.equal(asked?.form?.tenant, "one");
  assert.equal(asked?.form?.code_challenge_method, "S256");
  assert.match(String(asked?.form?.code_challenge), /^[\w-]{43}$/);
  const [poll] = await server.requests({ grant: "device_code" });
  assert.equal(poll?.form?.resource, resource);
  assert.equal(poll?.form?.tenant, "one");
  assert.match(String(poll?.form?.code_verifier), /^[\w-]{43}$/);
});

test("a server that demands PKCE gets it without configuration", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await server.intercept(
    { endpoint: "device_authorization", nth: 1 },
    {
      respond: {
        status: 400,
        body: { error: "invalid_request", error_description: "Missing parameter: code_challenge_method" },
      },
    },
  );
  await approvedLogin(configFor(server, home.stateDir));
  const asked = await server.requests({ endpoint: "device_authorization" });
  assert.equal(asked.length, 2);
  assert.equal(asked[1]?.form?.code_challenge_method, "S256");
});

test("an error thrown by onVerification passes unchanged and stops the polling", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const mine = new TypeError("my own");
  for (const onVerification of [
    () => {
      throw mine;
    },
    () => Promise.reject(mine),
  ]) {
    await assert.rejects(login(configFor(server, home.stateDir), { onVerification }), (error) => error === mine);
  }
  assert.equal((await server.requests({ grant: "device_code" })).length, 0);
});

test("openUrl gets the complete URL, and its failure does not end the login", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const person = new Person();
  let opened = "";
  const loggedIn = await login(configFor(server, home.stateDir), {
    onVerification: (verification) => person.approve(complete(verification)),
    openUrl: (url) => {
      opened = url;
      throw new Error("no browser here");
    },
  });
  assert.equal(loggedIn.state, "valid");
  assert.match(opened, /user_code=/);
});

test("the folder is 0700 and the files are 0600", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await approvedLogin(configFor(server, home.stateDir));
  const path = home.credentialPath("memory");
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  for (const name of readdirSync(dirname(path))) {
    assert.equal(statSync(join(dirname(path), name)).mode & 0o777, 0o600, name);
  }
  assert.deepEqual(readdirSync(dirname(path)).sort(), ["default.json", "default.json.lock"]);
});

test("authorizeDevice and refreshTokens keep nothing", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const tokens = await authorizeDevice(config, {
    onVerification: (verification) => new Person().approve(complete(verification)),
  });
  assert.equal(tokens.tokenType, "Bearer");
  assert.equal(tokens.clientId, "public");
  assert.equal(tokens.clientSecret, undefined);
  assert.equal(tokens.issuer, server.issuer);
  assert.ok(tokens.refresh);
  assert.ok(!existsSync(home.stateDir));
  const refreshed = await refreshTokens(config, tokens.refresh);
  assert.notEqual(refreshed.access, tokens.access);
  assert.notEqual(refreshed.refresh, tokens.refresh);
  await rejection(refreshTokens(config, tokens.refresh), "LOGIN_REQUIRED");
  assert.ok(!existsSync(home.stateDir));
});

test("authorizeDevice registers a client where it must, and gives it to the caller", async (t) => {
  const server = await AuthorizationServer.start(t);
  const { clientId: _, ...config } = configFor(server, "/nowhere");
  const tokens = await authorizeDevice(
    { ...config, clientAuthentication: "client_secret_basic" },
    { onVerification: (verification) => new Person().approve(complete(verification)) },
  );
  assert.ok(tokens.clientSecret);
  assert.ok(tokens.refresh);
  const again = { ...config, clientId: tokens.clientId, clientSecret: tokens.clientSecret };
  assert.ok((await refreshTokens(again, tokens.refresh)).access);
});
