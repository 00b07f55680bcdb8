/**
 * Every error code through every function, with a secret in every position: a program that prints all it can, with
 * all debug output on, prints no secret, and no file but the store's holds one.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { type AuthConfig, login } from "../index.js";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { Child } from "./support/child.ts";
import { exchange } from "./support/exchange.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { HttpProxy } from "./support/proxy.ts";
import { type StubAnswer, type StubHandler, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const secrets = {
  deviceCode: "canary-device-code",
  access: "canary-access-token",
  refresh: "canary-refresh-token",
  idToken: "canary-id-token",
  code: "canary-authorization-code",
  clientSecret: "canary-client-secret",
  registrationToken: "canary-registration-token",
  cookie: "canary-cookie",
  unknown: "canary-unknown-member",
};
const all = Object.values(secrets).join(" ");
const endpoints = ["/.well-known/oauth-authorization-server", "/register", "/device", "/token", "/revoke"];

interface Login {
  stub: StubServer;
  home: TempHome;
  config: AuthConfig;
  /** The credential file. */
  path: string;
  lifetime: Lifetime;
}

interface Scenario {
  /** The expected result of each of these functions. */
  ends: Record<string, string>;
  /** Changes the server, the store or the config; may answer with more of the environment. */
  arrange(login: Login): undefined | Record<string, string> | Promise<undefined | Record<string, string>>;
}

/** A server that describes its error by all that it was sent, in every spelling. */
const oauthError =
  (error: string): StubHandler =>
  ({ form, headers, body }) => {
    const basic = headers.authorization ?? "";
    const decoded = Buffer.from(basic.slice("Basic ".length), "base64").toString();
    const sent = [...form.values(), basic, decoded].join(" ");
    const members = { error_description: sent, error_uri: `https://example.com/?${body}`, message: sent, trace: all };
    return { status: 400, body: { error, ...members } };
  };

const everywhere = (answer: StubAnswer) => (login: Login) => {
  for (const path of endpoints) login.stub.route(path, answer);
  return undefined;
};

