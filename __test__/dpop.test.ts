/**
 * DPoP (RFC 9449) against the real authorization server, which gives the client no token without a proof and wants its
 * nonce in each, and against an API that checks every proof.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { decodeJwt, decodeProtectedHeader } from "jose";
import {
  type AuthConfig,
  type AuthError,
  authorizationHeaders,
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  logout,
  refreshTokens,
  status,
} from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { statusText } from "../plugin/status-text.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import {
  AuthorizationServer,
  type AuthorizationServerOptions,
  type LoggedRequest,
} from "./support/authorization-server.ts";
import { DpopApi } from "./support/dpop-api.ts";
import { exchange } from "./support/exchange.ts";
import { approvedLogin, configFor, expireLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";
import { WallClock } from "./support/wall-clock.ts";

type Test = Parameters<typeof TempHome.create>[0];

const refreshes = { grant: "refresh_token" } as const;
const skip = WallClock.missing ?? false;

async function started(t: Test, options: AuthorizationServerOptions = {}) {
  const server = await AuthorizationServer.start(t, { dpop: "nonce", ...options });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir, { clientId: "bound", dpop: true });
  return { server, home, config };
}

async function loggedIn(t: Test, options: AuthorizationServerOptions = {}) {
  const { server, home, config } = await started(t, options);
  await approvedLogin(config);
  const credential = new StoredCredential(home.credentialPath("memory"));
  return { server, home, config, credential };
}

/** The public key that signed the proof. */
const signer = ({ headers }: LoggedRequest) => JSON.stringify(decodeProtectedHeader(headers.dpop ?? "").jwk);
const nonceOf = ({ headers }: LoggedRequest) => decodeJwt(headers.dpop ?? "").nonce;

const call = async (config: AuthConfig, url: string, nonce?: string) => {
  const headers = await authorizationHeaders(config, { method: "GET", url, ...(nonce !== undefined && { nonce }) });
  return exchange(url, { headers: { ...headers } });
};

