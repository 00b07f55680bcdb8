/**
 * Several access tokens of one login (RFC 8707 §2.2, RFC 6749 §6), at the real server: it rotates, takes no refresh
 * token twice, and gives a token for no more than one resource.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { authorizationHeaders, getValidAccessToken, logout, status } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { ForeignFile } from "./support/foreign-file.ts";
import { approvedLogin, complete, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { MapStore } from "./support/map-store.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

type Context = Parameters<typeof TempHome.create>[0];

const [notes, files, mail] = ["https://notes.example.com/", "https://files.example.com/", "https://mail.example.com/"];
const resources = { resource: [notes], otherResources: [files, mail] };

/** A login for all three. */
async function loggedIn(t: Context) {
  const server = await AuthorizationServer.start(t, { resources: [notes, files, mail] });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir, resources);
  await grantedLogin(config);
  const stored = () => new StoredCredential(home.credentialPath("memory")).read();
  return { server, home, config, stored, refreshes: () => server.requests({ grant: "refresh_token" }) };
}

function audience(token: string): unknown {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).aud;
}

describe("several access tokens of one login", { concurrency: 6 }, () => {
  test("a person allows all of them at once, and each is for its own resource", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [notes, files, mail] });
    const config = configFor(server, TempHome.create(t).stateDir, resources);
    const { status: status1 } = await approvedLogin(config);
    const { form } = await server.request({ endpoint: "device_authorization" });
    assert.deepEqual(form?.resource, [notes, files, mail]);
    const own = await getValidAccessToken(config);
    assert.equal(audience(own), notes);
    for (let turn = 0; turn < 2; turn += 1) {
      assert.equal(audience(await getValidAccessToken(config, { resource: files })), files);
      assert.equal(audience(await getValidAccessToken(config, { resource: mail })), mail);
      assert.equal(await getValidAccessToken(config, { resource: notes }), own);
      assert.equal(await getValidAccessToken(config), own, "the login keeps its own");
    }
    assert.equal((await server.requests({ grant: "refresh_token" })).length, 2);
    const { refreshedAt, state } = await status(config);
    assert.deepEqual({ refreshedAt, state }, { refreshedAt: status1.refreshedAt, state: "valid" });
    // The refresh token that they left is the live one.
    await expireLogin(config);
    assert.equal(audience(await getValidAccessToken(config)), notes);
  });

  test("many callers at once: one refresh for each", async (t) => {
    const { config, refreshes } = await loggedIn(t);
    const callers = Array.from({ length: 30 }, (_, nth) =>
      getValidAccessToken(config, { resource: nth % 2 === 0 ? files : mail }),
    );
    const tokens = new Set(await Promise.all(callers));
    assert.deepEqual(new Set([...tokens].map(audience)), new Set([files, mail]));
    assert.equal(tokens.size, 2);
    assert.equal((await refreshes()).length, 2);
  });

  test("several processes, one rotating refresh token: none ends the login", async (t) => {
    const { config, home, refreshes } = await loggedIn(t);
    const plugins = await Promise.all([1, 2, 3].map(() => PluginProcess.start(t, { env: home.env() })));
    const asked = plugins.flatMap((plugin) =>
      [files, mail, files].map((resource) => plugin.call("getValidAccessToken", [config], { resource })),
    );
    const tokens = (await Promise.all(asked)) as string[];
    assert.deepEqual(new Set(tokens.map(audience)), new Set([files, mail]));
    const sent = await refreshes();
    assert.equal(sent.length, 6, "once for each process and resource");
    assert.deepEqual(new Set(sent.map(({ status }) => status)), new Set([200]));
    const again = plugins.map((plugin) => plugin.call("getValidAccessToken", [config], { resource: files }));
    await Promise.all(again);
    assert.equal((await refreshes()).length, 6);
  });

  test("fewer scopes", async (t) => {
    const { config, refreshes } = await loggedIn(t);
    const token = await getValidAccessToken(config, { resource: files, scopes: ["memory"] });
    const [sent] = await refreshes();
    assert.equal(sent?.form?.scope, "memory");
    const again = await getValidAccessToken(config, { scopes: ["memory", "memory"], resource: files });
    assert.equal(again, token);
    assert.notEqual(await getValidAccessToken(config, { resource: files }), token);
    assert.equal((await refreshes()).length, 2);
  });

  test("one that the service refuses is replaced, the others stay", async (t) => {
    const { config, stored, refreshes } = await loggedIn(t);
    const own = stored().access;
    const rejectedToken = await getValidAccessToken(config, { resource: files });
    const other = await getValidAccessToken(config, { resource: mail });
    const renewed = await getValidAccessToken(config, { resource: files, rejectedToken });
    assert.notEqual(renewed, rejectedToken);
    assert.equal(await getValidAccessToken(config, { resource: files }), renewed);
    assert.equal(await getValidAccessToken(config, { resource: mail }), other);
    assert.equal(await getValidAccessToken(config), own);
    assert.equal((await refreshes()).length, 3);
  });

  test("headers carry them, with a proof where the login is bound to a key", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [notes, files, mail] });
    const home = TempHome.create(t);
    const bound = configFor(server, home.stateDir, { ...resources, dpop: true });
    const request = { method: "GET", url: files };
    await approvedLogin(bound);
    const { Authorization, DPoP } = await authorizationHeaders(bound, request, { resource: files });
    assert.ok(DPoP !== undefined && Authorization.startsWith("DPoP "));
    const token = await getValidAccessToken(bound, { resource: files });
    assert.equal(Authorization, `DPoP ${token}`);
    const claims = JSON.parse(Buffer.from(DPoP.split(".")[1] ?? "", "base64url").toString());
    const ath = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(token))).toString("base64url");
    assert.equal(claims.ath, ath);
    const { config } = await loggedIn(t);
    const bearer = await authorizationHeaders(config, request, { resource: files });
    assert.deepEqual(bearer, { Authorization: `Bearer ${await getValidAccessToken(config, { resource: files })}` });
    assert.notDeepEqual(await authorizationHeaders(config, request), bearer);
  });

  test("what the server refuses does not end the login", async (t) => {
    const { config, refreshes } = await loggedIn(t);
    const scope = await rejection(getValidAccessToken(config, { scopes: ["unheard-of"] }), "OAUTH_ERROR");
    assert.equal(scope.oauthError, "invalid_scope");
    const unknown = "https://elsewhere.example.com/";
    const asked = (await refreshes()).length;
    await rejection(getValidAccessToken(config, { scopes: ["unheard-of"] }), "OAUTH_ERROR");
    // oidc-provider spends a refresh token before it finds that the login is not for the resource: it is not asked.
    const other = await rejection(getValidAccessToken(config, { resource: unknown }), "OAUTH_ERROR");
    assert.equal(other.oauthError, "invalid_target");
    assert.equal((await refreshes()).length, asked);
    assert.equal((await status(config)).state, "valid");
    await expireLogin(config);
    await getValidAccessToken(config);
    assert.equal(audience(await getValidAccessToken(config, { resource: files })), files);
  });

  test("a resource that the server does not know, where the config names none", async (t) => {
    // With rotation, oidc-provider would have spent the refresh token by then.
    const server = await AuthorizationServer.start(t, { resources: [notes], rotation: false });
    const config = configFor(server, TempHome.create(t).stateDir);
    await grantedLogin(config);
    const target = await rejection(getValidAccessToken(config, { resource: files }), "OAUTH_ERROR");
    assert.equal(target.oauthError, "invalid_target");
    await expireLogin(config);
    await getValidAccessToken(config);
  });

  test("a logout, and a login by another process, leave none behind", async (t) => {
    const { config, home } = await loggedIn(t);
    const first = await getValidAccessToken(config, { resource: files });
    const other = await PluginProcess.start(t, { env: home.env() });
    const { outcome } = other.begin("login", [config]);
    await new Person().approve(complete(await other.verification()));
    await outcome;
    const second = await getValidAccessToken(config, { resource: files });
    assert.notEqual(second, first);
    await other.call("logout", [config]);
    await rejection(getValidAccessToken(config, { resource: files }), "LOGIN_REQUIRED");
  });

  test("a login that was revoked is known to be by the next of them", async (t) => {
    const { config, server } = await loggedIn(t);
    await server.revokeLogins();
    await rejection(getValidAccessToken(config, { resource: files }), "LOGIN_REQUIRED");
    assert.equal((await status(config)).state, "login_required");
    await logout(config);
  });

  test("in another program's file only the refresh token changes", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles", { lives: 3_000_000 });
    const before = file.tokens();
    const target = { scopes: ["memory"] };
    const token = await getValidAccessToken(file.config, target);
    const after = file.tokens();
    assert.equal(after.access, before.access);
    assert.equal(after.expires, before.expires);
    assert.notEqual(after.refresh, before.refresh);
    assert.equal(file.text(), file.expected());
    assert.doesNotMatch(file.text(), new RegExp(token));
    assert.equal(await getValidAccessToken(file.config, target), token);
    assert.equal((await file.refreshes()).length, 1);
    // Its program has another login by now.
    file.write({ ...after, ...(await file.server.grant("public", ["memory", "offline_access"])) } as typeof after);
    assert.notEqual(await getValidAccessToken(file.config, target), token);
  });

  test("in a store of the plugin", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [notes, files, mail] });
    const store = new MapStore();
    const config = { ...configFor(server, "", resources), stateDir: TempHome.create(t).stateDir, store };
    await approvedLogin(config);
    const { access, refresh } = store.json();
    const token = await getValidAccessToken(config, { resource: files });
    assert.equal(audience(token), files);
    assert.equal(await getValidAccessToken(config, { resource: files }), token);
    assert.equal(store.json().access, access);
    assert.notEqual(store.json().refresh, refresh);
    assert.equal(await getValidAccessToken(config), access);
  });

  test("the kit takes to each API the token that is for it", async (t) => {
    const api = await StubServer.start(t, { routes: { "/": { status: 200 } } });
    api.route("/notes", { status: 200 });
    api.route("/files/list", (_, nth) => ({ status: nth === 1 ? 401 : 200 }));
    const of = { notes: `${api.origin}/notes`, files: `${api.origin}/files` };
    const server = await AuthorizationServer.start(t, { resources: Object.values(of) });
    const home = TempHome.create(t);
    const options = { resource: [of.notes], otherResources: [of.files] };
    const config = configFor(server, home.stateDir, options);
    await grantedLogin(config);
    const auth = pluginAuth(new FakeHost({ stateDir: home.stateDir }).api, config);
    await auth.fetch(of.notes);
    await auth.fetch(`${of.files}/list`);
    await auth.fetch(`${of.files}/list`);
    await auth.fetch(of.notes, undefined, { resource: of.files });
    const [first = "", refused = "", ...others] = api.requests.map(
      ({ headers }) => headers.authorization?.slice(7) ?? "",
    );
    assert.equal(first, await auth.getValidAccessToken());
    const renewed = await auth.getValidAccessToken({ resource: of.files });
    assert.deepEqual(others, [renewed, renewed, renewed]);
    assert.notEqual(refused, renewed);
    assert.equal(audience(refused), of.files);
    assert.deepEqual((await auth.status()).origins, [api.origin]);
    // An SDK that keeps what it gets.
    const { token, expiresAt = 0 } = await auth.getToken({ resource: of.files });
    assert.equal(token, renewed);
    assert.ok(expiresAt > Date.now());
    await auth.reject(token);
    assert.notEqual(await auth.getValidAccessToken({ resource: of.files }), token);
    assert.equal(await auth.getValidAccessToken(), first);
  });

  test("wrong options are refused", async (t) => {
    const { config } = await loggedIn(t);
    for (const options of [
      { resource: 1 },
      { resource: "files" },
      { scopes: "memory" },
      { scopes: ["a b"] },
      { scope: "" },
    ]) {
      await rejection(getValidAccessToken(config, options as object), "INVALID_CONFIG");
    }
  });
});

