/**
 * Failures before HTTP: names, proxies and TLS, in processes with a misleading environment. The real authorization
 * server speaks https under a name that exists nowhere; only the right proxy finds it.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AuthConfig } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { CertificateAuthority, type ServerCertificate } from "./support/certificate-authority.ts";
import { Scope } from "./support/lifetime.ts";
import { complete } from "./support/login.ts";
import { knowNoName } from "./support/name-server.ts";
import { mend } from "./support/network-fault.ts";
import { Person } from "./support/person.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { PrivateMounts } from "./support/private-mounts.ts";
import { HttpProxy, Wire } from "./support/proxy.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

const scope = new Scope();
const host = "auth.invalid";
let authority: CertificateAuthority;
let server: AuthorizationServer;
/** host:port of the server by its name, and where it really is. */
let named: string;
let real: string;

before(async () => {
  authority = await CertificateAuthority.create(TempHome.create(scope).path);
  const tls = await authority.issue({ names: [host, "127.0.0.1"] });
  server = await AuthorizationServer.start(scope, { tls, host });
  named = new URL(server.origin).host;
  real = named.replace(host, "127.0.0.1");
});
after(() => scope.end());

interface Environment {
  name: string;
  retryable: boolean;
  told: RegExp;
  /** Environment variables of a process that cannot reach the server. */
  env(t: Test): Promise<Record<string, string>>;
  /** The command that starts it, where that can be had. */
  launcher?(t: Test): Promise<string[]>;
}