const scenarios: Record<string, Scenario> = {
  "all is well": {
    ends: {
      getValidAccessToken: "ok",
      rejectedToken: "ok",
      requiredScope: "SCOPE_REQUIRED",
      login: "ok",
      authorizeDevice: "ok",
      refreshTokens: "ok",
      logout: "ok",
      doctor: "ok",
      profileOrder: "ok",
      authorizationHeaders: "ok",
      importToken: "ok",
      "login through a browser": "ok",
      "login by pasting": "INVALID_RESPONSE",
    },
    arrange: () => undefined,
  },
  LOGIN_REQUIRED: {
    ends: { getValidAccessToken: "LOGIN_REQUIRED", refreshTokens: "LOGIN_REQUIRED", "kit.fetch": "LOGIN_REQUIRED" },
    arrange: ({ stub }) => stub.route("/token", oauthError("invalid_grant")) as undefined,
  },
  OAUTH_ERROR: {
    ends: { getValidAccessToken: "OAUTH_ERROR", login: "OAUTH_ERROR", refreshTokens: "OAUTH_ERROR" },
    arrange: ({ stub }) => stub.route("/token", oauthError("invalid_scope")) as undefined,
  },
  ACCESS_DENIED: {
    ends: { login: "ACCESS_DENIED", authorizeDevice: "ACCESS_DENIED", "provider.run": "ACCESS_DENIED" },
    arrange: ({ stub }) => stub.route("/token", oauthError("access_denied")) as undefined,
  },
  DEVICE_CODE_EXPIRED: {
    ends: { login: "DEVICE_CODE_EXPIRED", authorizeDevice: "DEVICE_CODE_EXPIRED" },
    arrange: ({ stub }) => stub.route("/token", oauthError("expired_token")) as undefined,
  },
  "SERVER_ERROR and ABORTED": {
    ends: { getValidAccessToken: "SERVER_ERROR", login: "ABORTED", authorizeDevice: "ABORTED", logout: "ok" },
    arrange({ stub }) {
      for (const path of ["/token", "/revoke"]) stub.route(path, { status: 502, body: `<html>${all}` });
      return undefined;
    },
  },
  INVALID_RESPONSE: {
    ends: { getValidAccessToken: "SERVER_ERROR", login: "INVALID_RESPONSE", refreshTokens: "INVALID_RESPONSE" },
    arrange: everywhere({ status: 200, headers: { "content-type": "text/html" }, body: `<html>${all}` }),
  },
  "INVALID_RESPONSE, by a redirect": {
    ends: { login: "INVALID_RESPONSE", getValidAccessToken: "INVALID_RESPONSE" },
    arrange: everywhere({ status: 307, headers: { location: `https://example.com/?${encodeURIComponent(all)}` } }),
  },
  "INVALID_RESPONSE, by members that are none": {
    ends: { login: "INVALID_RESPONSE", getValidAccessToken: "INVALID_RESPONSE" },
    arrange: ({ stub }) =>
      stub.route("/token", {
        status: 200,
        body: { access_token: { value: all }, token_type: all, expires_in: all, refresh_token: [all] },
      }) as undefined,
  },
  NETWORK: {
    ends: { getValidAccessToken: "NETWORK", login: "NETWORK", refreshTokens: "NETWORK", logout: "ok" },
    arrange: everywhere({
      bytes: `HTTP/1.1 200 ${all}\r\ncontent-length: 9999\r\nx: ${all}\r\n\r\n${all}`,
      ending: "reset",
    }),
  },
  "NETWORK, by what is no HTTP": {
    ends: { getValidAccessToken: "NETWORK", login: "NETWORK", refreshTokens: "NETWORK" },
    arrange: everywhere({ bytes: `${all}\r\n\r\n`, ending: "close" }),
  },
  TIMEOUT: {
    ends: { getValidAccessToken: "TIMEOUT", login: "TIMEOUT", refreshTokens: "TIMEOUT" },
    arrange(login) {
      login.config.requestTimeoutMs = 1000;
      return everywhere({ bytes: `HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n${all}`, ending: "stall" })(login);
    },
  },
  ISSUER_MISMATCH: {
    ends: { getValidAccessToken: "ISSUER_MISMATCH", login: "ISSUER_MISMATCH", authorizeDevice: "ISSUER_MISMATCH" },
    async arrange(login) {
      const other = await StubServer.start(login.lifetime);
      other.describe({ issuer: `https://example.com/${secrets.unknown}`.slice(0, 20) });
      login.config.issuer = other.origin;
      return undefined;
    },
  },
  DEVICE_FLOW_UNSUPPORTED: {
    ends: { login: "DEVICE_FLOW_UNSUPPORTED", authorizeDevice: "DEVICE_FLOW_UNSUPPORTED" },
    arrange: ({ stub }) =>
      stub.describe({ device_authorization_endpoint: undefined, canary: secrets.unknown }) as undefined,
  },
  REGISTRATION_FAILED: {
    ends: { login: "REGISTRATION_FAILED", authorizeDevice: "REGISTRATION_FAILED" },
    arrange({ stub, path }) {
      rmSync(join(dirname(path), "clients"), { recursive: true });
      stub.route("/register", {
        status: 400,
        body: { error: "invalid_client_metadata", trace: all, registration_access_token: secrets.registrationToken },
      });
      return undefined;
    },
  },
  "INVALID_CONFIG, an unknown option": {
    ends: Object.fromEntries(
      ["status", "listProfiles", "getValidAccessToken", "login", "authorizeDevice", "refreshTokens", "logout"].map(
        (name) => [name, "INVALID_CONFIG"],
      ),
    ),
    arrange: ({ config }) => void Object.assign(config, { clientSecrte: secrets.clientSecret }) as undefined,
  },
  "INVALID_CONFIG, a secret in the wrong place": {
    ends: { status: "INVALID_CONFIG", login: "INVALID_CONFIG", getValidAccessToken: "INVALID_CONFIG" },
    arrange: ({ config }) =>
      void Object.assign(config, { extraParameters: { client_secret: secrets.clientSecret } }) as undefined,
  },
  "INVALID_CONFIG, a secret of the wrong type": {
    ends: { status: "INVALID_CONFIG", login: "INVALID_CONFIG" },
    arrange: ({ config }) => void Object.assign(config, { clientSecret: { value: secrets.clientSecret } }) as undefined,
  },
  "INVALID_CONFIG, a URL with a secret": {
    ends: { status: "INVALID_CONFIG", login: "INVALID_CONFIG" },
    arrange: ({ config }) =>
      void Object.assign(config, { tokenEndpoint: `https://user:${secrets.clientSecret}@example.com/` }) as undefined,
  },
  STORE_LOCKED: {
    ends: { getValidAccessToken: "STORE_LOCKED", login: "STORE_LOCKED", logout: "STORE_LOCKED", status: "ok" },
    async arrange({ path, config, lifetime }) {
      config.lockTimeoutMs = 200;
      const holder = spawn("flock", ["-x", `${path}.lock`, "sh", "-c", "echo held; exec cat"]);
      lifetime.after(async () => {
        holder.stdin.end();
        await once(holder, "close");
      });
      await once(holder.stdout, "data");
      return undefined;
    },
  },
  STORE_CORRUPT: {
    ends: { getValidAccessToken: "STORE_CORRUPT", status: "STORE_CORRUPT" },
    arrange: ({ path }) => writeFileSync(path, readFileSync(path, "utf8").slice(0, -9)) as undefined,
  },
  "STORE_CORRUPT, by members of the wrong type": {
    ends: { getValidAccessToken: "STORE_CORRUPT", status: "STORE_CORRUPT" },
    arrange: ({ path }) => edit(path, { refresh: [secrets.refresh], lastRefresh: secrets.access }),
  },
  STORE_VERSION: {
    ends: {
      getValidAccessToken: "STORE_VERSION",
      login: "STORE_VERSION",
      status: "STORE_VERSION",
      logout: "STORE_VERSION",
    },
    arrange: ({ path }) => edit(path, { version: 2 }),
  },
  STORE_IO: {
    ends: { getValidAccessToken: "STORE_IO", login: "STORE_IO", status: "STORE_IO", logout: "STORE_IO" },
    arrange({ path }) {
      renameSync(path, join(dirname(path), "kept.json"));
      mkdirSync(path);
      return undefined;
    },
  },
};

