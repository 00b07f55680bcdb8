/** Corporate networks: proxies from the environment, for login, refresh and logout alike. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { HttpProxy } from "./support/proxy.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

for (const [name, environment] of [
  ["HTTPS_PROXY", (url: string) => ({ HTTPS_PROXY: url })],
  ["https_proxy", (url: string) => ({ https_proxy: url })],
  ["ALL_PROXY with credentials", (url: string) => ({ ALL_PROXY: url.replace("//", "//user:p%40ss@") })],
] as const) {
  test(`through ${name}: login, refresh, logout`, async (t) => {
    const { home, authority, config, target, address } = await hidden(t);
    const credentials = name.includes("credentials") ? { credentials: "user:p@ss" } : {};
    const proxy = await HttpProxy.start(t, { resolve: { [target]: address }, ...credentials });
    const env = home.env({ ...environment(proxy.url), NODE_EXTRA_CA_CERTS: authority.path });
    const plugin = await PluginProcess.start(t, { env });
    assert.equal((await plugin.login(config)).state, "valid");
    const rejectedToken = await plugin.accessToken(config);
    assert.equal(await plugin.accessToken(config, { rejectedToken }), "RENEWED");
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
    assert.ok(proxy.requests.length >= 5);
    for (const request of proxy.requests) {
      assert.deepEqual([request.method, request.target, request.status], ["CONNECT", target, 200]);
    }
  });
}

test("NO_PROXY goes around the proxy", async (t) => {
  const { home, authority, config, target, address } = await hidden(t);
  const proxy = await HttpProxy.start(t, { resolve: { [target]: address } });
  const env = { HTTPS_PROXY: proxy.url, NO_PROXY: "auth.test", NODE_EXTRA_CA_CERTS: authority.path };
  const plugin = await PluginProcess.start(t, { env: home.env(env) });
  // Nothing resolves that name here: not through the proxy means not at all.
  await assert.rejects(plugin.login(config), { code: "NETWORK" });
  assert.equal(proxy.requests.length, 0);
});

test("a proxy that is down is NETWORK", async (t) => {
  const { home, config } = await hidden(t);
  const proxy = await HttpProxy.start(t);
  await proxy.stop();
  const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy.url }) });
  await assert.rejects(plugin.login(config), { code: "NETWORK", retryable: true });
});

test("loopback never goes through a proxy", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const proxy = await HttpProxy.start(t);
  const config = configFor(server, home.stateDir);
  const env = home.env({ HTTP_PROXY: proxy.url, http_proxy: proxy.url, ALL_PROXY: proxy.url });
  const plugin = await PluginProcess.start(t, { env });
  const loggedIn = plugin.login(config);
  await new Person().approve(complete(await plugin.verification()));
  assert.equal((await loggedIn).state, "valid");
  assert.equal(proxy.requests.length, 0);
});

/** An authorization server whose name only a proxy knows. */
async function hidden(t: Parameters<typeof TempHome.create>[0]) {
  const home = TempHome.create(t);
  const authority = await CertificateAuthority.create(home.path);
  const stub = await StubServer.start(t, { tls: await authority.issue({ names: ["auth.test"] }) });
  const { port } = new URL(stub.origin);
  const target = `auth.test:${port}`;
  const issuer = `https://${target}`;
  stub.describe({
    issuer,
    device_authorization_endpoint: `${issuer}/device`,
    token_endpoint: `${issuer}/token`,
    revocation_endpoint: `${issuer}/revoke`,
  });
  stub.route("/device", {
    status: 200,
    body: {
      device_code: "d",
      user_code: "ABCD-EFGH",
      verification_uri: `${issuer}/verify`,
      expires_in: 600,
      interval: 1,
    },
  });
  stub.route("/token", ({ form }) => ({
    status: 200,
    body: {
      access_token: form.get("grant_type") === "refresh_token" ? "RENEWED" : "FIRST",
      refresh_token: "r",
      token_type: "Bearer",
      expires_in: 3600,
    },
  }));
  stub.route("/revoke", { status: 200 });
  const config = { pluginId: "memory", issuer, clientId: "c", stateDir: home.stateDir };
  return { home, authority, config, target, address: `127.0.0.1:${port}` };
}