const environments: Environment[] = [
  {
    name: "a name that does not resolve",
    retryable: true,
    told: /auth\.invalid:\d+ could not be reached: dns: /,
    env: async () => trusting({}),
    launcher: async (t) => {
      if (PrivateMounts.unavailable()) {
        return [];
      }
      const mounts = await PrivateMounts.create(t);
      await knowNoName(t, mounts, TempHome.create(t).path);
      return mounts.launcher;
    },
  },
  {
    name: "a proxy that is down",
    retryable: true,
    told: /could not be reached: proxy: connection refused \(HTTPS_PROXY: /,
    env: async (t) => {
      const proxy = await HttpProxy.start(t);
      await proxy.stop();
      return trusting({ HTTPS_PROXY: proxy.url });
    },
  },
  {
    name: "a proxy that cannot reach the server",
    retryable: true,
    told: /could not be reached: proxy: /,
    env: async (t) => through(t, "127.0.0.1:1"),
  },
  {
    name: "a proxy that wants a password",
    retryable: false,
    told: /could not be reached through the proxy: it wants a user name and password/,
    env: async (t) => trusting({ HTTPS_PROXY: (await HttpProxy.start(t, { credentials: "ada:secret" })).url }),
  },
  {
    name: "a portal that answers http on the port for https",
    retryable: true,
    told: /could not be reached: what answers there does not speak TLS \(the port of plain HTTP, /,
    env: async (t) => through(t, new URL((await StubServer.start(t)).origin).host),
  },
  {
    name: "a TLS handshake that never ends",
    retryable: true,
    told: /could not be reached: connecting took too long/,
    env: async (t) => {
      const wire = await Wire.start(t, server.origin.replace(host, "127.0.0.1"));
      wire.misbehave({ atRequestByte: 1, ending: "stall" });
      return through(t, `127.0.0.1:${wire.port}`);
    },
  },
  {
    name: "a certificate of an unknown authority",
    retryable: false,
    told: /certificate of auth\.invalid:\d+ is not trusted: its issuer is unknown/,
    env: async (t) => ({ HTTPS_PROXY: (await HttpProxy.start(t, { resolve: { [named]: real } })).url }),
  },
  {
    name: "a certificate that has expired",
    retryable: false,
    told: /is not trusted: it has expired, or this machine's clock is wrong/,
    env: async (t) => impostor(t, await authority.issue({ names: [host], expired: true })),
  },
  {
    name: "a certificate of another host",
    retryable: false,
    told: /is not trusted: it was made for another host name/,
    env: async (t) => impostor(t, await authority.issue({ names: ["portal.example.com"] })),
  },
];

describe("names, proxies and TLS", { concurrency: 5 }, () => {
  for (const { name, retryable, told, env, launcher } of environments) {
    test(name, async (t) => {
      const { home, config, atHome } = await loggedIn(t, ["refresh", "last-tenth", "logout"]);
      const astray = await PluginProcess.start(t, {
        env: home.env(await env(t)),
        launcher: (await launcher?.(t)) ?? [],
      });
      const fails = async (call: Promise<unknown>, codes = ["NETWORK"], expected = told) => {
        const error = await call.then(
          () => assert.fail("it came through"),
          (reason: ReportedError) => reason,
        );
        assert.ok(codes.includes(error.code), error.message);
        assert.match(error.message, expected);
        assert.deepEqual([error.retryable, error.needsLogin], [retryable, false]);
      };
      const expired = { ...config, profile: "refresh" };
      const credential = new StoredCredential(home.credentialPath("memory", "refresh"));
      const { refresh } = credential.read();
      credential.expire();
      const lastTenth = { ...config, profile: "last-tenth" };
      const ending = new StoredCredential(home.credentialPath("memory", "last-tenth"));
      ending.age({ lifetime: 3600, remaining: 55 });
      const { access } = ending.read();

      const { issuer: _issuer, clientId, ...registering } = { ...config, ...server.endpoints };
      const away = { requestTimeoutMs: 2000, profile: "new" };
      await Promise.all([
        // Discovery, device authorization, registration. A question that may be asked again needs no word on how far
        // it got.
        fails(astray.login({ ...config, ...away }), ["NETWORK", "TIMEOUT"], /auth\.invalid:\d+ .*\.$/),
        fails(astray.login({ ...registering, ...away, clientId: clientId as string })),
        fails(astray.login({ ...registering, ...away })),
        fails(astray.accessToken({ ...expired, requestTimeoutMs: 2000 })),
        astray.accessToken({ ...lastTenth, requestTimeoutMs: 2000 }).then((token) => assert.equal(token, access)),
        astray
          .call("logout", [{ ...config, requestTimeoutMs: 2000, profile: "logout" }])
          .then((out) => assert.deepEqual(out, { revoked: false, removed: true })),
      ]);
      assert.equal((await astray.status(expired)).state, "valid");
      // In the pause as well.
      assert.equal(await astray.accessToken(lastTenth), access);
      assert.equal(await timesSent(refresh), 0);

      // At home again, the same login goes on.
      credential.letPauseEnd(60);
      ending.letPauseEnd(60);
      assert.ok(await atHome.accessToken(expired));
      assert.notEqual(await atHome.accessToken(lastTenth), access);
      assert.equal(await timesSent(refresh), 1);
    });
  }

  test("a machine without certificates: those that Node brings are trusted, unless SSL_CERT_FILE names others", {
    skip: PrivateMounts.unavailable(),
  }, async (t) => {
    const home = TempHome.create(t);
    const mounts = await PrivateMounts.create(t);
    mounts.run("mount", "-t", "tmpfs", "tmpfs", "/etc/ssl");
    // Node's list cannot be changed, but a process's view of it can.
    const brings = join(home.path, "brings.cjs");
    writeFileSync(
      brings,
      `const { Module } = require("node:module");
       const pem = require("node:fs").readFileSync(${JSON.stringify(authority.path)}, "utf8");
       const load = Module._load;
       Module._load = (name, ...more) => name === "node:tls" ? { rootCertificates: [pem] } : load(name, ...more);`,
    );
    const proxy = await HttpProxy.start(t, { resolve: { [named]: real } });
    const env = { HTTPS_PROXY: proxy.url, NODE_OPTIONS: `--require ${brings}` };
    const config = configOf(home);

    const bare = await PluginProcess.start(t, { env: home.env(env), launcher: mounts.launcher });
    const login = bare.login(config);
    await approve(complete(await bare.verification()));
    assert.equal((await login).state, "valid");

    const others = { ...env, SSL_CERT_FILE: (await CertificateAuthority.create(home.path, "Another CA")).path };
    const choosy = await PluginProcess.start(t, { env: home.env(others), launcher: mounts.launcher });
    await assert.rejects(choosy.login({ ...config, profile: "other" }), { code: "NETWORK" });
  });

  test("certificates of a folder are trusted as well, the machine's own or that of SSL_CERT_DIR; with that one, no others", {
    skip: PrivateMounts.unavailable(),
  }, async (t) => {
    const home = TempHome.create(t);
    const proxy = await HttpProxy.start(t, { resolve: { [named]: real } });
    const config = configOf(home);
    const mounts = await PrivateMounts.create(t);
    // The machine has a bundle with another's certificate, and a folder with the one of the server.
    const other = await CertificateAuthority.create(home.path, "Another CA");
    mounts.run("mount", "-t", "tmpfs", "tmpfs", "/etc/ssl");
    mounts.run("mkdir", "/etc/ssl/certs", "/etc/ssl/others");
    mounts.run("cp", other.path, "/etc/ssl/certs/ca-certificates.crt");
    mounts.run("cp", authority.path, "/etc/ssl/certs/0123abcd.0");
    mounts.run("cp", other.path, "/etc/ssl/others/0123abcd.0");
    for (const [profile, folders, isTrusted] of [
      ["machine", undefined, true],
      ["named", "/etc/ssl/none:/etc/ssl/certs", true],
      ["others", "/etc/ssl/others", false],
    ] as const) {
      const env = home.env({ HTTPS_PROXY: proxy.url, ...(folders && { SSL_CERT_DIR: folders }) });
      const plugin = await PluginProcess.start(t, { env, launcher: mounts.launcher });
      const login = plugin.login({ ...config, profile });
      const asked = plugin.verification();
      const isAsked = await Promise.race([asked.then(() => true), login.catch(({ code }) => code)]);
      assert.equal(isAsked, isTrusted || "NETWORK", profile);
      if (isTrusted) {
        await approve(complete(await asked));
        assert.equal((await login).state, "valid", profile);
      }
    }
  });

  for (const [name, begin] of [
    ["the proxy goes down", ({ wire }: Route) => wire.refuse()],
    ["the proxy no longer reaches the server", ({ resolve }: Route) => lead(resolve, "127.0.0.1:1")],
    ["a portal answers http instead of https", ({ resolve, portal }: Route) => lead(resolve, portal)],
  ] as const) {
    test(`while a login polls, ${name}: it goes on`, async (t) => {
      const home = TempHome.create(t);
      const resolve = { [named]: real };
      const proxy = await HttpProxy.start(t, { resolve });
      const wire = await Wire.start(t, proxy.url);
      const portal = new URL((await StubServer.start(t)).origin).host;
      const env = home.env(trusting({ HTTPS_PROXY: `http://127.0.0.1:${wire.port}` }));
      const plugin = await PluginProcess.start(t, { env });
      const loggedIn = plugin.login(configOf(home));
      const verification = await plugin.verification();
      await begin({ wire, resolve, portal });
      await approve(complete(verification));
      const { progress } = await retrying(plugin);
      assert.match(String(progress.detail), /auth\.invalid:\d+ could not be reached/);
      lead(resolve, real);
      await mend(wire);
      assert.equal((await loggedIn).state, "valid");
    });
  }
});

interface Route {
  wire: Wire;
  resolve: Record<string, string>;
  portal: string;
}

function lead(resolve: Record<string, string>, where: string): void {
  resolve[named] = where;
}

async function retrying(plugin: PluginProcess): Promise<{ progress: { type: string; detail?: string } }> {
  for (;;) {
    const { progress } = await plugin.child.event("progress");
    const told = progress as { type: string; detail?: string };
    if (told.type === "retrying") {
      return { progress: told };
    }
  }
}

function trusting(env: Record<string, string>): Record<string, string> {
  return { NODE_EXTRA_CA_CERTS: authority.path, ...env };
}

/** By a proxy that leads the server's name there. */
async function through(t: Test, where: string): Promise<Record<string, string>> {
  return trusting({ HTTPS_PROXY: (await HttpProxy.start(t, { resolve: { [named]: where } })).url });
}

/** A proxy that leads the server's name to another server with that certificate. */
async function impostor(t: Test, tls: ServerCertificate): Promise<Record<string, string>> {
  return through(t, new URL((await StubServer.start(t, { tls })).origin).host);
}

function configOf(home: TempHome): AuthConfig {
  const scopes = ["memory", "offline_access"];
  return { pluginId: "memory", issuer: server.issuer, clientId: "public", scopes, stateDir: home.stateDir };
}

/** A home with logins of these profiles, and a process in it that reaches the server. */
async function loggedIn(t: Test, profiles: string[]) {
  const home = TempHome.create(t);
  const config = configOf(home);
  const atHome = await PluginProcess.start(t, { env: home.env(await through(t, real)) });
  const logins = profiles.map((profile) => atHome.login({ ...config, profile }));
  for (const _profile of profiles) {
    await approve(complete(await atHome.verification()));
  }
  await Promise.all(logins);
  return { home, config, atHome };
}

/** How often the server has seen that refresh token. */
async function timesSent(refresh: string | undefined): Promise<number> {
  const refreshes = await server.requests({ grant: "refresh_token" });
  return refreshes.filter(({ form }) => form?.refresh_token === refresh).length;
}

/** The person's browser finds the server. */
function approve(verificationUriComplete: string): Promise<void> {
  return new Person({ ca: authority.certificate }).approve(verificationUriComplete.replace(named, real));
}