test("no error code is left out", () => {
  const source = readFileSync(new URL("../src/error.rs", import.meta.url), "utf8");
  const codes = new Set([...source.matchAll(/=> "([A-Z_]+)",/g)].map(([, code]) => code));
  for (const { ends } of Object.values(scenarios)) {
    for (const code of Object.values(ends)) codes.delete(code);
  }
  assert.deepEqual([...codes], []);
});

describe("nothing is given away", { concurrency: 6 }, () => {
  for (const [name, { ends, arrange }] of Object.entries(scenarios)) {
    test(name, async (t) => {
      const login = await loggedIn(t);
      edit(login.path, { expires: 1, refreshedAt: 0 });
      const env = await arrange(login);
      const { codes, stub } = { codes: await everyFunction(t, login, env), stub: login.stub };
      for (const [called, code] of Object.entries(ends)) {
        assert.equal(codes[called], code, called);
      }
      const cookies = stub.requests.filter(({ headers }) => headers.cookie !== undefined);
      assert.deepEqual(cookies, [], "no cookie comes back");
    });
  }

  const { access, refresh, idToken, clientSecret } = secrets;
  const client = { clientId: "registered", clientSecret };
  const elsewhere = {
    "auth-profiles": { version: 1, profiles: { "memory:a": { type: "oauth", provider: "memory", access, refresh } } },
    "claude-code": { claudeAiOauth: { accessToken: access, refreshToken: refresh, expiresAt: 1 } },
    codex: { tokens: { access_token: access, refresh_token: refresh, id_token: idToken } },
    "qwen-code": { access_token: access, refresh_token: refresh, expiry_date: 1 },
  } as const;
  for (const [format, members] of Object.entries(elsewhere)) {
    const text = JSON.stringify({ ...members, more: "a member that we do not know" });
    for (const [name, kept, ends] of [
      ["all is well", text, { status: "ok", rejectedToken: "ok", login: "ok", doctor: "ok", logout: "ok" }],
      ["LOGIN_REQUIRED", text, { rejectedToken: "LOGIN_REQUIRED", status: "ok" }],
      ["STORE_CORRUPT", text.slice(0, -9), { rejectedToken: "STORE_CORRUPT", login: "STORE_CORRUPT", doctor: "ok" }],
    ] as const) {
      test(`${format}: ${name}`, async (t) => {
        const login = await loggedIn(t);
        if (name === "LOGIN_REQUIRED") login.stub.route("/token", oauthError("invalid_grant"));
        const credentialsPath = join(login.home.path, "kept.json");
        writeFileSync(credentialsPath, kept);
        const credentialsFormat = format as keyof typeof elsewhere;
        Object.assign(login.config, { credentialsFormat, credentialsPath, ...client });
        const codes = await everyFunction(t, login);
        assert.deepEqual(Object.fromEntries(Object.keys(ends).map((called) => [called, codes[called]])), ends);
        if (format === "codex" && name !== "STORE_CORRUPT") {
          assert.equal(existsSync(credentialsPath), false, "a logout leaves what `codex logout` leaves: no file");
          return;
        }
        const now = readFileSync(credentialsPath, "utf8");
        assert.ok(name === "STORE_CORRUPT" ? now === kept : now.includes("that we do not know"));
      });
    }
  }

  for (const fails of [undefined, "read", "write", "withLock"] as const) {
    test(`a plugin's own store${fails === undefined ? "" : `, whose ${fails} fails with all it knows`}`, async (t) => {
      const login = await loggedIn(t);
      const kept = { "memory/default": readFileSync(login.path, "utf8") };
      rmSync(dirname(login.path), { recursive: true });
      const { stateDir: _, ...config } = login.config;
      const codes = await everyFunction(t, {
        ...login,
        config: { ...config, ...client, store: { kept, fails } as never },
      });
      const code = fails === undefined ? "ok" : "STORE_IO";
      for (const called of ["rejectedToken", "login", "login through a browser", "importToken", "logout"]) {
        assert.equal(codes[called], code, called);
      }
    });
  }

  const password = "canary-proxy-password";
  for (const [name, proxied, code] of [
    ["a proxy that refuses the password", (url: string) => url.replace("//", `//user:${password}@`), "NETWORK"],
    ["a proxy that is not there", () => `http://user:${password}@127.0.0.1:9`, "NETWORK"],
    ["a proxy whose URL is none", () => `http://user:${password}@[:bad`, "NETWORK"],
    ["a proxy of a scheme that is none", () => `canary-proxy-password://user:${password}@127.0.0.1:9`, "NETWORK"],
  ] as const) {
    test(name, async (t) => {
      const login = await loggedIn(t);
      edit(login.path, {
        expires: 1,
        refreshedAt: 0,
        issuer: "https://auth.test",
        tokenEndpoint: "https://auth.test/token",
      });
      const proxy = await HttpProxy.start(t, { credentials: `user:another ${password}` });
      Object.assign(login.config, { issuer: "https://auth.test" });
      const codes = await everyFunction(
        t,
        login,
        { HTTPS_PROXY: proxied(proxy.url), https_proxy: proxied(proxy.url) },
        ["getValidAccessToken", "login", "refreshTokens", "logout"],
      );
      assert.deepEqual(codes, { getValidAccessToken: code, login: code, refreshTokens: code, logout: "ok" });
    });
  }

  test("a certificate that is not trusted", async (t) => {
    const login = await loggedIn(t);
    const authority = await CertificateAuthority.create(login.home.path);
    const stranger = await StubServer.start(t, { tls: await authority.issue(), host: "localhost" });
    login.config.issuer = stranger.origin;
    edit(login.path, { expires: 1, issuer: stranger.origin, tokenEndpoint: `${stranger.origin}/token` });
    const codes = await everyFunction(t, login, {});
    assert.equal(codes.getValidAccessToken, "NETWORK");
    assert.equal(codes.login, "NETWORK");
    assert.deepEqual(stranger.requests, []);
  });
});