describe("killed while the refresh token is spent for another resource", {
  concurrency: 3,
  skip: await Tracer.unavailable(),
}, () => {
  for (const [name, at] of [
    ["the new login is written", () => ({ calls: "fsync" })],
    ["it is about to be renamed", () => ({ calls: "/^rename" })],
    ["it is renamed", (path: string) => ({ calls: "write", path: `${path}.lock` })],
  ] as const) {
    test(`${name}: the refresh token is not lost`, async (t) => {
      const { config, home, server, stored, refreshes } = await loggedIn(t);
      const victim = await PluginProcess.start(t, { env: home.env() });
      const held = await server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
      const { outcome } = victim.begin("getValidAccessToken", [config], { resource: files });
      await held.arrived;
      const tracer = await Tracer.attach(t, victim.child.pid, at(home.credentialPath("memory")), { kill: true });
      await held.release();
      await assert.rejects(outcome, ({ code }) => code === undefined);
      assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);
      const own = stored().access;
      assert.equal(await getValidAccessToken(config), own);
      assert.equal(audience(await getValidAccessToken(config, { resource: mail })), mail);
      const sent = await refreshes();
      assert.deepEqual(
        sent.map(({ status }) => status),
        [200, 200],
      );
      await expireLogin(config);
      await getValidAccessToken(config);
    });
  }
});