describe("against the real server, with DPoP and its nonce required", { concurrency: 4 }, () => {
  test("a login, and requests that prove the key", async (t) => {
    const { server, home, config } = await started(t);
    const { status: after } = await approvedLogin(config);
    assert.equal(after.dpop, true);
    const [asked] = await server.requests({ endpoint: "device_authorization" });
    assert.equal(asked?.headers.dpop, undefined);
    const polls = await server.requests({ grant: "device_code" });
    // The first poll learns the nonce; every later poll sends it.
    assert.deepEqual(
      polls.map(({ error }) => error).filter((error) => error === "use_dpop_nonce"),
      ["use_dpop_nonce"],
    );
    assert.equal(new Set(polls.map(signer)).size, 1);

    const api = await DpopApi.start(t, server);
    const url = `${api.origin}/notes?q=tea`;
    assert.deepEqual(JSON.parse((await call(config, url)).text), { subject: "ada" });
    // Once more: no proof is used twice.
    assert.equal((await call(config, url)).status, 200);
    const stored = JSON.parse(readFileSync(home.credentialPath("memory"), "utf8"));
    assert.equal(stored.version, 1);
    assert.equal(stored.tokenType, "DPoP");
  });

  test("the server's own resource, userinfo, takes them as well, and refuses the string alone", async (t) => {
    const { server, home } = await started(t);
    const config = configFor(server, home.stateDir, {
      clientId: "bound",
      dpop: true,
      scopes: ["openid", "offline_access"],
    });
    await approvedLogin(config);
    const userinfo = `${server.issuer}/me`;
    const { status: known, text } = await call(config, userinfo);
    assert.deepEqual([known, JSON.parse(text)], [200, { sub: "ada" }]);
    const token = await getValidAccessToken(config);
    assert.equal((await exchange(userinfo, { headers: { authorization: `Bearer ${token}` } })).status, 401);
  });

  test("refreshed with rotation, again and again, always with the key of the login", async (t) => {
    const { server, config, credential } = await loggedIn(t);
    const { dpopKey } = credential.read();
    const api = await DpopApi.start(t, server);
    for (const _round of [1, 2, 3]) {
      const { refresh } = credential.read();
      await expireLogin(config);
      assert.equal((await call(config, api.origin)).status, 200);
      assert.notEqual(credential.read().refresh, refresh);
    }
    assert.equal(credential.read().dpopKey, dpopKey);
    const asked = await server.requests(refreshes);
    assert.deepEqual(
      asked.map(({ status }) => status),
      [200, 200, 200],
    );
    const polls = await server.requests({ grant: "device_code" });
    assert.equal(new Set([...polls, ...asked].map(signer)).size, 1);
  });

  test("a nonce that is outdated in the middle costs a repetition, and no refresh token", async (t) => {
    const { server, config } = await loggedIn(t);
    const outdated = await server.intercept({ ...refreshes, nth: 1 }, { headers: { "dpop-nonce": "outdated" } });
    await expireLogin(config);
    await getValidAccessToken(config);
    await outdated.remove();
    await expireLogin(config);
    await getValidAccessToken(config);
    const asked = await server.requests(refreshes);
    assert.deepEqual(
      asked.map(({ status, error }) => error ?? status),
      [200, "use_dpop_nonce", 200],
    );
    assert.equal(nonceOf(asked[1] as LoggedRequest), "outdated");
    // Asked for a nonce, the login answers on the connection that it was asked on.
    assert.equal(asked[1]?.connection, asked[2]?.connection);
    assert.equal(asked[1]?.form?.refresh_token, asked[2]?.form?.refresh_token);
  });

  test("another process uses the same key; ten at once cost one refresh", async (t) => {
    const { server, home, config } = await loggedIn(t);
    const api = await DpopApi.start(t, server);
    const plugins = await Promise.all([1, 2, 3].map(() => PluginProcess.start(t, { env: home.env() })));
    await expireLogin(config);
    const request = { method: "GET", url: api.origin };
    const headers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => plugins[index % 3]?.call("authorizationHeaders", [config, request])),
    );
    for (const each of headers) {
      assert.equal((await exchange(api.origin, { headers: each as Record<string, string> })).status, 200);
    }
    const asked = await server.requests(refreshes);
    // A process of its own does not know the nonce yet.
    assert.deepEqual(
      asked.map(({ status, error }) => error ?? status),
      ["use_dpop_nonce", 200],
    );
    const [poll] = await server.requests({ grant: "device_code" });
    assert.equal(new Set([poll as LoggedRequest, ...asked].map(signer)).size, 1);
  });

  test("another key in the file: a login is asked for, once; with the right one back the login lives", async (t) => {
    const { server, home, config, credential } = await loggedIn(t);
    const elsewhere = configFor(server, home.stateDir, { ...config, profile: "other" });
    await approvedLogin(elsewhere);
    const other = new StoredCredential(home.credentialPath("memory", "other")).read();
    await expireLogin(config);
    const right = credential.read();
    writeFileSync(credential.path, JSON.stringify({ ...right, dpopKey: other.dpopKey }));

    const refused = await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.ok(refused.needsLogin);
    assert.match(refused.message, /invalid_grant.*Log in again\.$/);
    assert.equal((await status(config)).state, "login_required");
    const before = (await server.requests(refreshes)).length;
    await rejection(authorizationHeaders(config, { method: "GET", url: "https://a.example" }), "LOGIN_REQUIRED");
    assert.equal((await server.requests(refreshes)).length, before);
    assert.equal(credential.read().refresh, right.refresh);

    writeFileSync(credential.path, JSON.stringify({ ...credential.read(), dpopKey: right.dpopKey }));
    assert.ok(await getValidAccessToken(config));
    assert.equal((await status(config)).state, "valid");
  });

  test("a new login makes a new key; a logout leaves none", async (t) => {
    const { home, config, credential } = await loggedIn(t);
    const { dpopKey } = credential.read();
    await approvedLogin(config);
    const second = credential.read().dpopKey;
    assert.notEqual(second, dpopKey);
    await logout(config);
    for (const file of readdirSync(home.stateDir, { recursive: true, withFileTypes: true })) {
      if (file.isFile()) {
        assert.ok(!readFileSync(join(file.parentPath ?? file.path, file.name), "utf8").includes(String(second)));
      }
    }
  });

  test("a revocation proves the key, for servers that revoke nothing without", async (t) => {
    const { server, config } = await loggedIn(t);
    assert.deepEqual(await logout(config), { revoked: true, removed: true });
    const requests = await server.requests({ endpoint: "revocation" });
    assert.ok(requests.length > 0);
    for (const { headers } of requests) {
      assert.match(String(headers.dpop), /^ey/);
    }
  });
});

