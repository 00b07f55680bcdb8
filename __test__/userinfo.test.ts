/** Who has logged in, by the userinfo endpoint of the real authorization server, and of services without an ID token. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AuthConfig, doctor, getValidAccessToken, login, status, type Verification } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, type InterceptionAction } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, complete, configFor, expireLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { rejection } from "./support/rejection.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const scopes = ["openid", "profile", "memory", "offline_access"];
const ada = { id: "ada", name: "Ada", email: "ada@example.com" };

/** Without an ID token, so that nothing else says who it is. */
async function started(t: Lifetime, more: Partial<AuthConfig> = {}, hasIdToken = false) {
  const server = await AuthorizationServer.start(t);
  if (!hasIdToken) {
    await server.intercept({ endpoint: "token" }, { remove: ["id_token"] });
  }
  const home = TempHome.create(t);
  return { server, home, config: configFor(server, home.stateDir, { scopes, userinfo: true, ...more }) };
}

describe("userinfo", { concurrency: 7 }, () => {
  test("a login asks once with its new token; refreshes keep the account", async (t) => {
    const { server, home, config } = await started(t);
    const { status: loggedIn } = await approvedLogin(config);
    assert.deepEqual(loggedIn.account, ada);
    assert.equal(loggedIn.lastError, undefined);
    const first = await getValidAccessToken(config);
    const [asked] = await server.requests({ endpoint: "userinfo" });
    assert.equal(asked?.method, "GET");
    assert.equal(asked?.headers.authorization, `Bearer ${first}`);

    await expireLogin(config);
    assert.notEqual(await getValidAccessToken(config), first);
    assert.deepEqual((await status(config)).account, ada);
    assert.equal((await server.requests({ endpoint: "userinfo" })).length, 1);

    const unasked = configFor(server, TempHome.create(t).stateDir, { scopes, userinfo: false });
    assert.equal((await approvedLogin(unasked)).status.account, undefined);
    assert.equal((await server.requests({ endpoint: "userinfo" })).length, 1);

    const host = new FakeHost({ stateDir: home.stateDir });
    const { stateDir: _, pluginId, ...options } = config;
    pluginAuth(host.api, { ...options, pluginId });
    assert.match((await host.run("my-memory status")).output, /person +Ada, ada@example\.com/);
  });

  test("a bound token goes with a proof, and with the nonce that the endpoint wants", async (t) => {
    const server = await AuthorizationServer.start(t, { dpop: "nonce" });
    const home = TempHome.create(t);
    // The nonces of another server, as where APIs have their own.
    await server.intercept(
      { endpoint: "userinfo", nth: 1 },
      { respond: { status: 401, headers: { "dpop-nonce": "n-1", "www-authenticate": 'DPoP error="use_dpop_nonce"' } } },
    );
    await server.intercept({ endpoint: "userinfo", nth: 2 }, { headers: { "x-seen": "1" } });
    const bound = { clientId: "bound", dpop: true, scopes, userinfo: true };
    const config = configFor(server, home.stateDir, bound);
    const { status: loggedIn } = await approvedLogin(config);
    const asked = await server.requests({ endpoint: "userinfo" });
    assert.equal(asked.length, 2);
    for (const { headers } of asked) {
      assert.match(headers.authorization ?? "", /^DPoP /);
    }
    const nonce = (proof = "") => JSON.parse(Buffer.from(proof.split(".")[1] ?? "", "base64url").toString()).nonce;
    assert.notEqual(nonce(asked[0]?.headers.dpop), "n-1");
    assert.equal(nonce(asked[1]?.headers.dpop), "n-1");
    // That nonce is none of the real server's: the login stands, without the account of this answer.
    assert.equal(loggedIn.state, "valid");
    assert.match(loggedIn.lastError?.message ?? "", /userinfo request failed/);

    const again = await approvedLogin({ ...config, profile: "work" });
    assert.equal(again.status.lastError, undefined);
    assert.deepEqual(again.status.account, ada);
  });

  test("the document of OpenID Connect is asked where that of RFC 8414 names no endpoint", async (t) => {
    const { server, config } = await started(t);
    await server.intercept({ path: "/.well-known/oauth-authorization-server" }, { remove: ["userinfo_endpoint"] });
    assert.deepEqual((await approvedLogin(config)).status.account, ada);
  });

  test("an answer about another account than the ID token's is not used", async (t) => {
    const { server, config } = await started(t, {}, true);
    await server.intercept({ endpoint: "userinfo" }, { edit: { sub: "eve", name: "Eve" } });
    const { status: loggedIn } = await approvedLogin(config);
    assert.deepEqual(loggedIn.account, ada);
    assert.equal(loggedIn.lastError?.code, "INVALID_RESPONSE");
    assert.match(loggedIn.lastError?.message ?? "", /another account/);
  });

  test("a question that fails fails no login; status and doctor say why, until the next login", async (t) => {
    const signed = `e30.${Buffer.from('{"sub":"ada"}').toString("base64url")}.c2ln`;
    const failures: [string, InterceptionAction, RegExp][] = [
      ["SERVER_ERROR", { respond: { status: 500, body: "canary" } }, /HTTP 500/],
      ["NETWORK", { destroy: "before" }, /broke/],
      ["INVALID_RESPONSE", { respond: { status: 200, body: signed } }, /is signed/],
      ["INVALID_RESPONSE", { respond: { status: 200, body: {} } }, /names no account/],
    ];
    const { server, config } = await started(t);
    for (const [at, [code, action, words]] of failures.entries()) {
      const profile = `p${at}`;
      const interception = await server.intercept({ endpoint: "userinfo" }, action);
      const { status: loggedIn } = await approvedLogin({ ...config, profile });
      await interception.remove();
      assert.equal(loggedIn.state, "valid");
      assert.equal(loggedIn.account, undefined);
      assert.equal(loggedIn.lastError?.code, code);
      assert.match(loggedIn.lastError?.message ?? "", words);
      assert.doesNotMatch(loggedIn.lastError?.message ?? "", /canary|eyJ/);
      const { checks } = await doctor({ ...config, profile });
      const check = checks.find(({ name }) => name === "login");
      assert.equal(check?.level, "warning");
      assert.match(check?.message ?? "", words);
    }
    const { status: without } = await approvedLogin({ ...config, scopes: ["memory"], profile: "p0" });
    assert.equal(without.state, "expiring");
    assert.match(without.lastError?.message ?? "", /insufficient_scope.*"openid"/);
    const { status: good } = await approvedLogin({ ...config, profile: "p0" });
    assert.equal(good.lastError, undefined);
    assert.deepEqual(good.account, ada);
  });

  test("a login that is given up during the question is not stored, and its tokens are revoked", async (t) => {
    const { server, config } = await started(t);
    const interception = await server.intercept({ endpoint: "userinfo" }, { hold: "before" });
    const stop = new AbortController();
    const person = new Person();
    const onVerification = (shown: Verification) => person.approve(complete(shown));
    const outcome = rejection(login(config, { signal: stop.signal, onVerification }), "ABORTED");
    await interception.arrived;
    stop.abort();
    await outcome;
    await server.request({ endpoint: "revocation" });
    await interception.remove();
    assert.equal((await status(config)).state, "logged_out");
  });

  test("a service without OpenID Connect and without metadata is asked at the URL of the config", async (t) => {
    const server = await AuthorizationServer.start(t, { discovery: "none" });
    const home = TempHome.create(t);
    const api = await StubServer.start(t, {
      routes: { "/user": [{ status: 200, body: { id: 583231, login: "octocat", name: null, email: null } }] },
    });
    const { deviceAuthorizationEndpoint, tokenEndpoint } = server.endpoints;
    const { issuer: _, ...config } = configFor(server, home.stateDir, { deviceAuthorizationEndpoint, tokenEndpoint });
    const { status: loggedIn } = await approvedLogin({ ...config, userinfo: `${api.origin}/user` });
    assert.deepEqual(loggedIn.account, { id: "583231", name: "octocat" });
    assert.deepEqual((await status(config)).account, loggedIn.account);
    assert.equal(api.requests.length, 1);

    for (const userinfo of [true, "http://api.example.com/user", "me", 1 as never]) {
      const error = await rejection(
        login({ ...config, userinfo }, { onVerification: () => assert.fail() }),
        "INVALID_CONFIG",
      );
      assert.match(error.message, /`userinfo/);
    }
  });
});