/**
 * Calls all functions in a process of its own; asserts that neither its output nor any file but the store's holds a
 * secret.
 */
async function everyFunction(t: Lifetime, login: Login, env: Record<string, string> = {}, functions?: string[]) {
  const { home, config, stub, path } = login;
  const cwd = join(home.path, "cwd");
  mkdirSync(cwd);
  const child = Child.start(t, "every-function.mjs", {
    cwd,
    env: home.env({
      NODE_DEBUG: "*",
      RUST_LOG: "trace",
      RUST_BACKTRACE: "full",
      SSLKEYLOGFILE: join(home.path, "tls-keys"),
      ...env,
    }),
  });
  const { access, refresh, clientSecret, code } = secrets;
  child.send({ config, functions, api: `${stub.origin}/api`, kept: { access, refresh, clientSecret, code } });
  const browsed = browser(child, code, functions);
  const { codes } = (await child.event("codes")) as unknown as { codes: Record<string, string> };
  assert.deepEqual(await child.exit, { code: 0, signal: null });
  await browsed;

  const verifiers = stub.requests.flatMap(({ form }) => form.get("code_verifier") ?? []);
  const secret = new RegExp(["canary", ...verifiers].join("|"));
  for (const [stream, text] of Object.entries({ stdout: child.stdout, stderr: child.stderr })) {
    const found = secret.exec(text);
    const at = found?.index ?? 0;
    assert.ok(found === null, `${stream}: …${text.slice(Math.max(0, at - 200), at + 60)}…`);
  }
  const store = dirname(path);
  for (const file of files(home.path)) {
    const isStored =
      file === config.credentialsPath ||
      ([store, join(store, "clients")].includes(dirname(file)) && /\.json(\.corrupt-\d+)?$/.test(file));
    const text = readFileSync(file, "latin1");
    assert.ok(isStored || !secret.test(text), file);
    assert.doesNotMatch(text, /canary-(device|cookie|unknown|authorization)|CNRY-CODE/, file);
  }
  assert.ok(!existsSync(join(home.path, "tls-keys")), "SSLKEYLOGFILE has no say");
  return codes;
}