describe("killed in the middle of a refresh", { concurrency: 3, skip: await Tracer.unavailable() }, () => {
  for (const [name, calls] of [
    ["before its request is sent", "writev,sendto,sendmsg"],
    ["once the answer is written, before the rename", "/^rename"],
  ] as const) {
    test(name, async (t) => {
      const { server, home, config, credential } = await loggedIn(t);
      const { dpopKey } = credential.read();
      await expireLogin(config);
      const victim = await PluginProcess.start(t, { env: home.env() });
      const tracer = await Tracer.attach(t, victim.child.pid, { calls }, { kill: true });
      await assert.rejects(victim.call("getValidAccessToken", [config]), ({ code }) => code === undefined);
      assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);

      const api = await DpopApi.start(t, server);
      assert.equal((await call({ ...config, lockTimeoutMs: 0 }, api.origin)).status, 200);
      assert.equal(credential.read().dpopKey, dpopKey);
      // The stored refresh token is the live one, and the key still is its key.
      await expireLogin(config);
      assert.equal((await call(config, api.origin)).status, 200);
    });
  }
});

describe("what servers may do", { concurrency: 4 }, () => {
  test("no DPoP on offer: said before a code is shown", async (t) => {
    const { server, config } = await started(t, { dpop: "off" });
    const shown: unknown[] = [];
    const refused = await rejection(
      login(config, { onVerification: (verification) => void shown.push(verification) }),
      "INVALID_CONFIG",
    );
    assert.match(refused.message, /`dpop` is true, but http.* does not offer DPoP with ES256/);
    assert.deepEqual(shown, []);
    assert.deepEqual(await server.requests({ endpoint: "device_authorization" }), []);
  });

  test("endpoints without metadata: the config is trusted", async (t) => {
    const { server, config } = await started(t, { discovery: "none" });
    const { issuer, ...rest } = config;
    const { deviceAuthorizationEndpoint, tokenEndpoint } = server.endpoints;
    const { status: after } = await approvedLogin({ ...rest, deviceAuthorizationEndpoint, tokenEndpoint });
    assert.equal(after.dpop, true);
  });

  test("bearer tokens although DPoP was asked for are discarded, and nobody is logged in", async (t) => {
    const { server, config } = await started(t);
    await server.intercept({ grant: "device_code" }, { edit: { token_type: "Bearer" } });
    const refused = await rejection(approvedLogin(config), "INVALID_RESPONSE");
    assert.match(refused.message, /`token_type` Bearer is not DPoP/);
    assert.equal((await status(config)).state, "logged_out");
  });

  test("the client of these tests gets nothing without a proof", async (t) => {
    const { config } = await started(t);
    const { dpop, ...rest } = config;
    const refused = await rejection(approvedLogin(rest), "OAUTH_ERROR");
    assert.equal(refused.oauthError, "invalid_grant");
  });

  test("a login without a key goes on as it was, and gives a bearer token alone", async (t) => {
    const { server, home } = await started(t, { dpop: "offered" });
    const config = configFor(server, home.stateDir);
    await approvedLogin(config);
    const api = await ProtectedApi.start(t, server);
    const headers = await authorizationHeaders({ ...config, dpop: true }, { method: "GET", url: api.origin });
    assert.deepEqual(headers, { Authorization: `Bearer ${await getValidAccessToken(config)}` });
    assert.equal((await exchange(`${api.origin}/memories`, { headers: { ...headers } })).status, 200);
    assert.equal((await status(config)).dpop, undefined);
  });

  test("a clock that is seven hours wrong: with the server's nonce it does not matter", { skip }, async (t) => {
    const { server, home, config } = await loggedIn(t);
    const { plugin } = await sevenHoursLate(t, home);
    await expireLogin(config);
    const rejectedToken = await getValidAccessToken(config);
    assert.notEqual(await plugin.accessToken(config, { rejectedToken }), rejectedToken);
    assert.equal((await server.requests(refreshes)).at(-1)?.status, 200);
  });

  test("a clock that is seven hours wrong, and no nonce: the clock is named, and the login survives", {
    skip,
  }, async (t) => {
    const { server, home, config } = await loggedIn(t, { dpop: "offered" });
    const { plugin, clock } = await sevenHoursLate(t, home);
    const rejectedToken = await getValidAccessToken(config);
    await assert.rejects(plugin.accessToken(config, { rejectedToken }), ({ code, message, needsLogin }) => {
      assert.equal(code, "OAUTH_ERROR");
      assert.match(message, /invalid_dpop_proof.*25(19|20)\d s apart: set this machine's clock/);
      return needsLogin === false;
    });
    clock.set("+0");
    assert.notEqual(await getValidAccessToken(config, { rejectedToken }), rejectedToken);
    assert.equal((await server.requests(refreshes)).at(-1)?.status, 200);
  });

  test("authorizeDevice and refreshTokens have no place for the key", async (t) => {
    const { config } = await started(t);
    await rejection(authorizeDevice(config, { onVerification: () => {} }), "INVALID_CONFIG");
    await rejection(refreshTokens(config, "r"), "INVALID_CONFIG");
  });
});

async function sevenHoursLate(t: Test, home: TempHome) {
  const clock = WallClock.create(home);
  clock.set("-7h");
  return { clock, plugin: await PluginProcess.start(t, { env: home.env(clock.env) }) };
}

describe("requests to the service", { concurrency: 4 }, () => {
  test("a service with a nonce of its own: given once, it is used until the next", async (t) => {
    const { server, config } = await loggedIn(t);
    const api = await DpopApi.start(t, server);
    api.nonce = "first";
    const refused = await call(config, api.origin);
    assert.equal(refused.status, 401);
    assert.match(String(refused.headers["www-authenticate"]), /use_dpop_nonce/);
    assert.equal((await call(config, api.origin, String(refused.headers["dpop-nonce"]))).status, 200);
    assert.equal((await call(config, `${api.origin}/other`)).status, 200);
    // This nonce stays with the service: the authorization server has its own.
    await expireLogin(config);
    assert.equal((await call(config, api.origin)).status, 200);
    const asked = await server.requests(refreshes);
    assert.deepEqual(
      asked.map(({ status }) => status),
      [200],
    );
    assert.notEqual(nonceOf(asked[0] as LoggedRequest), "first");
  });

  test("a rejected token is replaced, and the headers are for the new one", async (t) => {
    const { server, config } = await loggedIn(t);
    const api = await DpopApi.start(t, server);
    const rejectedToken = await getValidAccessToken(config);
    await server.revokeAccessTokens();
    assert.equal((await call(config, api.origin)).status, 401);
    const request = { method: "GET", url: api.origin };
    const headers = await authorizationHeaders(config, request, { rejectedToken });
    assert.equal((await exchange(api.origin, { headers: { ...headers } })).status, 200);
  });

  test("what is wrong with a call is said, and no token is given", async (t) => {
    const { config } = await loggedIn(t);
    for (const request of [
      undefined,
      {},
      { method: "GET" },
      { method: "GET", url: "http://api.example.com/" },
      { method: "GET", url: 5 },
      { method: "", url: "https://api.example.com/" },
      { method: "GET", url: "https://api.example.com/", nounce: "x" },
    ]) {
      await rejection(authorizationHeaders(config, request as never), "INVALID_CONFIG");
    }
    const stop = AbortSignal.abort(new Error("enough"));
    const request = { method: "GET", url: "https://api.example.com/" };
    const aborted = await rejection(authorizationHeaders(config, request, { signal: stop }), "ABORTED");
    assert.match(String(aborted.cause), /enough/);
    await rejection(authorizationHeaders({ ...config, profile: "nobody" }, request), "LOGIN_REQUIRED");
  });

  test("a proof is for the method that fetch sends, however it is written", async (t) => {
    const { config } = await loggedIn(t);
    // Not through `http`, which knows few methods and none in small letters.
    const sent: string[] = [];
    const server = createServer((socket) => {
      socket.once("data", (data) => {
        sent.push(`${data}`.split(" ", 1)[0] ?? "");
        socket.end("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
      });
    });
    t.after(() => server.close());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const methods = ["delete", "get", "Head", "options", "post", "put", "patch", "PATCH", "Patch", "query", "M-Search"];
    const proven: unknown[] = [];
    for (const method of methods) {
      const { DPoP = "" } = await authorizationHeaders(config, { method, url });
      proven.push(decodeJwt(DPoP).htm);
      await fetch(url, { method });
    }
    assert.equal(sent.length, methods.length);
    assert.deepEqual(proven, sent);
    assert.ok(sent.includes("patch") && sent.includes("POST"));
  });

  test("a method is what fetch takes for one (RFC 9110, token)", async (t) => {
    const { config } = await loggedIn(t);
    const url = "https://api.example.com/";
    const isTaken = async (method: string) => {
      try {
        await authorizationHeaders(config, { method, url });
        return true;
      } catch (error) {
        assert.equal((error as AuthError).code, "INVALID_CONFIG");
        return false;
      }
    };
    const isSent = (method: string) => {
      try {
        return new Request(url, { method }) !== undefined;
      } catch {
        return false;
      }
    };
    const differing: string[] = [];
    for (let code = 0; code < 256; code += 1) {
      const method = `X${String.fromCharCode(code)}Y`;
      if ((await isTaken(method)) !== isSent(method)) differing.push(method);
    }
    assert.deepEqual(differing, []);
  });

  test("the kit's fetch does it all by itself", async (t) => {
    const { server, home, config } = await started(t);
    const { pluginId, stateDir, ...options } = config;
    const host = new FakeHost({ id: "memory", stateDir: home.stateDir });
    const auth = pluginAuth(host.api, options);
    await approvedLogin(config);
    const api = await DpopApi.start(t, server);
    const statuses = () => api.requests.splice(0).map(({ status }) => status);

    assert.deepEqual(await (await auth.fetch(`${api.origin}/notes?q=tea#top`)).json(), { subject: "ada" });
    assert.deepEqual(statuses(), [200]);

    api.nonce = "first";
    assert.equal((await auth.fetch(api.origin, { method: "post", body: "again" })).status, 200);
    assert.deepEqual(
      api.requests.map(({ body }) => body),
      ["again", "again"],
    );
    assert.deepEqual(statuses(), [401, 200]);
    assert.equal((await auth.fetch(new URL(api.origin))).status, 200);
    assert.deepEqual(statuses(), [200]);
    // A new nonce with an answer that is no refusal saves the round trip (RFC 9449 section 8.2).
    api.nextNonce = "second";
    assert.equal((await auth.fetch(new Request(api.origin))).status, 200);
    assert.equal((await auth.fetch(api.origin)).status, 200);
    assert.deepEqual(
      api.requests.map(({ nonce }) => nonce),
      ["first", "second"],
    );
    assert.deepEqual(statuses(), [200, 200]);

    // A revoked token and an outdated nonce at once.
    await server.revokeAccessTokens();
    api.nextNonce = undefined;
    api.nonce = "third";
    assert.equal((await auth.fetch(api.origin)).status, 200);
    assert.deepEqual(statuses(), [401, 401, 200]);
    assert.equal((await server.requests(refreshes)).length, 1);

    const headers = await auth.authorizationHeaders({ method: "GET", url: api.origin });
    assert.match(headers.Authorization, /^DPoP /);
    assert.match(statusText(await auth.status(), "Memory"), /^ {2}bound +to a key of this login \(DPoP\)$/m);
  });

  test("the kit's fetch follows a redirect with a new proof on the same origin, and with none elsewhere", async (t) => {
    const { server, home, config } = await started(t);
    const { pluginId, stateDir, ...options } = config;
    const auth = pluginAuth(new FakeHost({ id: "memory", stateDir: home.stateDir }).api, options);
    await approvedLogin(config);
    const api = await DpopApi.start(t, server);
    const elsewhere = await StubServer.start(t, {
      routes: { "/file": { status: 200, headers: { "dpop-nonce": "foreign" }, body: { from: "elsewhere" } } },
    });
    const seen = () => api.requests.splice(0).map(({ line, status }) => `${line} ${status}`);
    Object.assign(api.redirects, {
      "/moved": [301, "/notes"],
      "/made": [303, "notes?q=1"],
      "/kept": [308, `${api.origin}/notes`],
      "/away": [302, `${elsewhere.origin}/file`],
      "/round": [302, "/round"],
    });

    assert.deepEqual(await (await auth.fetch(`${api.origin}/moved`)).json(), { subject: "ada" });
    assert.deepEqual(seen(), ["GET /moved 301", "GET /notes 200"]);
    // The second step requires a nonce: the work of the first step is not repeated.
    const posted = { method: "POST", body: "tea", headers: { "content-type": "text/plain" } };
    api.nonce = "first";
    assert.equal((await auth.fetch(`${api.origin}/made`, posted)).status, 200);
    assert.deepEqual(seen(), ["POST /made 401", "POST /made 303", "GET /notes?q=1 200"]);
    assert.equal((await auth.fetch(new Request(`${api.origin}/moved`))).status, 200);
    assert.equal((await auth.fetch(`${api.origin}/kept`, posted)).status, 200);
    assert.deepEqual(
      api.requests.map(({ body }) => body),
      ["", "", "tea", "tea"],
    );
    assert.deepEqual(seen(), ["GET /moved 301", "GET /notes 200", "POST /kept 308", "POST /notes 200"]);

    const away = await auth.fetch(`${api.origin}/away`, { headers: { "x-trace": "1" } });
    assert.deepEqual(await away.json(), { from: "elsewhere" });
    const headers = elsewhere.requests[0]?.headers;
    assert.deepEqual([headers?.authorization, headers?.dpop, headers?.["x-trace"]], [undefined, undefined, "1"]);
    // The server's nonce is its own: the next request to the service carries the service's.
    assert.equal((await auth.fetch(api.origin)).status, 200);
    assert.deepEqual(seen(), ["GET /away 302", "GET / 200"]);

    assert.equal((await auth.fetch(`${api.origin}/moved`, { redirect: "manual" })).status, 301);
    await assert.rejects(auth.fetch(`${api.origin}/moved`, { redirect: "error" }), TypeError);
    seen();
    await assert.rejects(auth.fetch(`${api.origin}/round`), /redirected more than 20 times/);
    assert.equal(seen().length, 21);
  });

  test("the kit's fetch: a nonce stays with the origin that sent it", async (t) => {
    const { server, home, config } = await started(t);
    const { pluginId, stateDir, ...options } = config;
    const apis = [await DpopApi.start(t, server), await DpopApi.start(t, server)];
    const origins = apis.map(({ origin }) => origin);
    const auth = pluginAuth(new FakeHost({ id: "memory", stateDir: home.stateDir }).api, { ...options, origins });
    await approvedLogin(config);
    for (const [nth, api] of apis.entries()) api.nonce = `of-${nth}`;
    for (const origin of [...origins, ...origins]) assert.equal((await auth.fetch(origin)).status, 200);
    for (const [nth, { requests }] of apis.entries()) {
      // Asked for once; neither service has seen the other's.
      assert.deepEqual(
        requests.map(({ nonce, status }) => [nonce, status]),
        [
          [undefined, 401],
          [`of-${nth}`, 200],
          [`of-${nth}`, 200],
        ],
      );
    }
  });

  test("a service with no DPoP in its challenge takes no bound tokens: that is said, and no refresh is spent", async (t) => {
    const { server, home, config } = await started(t);
    const { pluginId, stateDir, ...options } = config;
    // Each of its own, since the token goes to the first origin alone.
    const kit = () => pluginAuth(new FakeHost({ id: "memory", stateDir: home.stateDir }).api, options);
    await approvedLogin(config);
    const bearer = await ProtectedApi.start(t, server);
    const auth = kit();
    for (const turn of [1, 2]) {
      const error = await rejection(auth.fetch(`${bearer.origin}/memories`), "INVALID_CONFIG");
      assert.ok(error.message.startsWith(`${bearer.origin} takes no tokens that are bound to a key`), error.message);
      assert.match(error.message, /leave `dpop` out and log in again\.$/);
      assert.equal(error.needsLogin, false);
      assert.equal(bearer.requests.length, turn);
    }
    assert.deepEqual(await server.requests(refreshes), []);
    assert.equal((await auth.status()).state, "valid");

    // A service that names DPoP as well, or another scheme, or has accepted a bound token before, may mean this token.
    const challenge = (header: string) => ({ status: 401, headers: { "www-authenticate": header } });
    const accepted = { status: 200, body: {} };
    for (const [index, answers] of [
      [challenge('Bearer error="invalid_token", DPoP algs="ES256"'), accepted],
      [challenge('Basic realm="tea"'), accepted],
      [accepted, challenge("Bearer"), accepted],
    ].entries()) {
      const service = await StubServer.start(t, { routes: { "/": answers } });
      const { fetch } = kit();
      while (service.requests.length < answers.length) assert.equal((await fetch(service.origin)).status, 200);
      const granted = (await server.requests(refreshes)).filter(({ status }) => status === 200);
      assert.equal(granted.length, index + 1);
    }
  });

  test("the kit's fetch refreshes nothing for a proof that is refused, and sends no stream twice", async (t) => {
    const { server, home, config } = await started(t);
    const { pluginId, stateDir, ...options } = config;
    const auth = pluginAuth(new FakeHost({ id: "memory", stateDir: home.stateDir }).api, options);
    await approvedLogin(config);
    const challenge = (error: string) => ({
      status: 401,
      headers: { "www-authenticate": `DPoP error="${error}", algs="ES256"`, "dpop-nonce": "n1" },
    });
    const service = await StubServer.start(t, {
      routes: { "/proof": challenge("invalid_dpop_proof"), "/nonce": challenge("use_dpop_nonce") },
    });
    assert.equal((await auth.fetch(`${service.origin}/proof`)).status, 401);
    assert.equal(service.requests.length, 1);
    assert.equal((await auth.fetch(`${service.origin}/nonce`)).status, 401);
    assert.equal(service.requests.length, 3);
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("once"));
        controller.close();
      },
    });
    const streamed = { method: "POST", body, duplex: "half" } as RequestInit;
    assert.equal((await auth.fetch(`${service.origin}/nonce`, streamed)).status, 401);
    assert.equal(service.requests.length, 4);
    assert.deepEqual(await server.requests(refreshes), []);
  });
});

