/**
 * Servers that pose as others, redirect, or change their identity: their claims are not believed, their redirects are
 * not followed, and secrets stay with the server that they belong to.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AuthConfig, getValidAccessToken, login, logout, type ProgressEvent, status } from "../index.js";
import { CertificateAuthority, type ServerCertificate } from "./support/certificate-authority.ts";
import { expireLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { quickDevice } from "./support/provider-stub.ts";
import { HttpProxy } from "./support/proxy.ts";
import { rejection } from "./support/rejection.ts";
import { type StubRoute, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

const tokens = { access_token: "ACCESS", refresh_token: "REFRESH", token_type: "Bearer", expires_in: 3600 };
const routes: Record<string, StubRoute> = {
  "/device": quickDevice,
  "/token": ({ form }, nth) => ({
    status: 200,
    body: {
      ...tokens,
      access_token: `ACCESS ${nth}`.replace(" ", "-"),
      refresh_token: `${form.get("grant_type")}-${nth}`,
    },
  }),
  "/revoke": { status: 200 },
  "/register": { status: 201, body: { client_id: "registered" } },
};
const onVerification = () => {};

describe("metadata of another issuer", () => {
  for (const [name, change] of [
    ["a slash at its end", (issuer: string) => `${issuer}/`],
    ["another case in its path", (issuer: string) => issuer.replace("tenant", "Tenant")],
    ["another case in its scheme", (issuer: string) => issuer.replace("http", "HTTP")],
    ["another port", (issuer: string) => issuer.replace(/:(\d+)/, (_all, port) => `:${Number(port) - 1}`)],
    ["no port", (issuer: string) => issuer.replace(/:\d+/, "")],
    ["another path", (issuer: string) => `${issuer}2`],
    ["no path", (issuer: string) => issuer.replace("/tenant", "")],
    ["a query", (issuer: string) => `${issuer}?`],
    ["another host that is the same machine", (issuer: string) => issuer.replace("127.0.0.1", "localhost")],
    ["https", (issuer: string) => issuer.replace("http", "https")],
    ["a space at its end", (issuer: string) => `${issuer} `],
    ["an encoded character", (issuer: string) => issuer.replace("tenant", "%74enant")],
  ] as const) {
    test(`${name}: refused before anything but the metadata was asked for`, async (t) => {
      const home = TempHome.create(t);
      const stub = await StubServer.start(t, { routes });
      const issuer = `${stub.origin}/tenant`;
      const told = change(issuer);
      const document = { ...endpointsOf(stub.origin), issuer: told };
      stub.route("/.well-known/oauth-authorization-server/tenant", { status: 200, body: document });
      stub.route("/tenant/.well-known/openid-configuration", { status: 200, body: document });
      const config = { pluginId: "memory", issuer, stateDir: home.stateDir };
      const error = await rejection(login(config, { onVerification }), "ISSUER_MISMATCH");
      assert.ok(error.message.includes(`"${told.trim()}"`) && error.message.includes(`"${issuer}"`), error.message);
      assert.equal(error.message.includes("Only the slash at the end differs"), name === "a slash at its end");
      assert.equal(error.message.includes("characters that are not shown"), name === "a space at its end");
      assert.ok(stub.requests.every(({ path }) => path.includes("/.well-known/")));
    });
  }
});

describe("endpoints in metadata of an https issuer", { concurrency: 8 }, () => {
  // The members that a login needs; an unneeded one counts as missing (answers.test.ts).
  for (const member of ["device_authorization_endpoint", "token_endpoint", "registration_endpoint"]) {
    test(`${member}: nothing goes to http, to this machine, or to what is no endpoint`, async (t) => {
      const { home, stub, proxy, plugin, issuer } = await onTheNetwork(t);
      const victim = await StubServer.start(t);
      const { port } = new URL(victim.origin);
      for (const [bad, reason] of [
        ["http://auth.test/x", "must be an https URL"],
        [`http://127.0.0.1:${port}/x`, "leads to this machine"],
        [`http://localhost:${port}/x`, "leads to this machine"],
        [`https://127.0.0.1:${port}/x`, "leads to this machine"],
        [`https://2130706433:${port}/x`, "leads to this machine"],
        [`https://[::1]:${port}/x`, "leads to this machine"],
        [`https://x.localhost:${port}/x`, "leads to this machine"],
        ["https://ada:secret@auth.test/x", "must not contain a user name or password"],
        ["https://auth.test@evil.test/x", "must not contain a user name or password"],
        ["https://auth.test/x#y", "must not contain a fragment"],
        ["https://auth.test:0/x", "must not have the port 0"],
        ["https://auth.test:65536/x", "must be an absolute https URL"],
        ["/x", "must be an absolute https URL"],
        ["file:///etc/passwd", "must be an https URL"],
        ["javascript:alert(1)", "must be an https URL"],
        ["", "is empty"],
        [7, "is not a string"],
      ] as const) {
        stub.describe({ ...endpointsOf(issuer), issuer, [member]: bad });
        const config = { pluginId: "memory", issuer, stateDir: home.stateDir };
        await assert.rejects(plugin.login(config), (error: { code: string; message: string }) => {
          assert.equal(error.code, "INVALID_RESPONSE", `${bad}: ${error.message}`);
          assert.ok(error.message.includes(`\`${member}\` ${reason}`), error.message);
          assert.doesNotMatch(error.message, /secret|alert/);
          return true;
        });
      }
      assert.equal(victim.requests.length, 0);
      assert.ok(stub.requests.every(({ path }) => path.includes("/.well-known/")));
      assert.ok(proxy.requests.every(({ target }) => target === new URL(issuer).host));
    });
  }

  test("a resource on the network that names servers of this machine: none is asked, and the next one serves", async (t) => {
    const { home, stub, proxy, plugin, issuer } = await onTheNetwork(t);
    const victim = await StubServer.start(t, { routes });
    const { port } = new URL(victim.origin);
    victim.describe();
    const resource = `${issuer}/mcp`;
    const hidden = [
      victim.origin,
      `http://localhost:${port}`,
      `https://127.0.0.1:${port}`,
      `https://2130706433:${port}`,
      `https://[::1]:${port}`,
      `https://x.localhost:${port}`,
    ];
    stub.describe({ ...endpointsOf(issuer), issuer });
    const config = { pluginId: "memory", resource: [resource], stateDir: home.stateDir };
    const named = (...issuers: string[]) =>
      stub.route("/.well-known/oauth-protected-resource/mcp", {
        status: 200,
        body: { resource, authorization_servers: issuers },
      });
    for (const place of hidden) {
      const challenge = `Bearer resource_metadata="${place}/document"`;
      stub.route("/mcp", { status: 401, headers: { "www-authenticate": challenge } });
      named(place);
      await assert.rejects(plugin.login(config), (error: { code: string; message: string }) => {
        assert.equal(error.code, "INVALID_RESPONSE", error.message);
        for (const what of ["the challenge's `resource_metadata`", `the issuer "${place}"`]) {
          assert.ok(error.message.includes(`${what} (leads to this machine)`), error.message);
        }
        return true;
      });
    }
    named(...hidden, issuer);
    await life(plugin, config);
    assert.deepEqual(victim.requests, []);
    assert.ok(proxy.requests.every(({ target }) => target === new URL(issuer).host));
  });

  test("https on other hosts is what RFC 8414 allows: the whole login uses them", async (t) => {
    const { home, stub, plugin, issuer, tls, resolve } = await onTheNetwork(t);
    const other = await StubServer.start(t, { tls, routes });
    const { port } = new URL(other.origin);
    resolve[`tokens.test:${port}`] = `127.0.0.1:${port}`;
    stub.describe({ ...endpointsOf(`https://tokens.test:${port}`), issuer });
    const config = { pluginId: "memory", issuer, stateDir: home.stateDir };
    await life(plugin, config);
    assert.deepEqual(
      new Set(other.requests.map(({ path }) => path)),
      new Set(["/register", "/device", "/token", "/revoke"]),
    );
  });

  test("a server that speaks no TLS newer than 1.1 is refused", async (t) => {
    const { home, plugin, issuer, stub } = await onTheNetwork(t, {
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await assert.rejects(plugin.login({ pluginId: "memory", issuer, stateDir: home.stateDir }), {
      code: "NETWORK",
      message: /could not be reached by TLS: the server accepts no TLS version and cipher that this program has/,
    });
    assert.equal(stub.requests.length, 0);
  });
});

describe("redirects", { concurrency: 5 }, () => {
  for (const code of [301, 302, 303, 307, 308]) {
    for (const where of ["the same server", "another server"]) {
      test(`${code} to ${where}: followed on no endpoint, nor are tokens in it believed`, async (t) => {
        const home = TempHome.create(t);
        const stub = await StubServer.start(t, { routes });
        const elsewhere = where === "the same server" ? stub : await StubServer.start(t);
        elsewhere.route("/elsewhere", {
          status: 200,
          body: { ...tokens, ...endpointsOf(stub.origin), issuer: stub.origin },
        });
        // With all that could be wanted in its body.
        const redirect = {
          status: code,
          headers: { location: `${elsewhere.origin}/elsewhere` },
          body: { ...tokens, client_id: "c", device_code: "d", user_code: "u", verification_uri: "https://e.test/" },
        };
        const config = { pluginId: "memory", issuer: stub.origin, stateDir: home.stateDir, requestTimeoutMs: 5000 };
        const refused = async (call: Promise<unknown>) => {
          const error = await rejection(call, "INVALID_RESPONSE");
          assert.match(error.message, /redirects are not followed/);
          assert.deepEqual([error.retryable, error.needsLogin], [false, false]);
        };

        stub.route("/.well-known/oauth-authorization-server", redirect);
        stub.route("/.well-known/openid-configuration", redirect);
        await refused(login(config, { onVerification }));
        stub.describe(endpointsOf(stub.origin));
        for (const path of ["/register", "/device"]) {
          stub.route(path, redirect);
          await refused(login({ ...config, profile: path.slice(1) }, { onVerification }));
          stub.route(path, routes[path] as StubRoute);
        }
        // While a person decides, an answer that is not an OAuth response is transient: the login goes on, and
        // believes nothing of it.
        const controller = new AbortController();
        const { signal } = controller;
        const onProgress = ({ type }: ProgressEvent) => void (type === "retrying" && controller.abort());
        stub.route("/token", redirect);
        await rejection(login({ ...config, profile: "token" }, { onVerification, onProgress, signal }), "ABORTED");
        stub.route("/token", routes["/token"] as StubRoute);

        const before = await login(config, { onVerification });
        stub.route("/token", redirect);
        const token = await getValidAccessToken(config);
        await expireLogin(config);
        await refused(getValidAccessToken(config));
        assert.equal((await status(config)).createdAt, before.createdAt);
        assert.ok(token);
        stub.route("/revoke", redirect);
        assert.deepEqual(await logout(config), { revoked: false, removed: true });
        assert.equal(elsewhere.requestsOf("/elsewhere").length, 0);
      });
    }
  }

  test("of https to http: not followed either", async (t) => {
    const { home, stub, plugin, issuer } = await onTheNetwork(t);
    const victim = await StubServer.start(t);
    stub.describe({ ...endpointsOf(issuer), issuer });
    stub.route("/device", { status: 307, headers: { location: `${victim.origin}/device` } });
    await assert.rejects(plugin.login({ pluginId: "memory", issuer, stateDir: home.stateDir }), {
      code: "INVALID_RESPONSE",
      message: /redirects are not followed/,
    });
    assert.equal(victim.requests.length, 0);
  });
});

describe("metadata that changes after a login", () => {
  test("refresh and revocation go where the login was; the next login goes where the metadata says", async (t) => {
    const home = TempHome.create(t);
    const stub = await StubServer.start(t, { routes });
    const other = await StubServer.start(t, { routes });
    stub.describe(endpointsOf(stub.origin));
    const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
    await login(config, { onVerification });
    const discoveries = () => stub.requests.filter(({ path }) => path.includes("/.well-known/")).length;
    const asked = discoveries();

    stub.describe(endpointsOf(other.origin));
    await expireLogin(config);
    await getValidAccessToken(config);
    assert.deepEqual(await logout(config), { revoked: true, removed: true });
    assert.equal(discoveries(), asked);
    assert.equal(other.requests.length, 0);

    await login(config, { onVerification });
    assert.deepEqual(new Set(other.requests.map(({ path }) => path)), new Set(["/device", "/token"]));
    await expireLogin(config);
    await getValidAccessToken(config);
    // Secrets of the first login were never sent there.
    const shown = other.requests.map(({ form }) => form.get("refresh_token")).filter((token) => token !== null);
    assert.deepEqual(shown, ["urn:ietf:params:oauth:grant-type:device_code-1"]);
  });

  test("metadata that has become another's ends a new login, and the old one goes on", async (t) => {
    const home = TempHome.create(t);
    const stub = await StubServer.start(t, { routes });
    const evil = await StubServer.start(t, { routes });
    stub.describe(endpointsOf(stub.origin));
    const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
    await login(config, { onVerification });
    stub.describe({ ...endpointsOf(evil.origin), issuer: evil.origin });
    await rejection(login(config, { onVerification }), "ISSUER_MISMATCH");
    await expireLogin(config);
    assert.ok(await getValidAccessToken(config));
    assert.equal(evil.requests.length, 0);
  });

  test("a config that names another issuer, or another token endpoint, does not take the refresh token there", async (t) => {
    const home = TempHome.create(t);
    const stub = await StubServer.start(t, { routes });
    const evil = await StubServer.start(t, { routes });
    for (const server of [stub, evil]) server.describe(endpointsOf(server.origin));
    const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
    await login(config, { onVerification });
    await expireLogin(config);
    await rejection(getValidAccessToken({ ...config, issuer: evil.origin }), "ISSUER_MISMATCH");
    await rejection(getValidAccessToken({ ...config, tokenEndpoint: `${evil.origin}/token` }), "ISSUER_MISMATCH");
    const moved = { ...config, revocationEndpoint: `${evil.origin}/revoke` };
    assert.deepEqual(await logout(moved), { revoked: true, removed: true });
    assert.equal(stub.requestsOf("/revoke").length > 0, true);
    assert.equal(evil.requests.length, 0);
  });
});

function endpointsOf(origin: string): Record<string, string> {
  return {
    device_authorization_endpoint: `${origin}/device`,
    token_endpoint: `${origin}/token`,
    revocation_endpoint: `${origin}/revoke`,
    registration_endpoint: `${origin}/register`,
  };
}

async function life(plugin: PluginProcess, config: AuthConfig): Promise<void> {
  assert.equal((await plugin.login(config)).state, "valid");
  const rejectedToken = await plugin.accessToken(config);
  assert.notEqual(await plugin.accessToken(config, { rejectedToken }), rejectedToken);
  assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
}

/** A server that is not on loopback, as far as the plugin can see: it is reached through a proxy. */
async function onTheNetwork(t: Test, options: object = {}) {
  const home = TempHome.create(t);
  const authority = await CertificateAuthority.create(home.path);
  const tls: ServerCertificate = await authority.issue({ names: ["auth.test", "tokens.test"] });
  const stub = await StubServer.start(t, { tls: { ...tls, ...options }, routes });
  const { port } = new URL(stub.origin);
  const resolve: Record<string, string> = { [`auth.test:${port}`]: `127.0.0.1:${port}` };
  const proxy = await HttpProxy.start(t, { resolve });
  const env = home.env({ HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS: authority.path });
  const plugin = await PluginProcess.start(t, { env });
  return { home, stub, proxy, plugin, tls, resolve, issuer: `https://auth.test:${port}` };
}
