/** Corporate networks: proxies from the environment, for login, refresh and logout alike. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net, { type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import tls from "node:tls";
import type { AuthConfig } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { CertificateAuthority, type ServerCertificate } from "./support/certificate-authority.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { PrivateMounts } from "./support/private-mounts.ts";
import { PrivateNetwork } from "./support/private-network.ts";
import { HttpProxy } from "./support/proxy.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

/** A proxy that is not there. */
const nobody = "http://127.0.0.1:1";

describe("proxies", { concurrency: 8 }, () => {
  for (const [name, environment] of [
    ["HTTPS_PROXY", (url: string) => ({ HTTPS_PROXY: url })],
    ["https_proxy", (url: string) => ({ https_proxy: url })],
    ["ALL_PROXY with credentials", (url: string) => ({ ALL_PROXY: url.replace("//", "//user:p%40ss@") })],
    ["all_proxy, without a scheme", (url: string) => ({ all_proxy: url.replace("http://", "") })],
    ["https_proxy before all others", (url: string) => ({ https_proxy: url, HTTPS_PROXY: nobody, ALL_PROXY: nobody })],
    ["HTTPS_PROXY before ALL_PROXY", (url: string) => ({ https_proxy: "", HTTPS_PROXY: url, all_proxy: nobody })],
    [
      "a NO_PROXY that names others",
      (url: string) => ({ HTTPS_PROXY: url, NO_PROXY: "h.test,uth.test, auth.test.test auth.test:1" }),
    ],
  ] as const) {
    test(`through ${name}: login, refresh, logout`, async (t) => {
      const { home, authority, config, target, address } = await hidden(t);
      const credentials = name.includes("credentials") ? { credentials: "user:p@ss" } : {};
      const proxy = await HttpProxy.start(t, { resolve: { [target]: address }, ...credentials });
      const env = home.env({ ...environment(proxy.url), NODE_EXTRA_CA_CERTS: authority.path });
      await life(await PluginProcess.start(t, { env }), config);
      assert.ok(proxy.requests.length >= 5);
      for (const request of proxy.requests) {
        assert.deepEqual([request.method, request.target, request.status], ["CONNECT", target, 200]);
      }
    });
  }

  for (const list of ["auth.test", ".test", "*.test", "*", "other.test AUTH.test.", "auth.test:PORT", "*:PORT"]) {
    test(`NO_PROXY=${list} goes around the proxy`, { skip: PrivateMounts.unavailable() }, async (t) => {
      const { home, authority, config, target } = await hidden(t);
      const proxy = await HttpProxy.start(t);
      const mounts = await withHosts(t, home, "127.0.0.1 auth.test");
      const [, port = ""] = target.split(":");
      const NO_PROXY = list.replace("PORT", port);
      const env = home.env({ HTTPS_PROXY: proxy.url, NO_PROXY, NODE_EXTRA_CA_CERTS: authority.path });
      await life(await PluginProcess.start(t, { env, launcher: mounts.launcher }), config);
      assert.equal(proxy.requests.length, 0);
    });
  }

  for (const [name, address, list] of [
    ["an address", "192.0.2.7", "192.0.2.7"],
    ["a network", "192.0.2.7", "10.0.0.0/8,192.0.2.0/29"],
    ["an address with its port", "192.0.2.7", "192.0.2.7:PORT"],
    ["an IPv6 address", "[2001:db8::7]", "2001:db8::7"],
    ["an IPv6 network", "[2001:db8::7]", "2001:db8::/32"],
    ["everything", "[2001:db8::7]", "*"],
  ] as const) {
    test(`NO_PROXY with ${name} goes around the proxy`, { skip: PrivateNetwork.unavailable() }, async (t) => {
      const home = TempHome.create(t);
      const network = await PrivateNetwork.create(t);
      network.addAddress(address.replace(/[[\]]/g, ""));
      const env = home.env({ HTTPS_PROXY: nobody, NO_PROXY: list.replace("PORT", "7") });
      const plugin = await PluginProcess.start(t, { env, launcher: network.launcher });
      // Nobody listens there: the refusal names no proxy, where it was asked it would.
      const config = { pluginId: "memory", issuer: `https://${address}:7`, clientId: "c", stateDir: home.stateDir };
      await assert.rejects(plugin.login(config), {
        message:
          `${address}:7 could not be reached: connection refused. Check the network connection and the proxy settings, ` +
          "then try again.",
      });
    });
  }

  for (const [name, value, told] of [
    [
      "a SOCKS proxy",
      "socks5://ada:canary@127.0.0.1:PORT",
      "names a SOCKS proxy, which is not supported. Name an http proxy",
    ],
    [
      "a SOCKS proxy that resolves names",
      "socks5h://127.0.0.1:PORT",
      "names a SOCKS proxy, which is not supported. Name an http proxy",
    ],
    ["another scheme", "ftp://ada:canary@127.0.0.1:PORT", "names neither an http nor an https proxy"],
    [
      "an unencoded password",
      "http://ada:canary/x@127.0.0.1:PORT",
      "is no URL such as http://proxy.example.com:3128. Percent-encode reserved characters in its user name and password",
    ],
  ] as const) {
    test(`${name} in ALL_PROXY is refused: no request goes there, nor past it`, {
      skip: PrivateMounts.unavailable(),
    }, async (t) => {
      const { home, authority, config, stub } = await hidden(t);
      const proxy = await HttpProxy.start(t);
      const mounts = await withHosts(t, home, "127.0.0.1 auth.test");
      const ALL_PROXY = value.replace("PORT", new URL(proxy.url).port);
      const env = home.env({ ALL_PROXY, NODE_EXTRA_CA_CERTS: authority.path });
      const plugin = await PluginProcess.start(t, { env, launcher: mounts.launcher });
      await assert.rejects(plugin.login(config), {
        code: "NETWORK",
        retryable: false,
        message:
          `${new URL(config.issuer).host} could not be reached through the proxy: ALL_PROXY ${told}. ` +
          "Correct the proxy settings and start again.",
      });
      assert.equal(stub.requests.length, 0);
      assert.equal(proxy.requests.length, 0);
    });
  }

  test("an IPv6 address through a proxy: an error that says what to do instead", async (t) => {
    const home = TempHome.create(t);
    const stub = await StubServer.start(t);
    const { host } = new URL(stub.origin);
    const proxy = await HttpProxy.start(t, { resolve: { "[2001:db8::7]:443": host } });
    const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy.url }) });
    const config = { pluginId: "memory", issuer: "https://[2001:db8::7]", clientId: "c", stateDir: home.stateDir };
    await assert.rejects(plugin.login(config), {
      code: "NETWORK",
      message: /no IPv6 address is reached by TLS through a proxy: use a name, or list it in NO_PROXY \(/,
    });
  });

  test("HTTP_PROXY alone is not for https, and the error says so", async (t) => {
    const { home, config } = await hidden(t);
    const proxy = await HttpProxy.start(t);
    const plugin = await PluginProcess.start(t, { env: home.env({ HTTP_PROXY: proxy.url, http_proxy: proxy.url }) });
    await assert.rejects(plugin.login(config), {
      code: "NETWORK",
      message: /dns: .* \(HTTP_PROXY is for http URLs; the proxy for https is HTTPS_PROXY\)/,
    });
    assert.equal(proxy.requests.length, 0);
  });

  test("an https proxy: through it with its certificate, and without an error that names it", async (t) => {
    const { home, authority, config, target, address } = await hidden(t);
    const behind = await HttpProxy.start(t, { resolve: { [target]: address } });
    const proxy = await secured(t, behind.url, await authority.issue({ names: ["localhost"] }));
    const trusting = { HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: authority.path };
    await life(await PluginProcess.start(t, { env: home.env(trusting) }), config);
    assert.ok(behind.requests.length >= 5);
    const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy }) });
    await assert.rejects(plugin.login(config), {
      code: "NETWORK",
      retryable: false,
      message: /is not trusted: it is the proxy's own, its issuer is unknown \(HTTPS_PROXY: localhost:\d+\)/,
    });
  });

  for (const [name, answer, told, retryable] of [
    ["closes in CONNECT", { bytes: "" }, /: proxy: it closed the connection \(HTTPS_PROXY: /, true],
    ["closes in its answer", { bytes: "HTTP/1.1 200" }, /: proxy: it closed the connection \(HTTPS_PROXY: /, true],
    ["resets in CONNECT", "reset", /: proxy: .*connection reset.* \(HTTPS_PROXY: /, true],
    ["answers 407 with a page", page(407), /: it wants a user name and password, or others than it got \(/, false],
    ["answers 502 with a page", page(502), /: proxy: it refused .* or could not reach the server \(/, true],
    ["answers 302 to a portal", page(302), /: proxy: it refused .* or could not reach the server \(/, true],
    ["answers something else than HTTP", { bytes: "SSH-2.0-x\r\n\r\n" }, /: proxy: it refused .* \(/, true],
    ["hangs", "stall", /: connecting took too long \(HTTPS_PROXY: /, true],
  ] as const) {
    test(`a proxy that ${name}: NETWORK, in words, and the login stays`, async (t) => {
      const { home, authority, config, target, address } = await hidden(t);
      const good = await HttpProxy.start(t, { resolve: { [target]: address } });
      const atHome = await PluginProcess.start(t, {
        env: home.env({ HTTPS_PROXY: good.url, NODE_EXTRA_CA_CERTS: authority.path }),
      });
      await atHome.login(config);
      const credential = new StoredCredential(home.credentialPath("memory"));
      credential.expire();
      const bad = await connectAnswering(t, answer);
      const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: bad }) });
      const short = { ...config, requestTimeoutMs: 1000 };
      // Discovery may be asked again at no risk: there a hanging proxy is nothing but an answer that did not come.
      const expected = {
        code: answer === "stall" ? "TIMEOUT" : "NETWORK",
        retryable,
        message: answer === "stall" ? /./ : told,
      };
      await assert.rejects(plugin.login(short), expected);
      await assert.rejects(plugin.accessToken(short), { code: "NETWORK", retryable, needsLogin: false, message: told });
      assert.equal((await plugin.status(short)).state, "valid");
      assert.deepEqual(await plugin.call("logout", [short]), { revoked: false, removed: true });
    });
  }

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
});

/** Login, refresh and logout. */
async function life(plugin: PluginProcess, config: AuthConfig): Promise<void> {
  assert.equal((await plugin.login(config)).state, "valid");
  const rejectedToken = await plugin.accessToken(config);
  assert.equal(await plugin.accessToken(config, { rejectedToken }), "RENEWED");
  assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
}

/** Where processes find this in /etc/hosts. */
async function withHosts(t: Test, home: TempHome, line: string): Promise<PrivateMounts> {
  const mounts = await PrivateMounts.create(t);
  const hosts = join(home.path, "hosts");
  writeFileSync(hosts, `${line}\n`);
  mounts.run("mount", "--bind", hosts, "/etc/hosts");
  return mounts;
}

function page(status: number) {
  const body = "<html><h1>canary</h1></html>";
  const head = `HTTP/1.1 ${status} No\r\nlocation: https://portal.test/\r\ncontent-type: text/html`;
  return { bytes: `${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}` };
}

/** A proxy that answers CONNECT like that; gives its URL. */
async function connectAnswering(t: Test, answer: "reset" | "stall" | { bytes: string }): Promise<string> {
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    socket.once("data", () => {
      if (answer === "reset") socket.resetAndDestroy();
      else if (answer !== "stall") socket.end(answer.bytes);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Puts TLS before the proxy; returns its URL. */
async function secured(t: Test, url: string, certificate: ServerCertificate): Promise<string> {
  const { hostname, port } = new URL(url);
  const server = tls.createServer(certificate, (socket) => {
    const behind = net.connect(Number(port), hostname);
    socket.on("error", () => behind.destroy()).on("close", () => behind.destroy());
    behind.on("error", () => socket.destroy()).on("close", () => socket.destroy());
    socket.pipe(behind).pipe(socket);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.close();
  });
  return `https://localhost:${(server.address() as AddressInfo).port}`;
}

/** An authorization server with a name that only a proxy knows. */
async function hidden(t: Test) {
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
  return { home, authority, config, target, stub, address: `127.0.0.1:${port}` };
}