test("the private key shows up nowhere but in the credential file, and never leaves the machine", async (t) => {
  const { server, config, credential } = await loggedIn(t);
  const seen: unknown[] = [];
  const dpopKey = String(credential.read().dpopKey);
  // The key itself, 32 bytes in the middle of the PKCS#8, in any spelling of base64.
  const scalar = Buffer.from(dpopKey, "base64url").subarray(36, 68);
  const forms = [dpopKey, scalar.toString("hex"), scalar.toString("base64"), scalar.toString("base64url")];

  seen.push(await status(config), await listProfiles(config));
  seen.push(await authorizationHeaders(config, { method: "GET", url: "https://api.example.com/" }));
  for (const [code, answer] of [
    ["OAUTH_ERROR", { status: 400, body: { error: "invalid_dpop_proof" } }],
    ["SERVER_ERROR", { status: 400, headers: { "dpop-nonce": "x" }, body: { error: "use_dpop_nonce" } }],
    ["INVALID_RESPONSE", { status: 200, body: { access_token: "a", token_type: "Bearer" } }],
    ["LOGIN_REQUIRED", { status: 400, body: { error: "invalid_grant" } }],
  ] as const) {
    const broken = await server.intercept(refreshes, { respond: answer });
    await expireLogin(config);
    if (credential.read().lastRefresh) {
      credential.letPauseEnd(60);
    }
    seen.push(await rejection(getValidAccessToken(config), code), await status(config));
    await broken.remove();
  }
  writeFileSync(credential.path, JSON.stringify({ ...credential.read(), dpopKey: `${dpopKey.slice(0, -9)}AAAAAAAAA` }));
  forms.push(dpopKey.slice(0, -9));
  seen.push(await rejection(getValidAccessToken(config), "STORE_CORRUPT"));
  seen.push(process.report?.getReport());
  for (const name of readdirSync(dirname(credential.path)).filter((name) => !name.endsWith(".json"))) {
    seen.push(readFileSync(join(dirname(credential.path), name), "utf8"));
  }
  seen.push(await logout(config));
  seen.push(await server.requests());
  assert.ok(seen.length > 8);
  for (const item of seen) {
    for (const text of [inspect(item, { depth: 9, showHidden: true }), JSON.stringify(item) ?? "", String(item)]) {
      for (const form of forms) {
        assert.ok(!text.includes(form), text.slice(0, 300));
      }
    }
  }
});