/** A browser that comes back at once, where a login gets that far. */
async function browser(child: Child, code: string, functions?: string[]): Promise<void> {
  if (functions !== undefined) return;
  const opened = await Promise.race([child.event("open").catch(() => undefined), child.exit]);
  if (opened === undefined || !("event" in opened)) return;
  const { searchParams } = new URL(String(opened.url));
  const back = new URL(searchParams.get("redirect_uri") ?? "");
  back.search = String(new URLSearchParams({ code, state: searchParams.get("state") ?? "" }));
  assert.doesNotMatch((await exchange(String(back))).text, /canary/);
}

async function loggedIn(t: Parameters<typeof TempHome.create>[0]): Promise<Login> {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  const headers = { "set-cookie": `session=${secrets.cookie}`, "x-trace": all };
  stub.describe({
    registration_endpoint: `${stub.origin}/register`,
    authorization_endpoint: `${stub.origin}/authorize`,
  });
  stub.route("/register", {
    status: 201,
    headers,
    body: {
      client_id: "registered",
      client_secret: secrets.clientSecret,
      client_secret_expires_at: 0,
      registration_access_token: secrets.registrationToken,
      registration_client_uri: `${stub.origin}/register/1`,
      token_endpoint_auth_method: "client_secret_basic",
    },
  });
  stub.route("/device", {
    status: 200,
    headers,
    body: {
      device_code: secrets.deviceCode,
      user_code: "CNRY-CODE",
      verification_uri: "https://example.com/device",
      expires_in: 600,
      interval: 1,
      message: secrets.unknown,
    },
  });
  stub.route("/token", {
    status: 200,
    headers,
    body: {
      access_token: secrets.access,
      refresh_token: secrets.refresh,
      id_token: secrets.idToken,
      token_type: "Bearer",
      expires_in: 3600,
      trace: secrets.unknown,
    },
  });
  stub.route("/revoke", { status: 200, headers });
  stub.route("/api", { status: 401, headers });
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: stub.origin,
    stateDir: home.stateDir,
    pkce: true,
    clientAuthentication: "client_secret_basic",
  };
  const { path } = await login(config, { onVerification: () => {} });
  return { stub, home, config, path, lifetime: t };
}

function edit(path: string, members: object): undefined {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...members }));
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}
