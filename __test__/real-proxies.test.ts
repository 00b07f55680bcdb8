/**
 * The whole life of a login through proxies as companies have them. The proxy's own log proves that every request took
 * that way: the server's name exists for the proxy alone.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { HiddenServer } from "./support/hidden-server.ts";
import { Scope } from "./support/lifetime.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { PrivateMounts } from "./support/private-mounts.ts";
import { type Credentials, type ProxyKind, RealProxy } from "./support/real-proxy.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

const kinds: ProxyKind[] = ["tinyproxy", "squid", "mitmproxy"];
/** With as many reserved characters as each proxy's configuration has a way to write. */
const credentialsOf: Record<ProxyKind, Credentials> = {
  tinyproxy: { user: "ada", password: "canary-Pa55" },
  squid: { user: "ada lovelace@corp", password: "canary:/?#[]@%é+" },
  mitmproxy: { user: "ada lovelace@corp", password: "canary/?#[]@%+" },
};

const scope = new Scope();
let authority: CertificateAuthority;
before(async () => {
  authority = await CertificateAuthority.create(TempHome.create(scope).path);
});
after(() => scope.end());

/** Each request by its own tunnel, or its path where the proxy reads along. */
function expectedLog(kind: ProxyKind, named: string, requests: { method: string; path: string }[]): string[] {
  return requests.map(({ method, path }) => (kind === "mitmproxy" ? `${method} ${path}` : `CONNECT ${named}`));
}

for (const kind of kinds) {
  describe(kind, { skip: RealProxy.unavailable(kind), concurrency: 3 }, () => {
    const credentials = credentialsOf[kind];
    const start = async (t: Test, demanded?: Credentials) => {
      const hidden = await HiddenServer.start(t, { authority });
      const proxy = await RealProxy.start(t, kind, {
        resolve: hidden.resolve,
        authority: authority.path,
        ...(demanded && { credentials: demanded }),
      });
      return { hidden, proxy };
    };
    const trusted = (proxy: RealProxy) => (kind === "mitmproxy" ? proxy.authority : authority.path);

    for (const [name, demanded] of [
      ["the whole life of a login", undefined],
      ["the whole life of a login, with credentials", credentials],
    ] as const) {
      test(name, async (t) => {
        const home = TempHome.create(t);
        const { hidden, proxy } = await start(t, demanded);
        const env = {
          HTTPS_PROXY: demanded ? proxy.as(demanded) : proxy.url,
          NODE_EXTRA_CA_CERTS: trusted(proxy),
        };
        const plugin = await PluginProcess.start(t, { env: home.env(env) });
        const requests = await hidden.wholeLife(plugin, home);
        assert.ok(requests.length >= 8);
        assert.deepEqual(proxy.log(), expectedLog(kind, hidden.named, requests));
      });
    }

    test("without credentials, or with wrong ones: one error without the password, and nothing gets through", async (t) => {
      const home = TempHome.create(t);
      const { hidden, proxy } = await start(t, credentials);
      const { host } = new URL(proxy.url);
      for (const url of [proxy.url, proxy.as({ user: credentials.user, password: "canary-wrong" })]) {
        const env = home.env({ HTTPS_PROXY: url, NODE_EXTRA_CA_CERTS: trusted(proxy) });
        const plugin = await PluginProcess.start(t, { env });
        const error = await failure(plugin.login(hidden.config(home)));
        // tinyproxy answers wrong ones by 401, as if it were the server; of that no more is known than that it refused.
        const unclear = kind === "tinyproxy" && url !== proxy.url;
        assert.deepEqual([error.code, error.retryable, error.needsLogin], ["NETWORK", unclear, false]);
        assert.equal(
          error.message,
          unclear
            ? `${hidden.named} could not be reached: proxy: it refused (wrong credentials, a host that it does not allow) ` +
                `or could not reach the server (HTTPS_PROXY: ${host}). Check the network connection and the proxy ` +
                "settings, then try again."
            : `${hidden.named} could not be reached through the proxy: it wants a user name and password, or others than ` +
                `it got (HTTPS_PROXY: ${host}). Correct the proxy settings and start again.`,
        );
        assert.doesNotMatch(`${plugin.child.stdout}${plugin.child.stderr}`, /canary|ada/);
      }
      assert.deepEqual(await hidden.server.requests(), []);
    });

    test("it cannot reach the server, and answers with a page: NETWORK, in words", async (t) => {
      const home = TempHome.create(t);
      const proxy = await RealProxy.start(t, kind, { resolve: { "auth.invalid:1": "127.0.0.1:1" } });
      const plugin = await PluginProcess.start(t, {
        env: home.env({ HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS: trusted(proxy) }),
      });
      const config = { pluginId: "memory", issuer: "https://auth.invalid:1", clientId: "c", stateDir: home.stateDir };
      const error = await failure(plugin.login(config));
      assert.ok(["NETWORK", "SERVER_ERROR"].includes(error.code), error.message);
      assert.equal(error.retryable, true);
      assert.match(
        error.message,
        kind === "mitmproxy" ? /HTTP 502/ : /: proxy: it refused .* or could not reach the server \(HTTPS_PROXY: /,
      );
      assert.doesNotMatch(error.message, /</);
    });
  });
}

describe("a proxy that opens TLS", { skip: RealProxy.unavailable("mitmproxy"), concurrency: 3 }, () => {
  let proxy: RealProxy;
  const resolve: Record<string, string> = {};
  before(async () => {
    proxy = await RealProxy.start(scope, "mitmproxy", { resolve, authority: authority.path });
  });
  const start = async (t: Test) => {
    const hidden = await HiddenServer.start(t, { authority });
    Object.assign(resolve, hidden.resolve);
    return hidden;
  };

  test("without its authority: an error that says what to do, and nothing is sent", async (t) => {
    const home = TempHome.create(t);
    const hidden = await start(t);
    const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy.url }) });
    const error = await failure(plugin.login(hidden.config(home)));
    assert.deepEqual(await hidden.server.requests(), []);
    const { host } = new URL(proxy.url);
    assert.deepEqual([error.code, error.retryable], ["NETWORK", false]);
    assert.equal(
      error.message,
      `The certificate of ${hidden.named} is not trusted: its issuer is unknown (HTTPS_PROXY: ${host}). If a company ` +
        "proxy or a private authority signed it, name the authority's PEM file in NODE_EXTRA_CA_CERTS or SSL_CERT_FILE " +
        "and start again; if a public authority did, the server's operator has to send the certificates between it and the authority along.",
    );
  });

  const sources: [string, (home: TempHome) => Record<string, string>][] = [
    ["NODE_EXTRA_CA_CERTS", () => ({ NODE_EXTRA_CA_CERTS: proxy.authority })],
    ["SSL_CERT_FILE", () => ({ SSL_CERT_FILE: proxy.authority })],
    ["SSL_CERT_DIR", (home) => ({ SSL_CERT_DIR: folderWith(home, proxy.authority) })],
    [
      "the second folder of SSL_CERT_DIR",
      (home) => ({ SSL_CERT_DIR: `/nowhere:${folderWith(home, proxy.authority)}` }),
    ],
    [
      "NODE_EXTRA_CA_CERTS among others, and beside SSL_CERT_FILE",
      (home) => {
        const bundle = join(home.path, "bundle.pem");
        writeFileSync(bundle, `${authority.certificate}\nnot a certificate\n${readFileSync(proxy.authority, "utf8")}`);
        return { NODE_EXTRA_CA_CERTS: bundle, SSL_CERT_FILE: authority.path };
      },
    ],
  ];
  for (const [name, variables] of sources) {
    test(`its authority by ${name}: the whole life of a login`, async (t) => {
      const home = TempHome.create(t);
      const hidden = await start(t);
      const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy.url, ...variables(home) }) });
      await hidden.wholeLife(plugin, home);
    });
  }

  test("its authority by the system's store: the whole life of a login", {
    skip: PrivateMounts.unavailable() || lacking("update-ca-certificates"),
  }, async (t) => {
    const home = TempHome.create(t);
    const mounts = await PrivateMounts.create(t);
    // Both are replaced for the processes inside only, and filled as Debian does it.
    for (const folder of ["/etc/ssl/certs", "/usr/local/share/ca-certificates"]) {
      mounts.run("mkdir", "-p", folder);
      mounts.run("mount", "-t", "tmpfs", "tmpfs", folder);
    }
    mounts.run("cp", proxy.authority, "/usr/local/share/ca-certificates/company.crt");
    mounts.run("update-ca-certificates");
    const env = home.env({ HTTPS_PROXY: proxy.url });
    const plugin = await PluginProcess.start(t, { env, launcher: mounts.launcher });
    await (await start(t)).wholeLife(plugin, home);
  });

  test("files that are of no use are named in the error", async (t) => {
    const home = TempHome.create(t);
    const hidden = await start(t);
    const empty = join(home.path, "empty.pem");
    appendFileSync(empty, "no certificate\n");
    for (const [variables, told] of [
      [{ NODE_EXTRA_CA_CERTS: "/nowhere.pem" }, /the file that NODE_EXTRA_CA_CERTS names cannot be read \(/],
      [{ NODE_EXTRA_CA_CERTS: empty }, /the file that NODE_EXTRA_CA_CERTS names holds no PEM certificate/],
      [{ SSL_CERT_FILE: empty }, /the file that SSL_CERT_FILE names holds no PEM certificate/],
      [{ SSL_CERT_DIR: "/nowhere:/neither" }, /SSL_CERT_DIR names no folder/],
    ] as const) {
      const plugin = await PluginProcess.start(t, { env: home.env({ HTTPS_PROXY: proxy.url, ...variables }) });
      const error = await failure(plugin.login(hidden.config(home)));
      assert.match(error.message, /its issuer is unknown/);
      assert.match(error.message, told);
    }
  });
});

function lacking(program: string): string | false {
  return spawnSync(program, ["--help"]).error ? `there is no ${program}` : false;
}

function folderWith(home: TempHome, certificate: string): string {
  const folder = join(home.path, "certificates");
  mkdirSync(folder);
  writeFileSync(join(folder, "company.pem"), readFileSync(certificate));
  return folder;
}

function failure(call: Promise<unknown>): Promise<ReportedError> {
  return call.then(
    () => assert.fail("it came through"),
    (reason: ReportedError) => reason,
  );
}
