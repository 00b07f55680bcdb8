/**
 * A refresh token is never sent anywhere but to the token endpoint of the issuer that gave it, and, at its end, to the
 * revocation endpoint that this issuer named when it gave it.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import {
  type AuthConfig,
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  logout,
  refreshTokens,
  status,
} from "../index.js";
import { deviceCodeAuthMethod, type HostCredential, pluginAuth, refreshOAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Context = Parameters<typeof TempHome.create>[0];

const callbacks = { onVerification: () => {} };

/** The servers of one test, and who gave which refresh token. */
class World {
  readonly home: TempHome;
  /** The issuer of the login. */
  readonly ours: StubServer;
  /** Another one, which works just as well. */
  readonly other: StubServer;
  /** Every other address that a request could be led to: answers everything. */
  readonly elsewhere: StubServer;
  readonly #givers = new Map<string, StubServer>();

  static async create(t: Context): Promise<World> {
    const [ours, other, elsewhere] = await Promise.all([StubServer.start(t), StubServer.start(t), StubServer.start(t)]);
    return new World(TempHome.create(t), ours, other, elsewhere);
  }

  private constructor(home: TempHome, ours: StubServer, other: StubServer, elsewhere: StubServer) {
    this.home = home;
    this.ours = ours;
    this.other = other;
    this.elsewhere = elsewhere;
    for (const [name, server] of Object.entries({ ours, other, elsewhere })) {
      this.#play(name, server);
    }
  }

  get config(): AuthConfig {
    return { pluginId: "memory", issuer: this.ours.origin, clientId: "client", stateDir: this.home.stateDir };
  }

  /** Logs in at the issuer; its access token has ended. */
  async loggedIn(): Promise<string> {
    const { path } = await login(this.config, callbacks);
    edit(path, { expires: 1, refreshedAt: 0 });
    return path;
  }

  /** Records a token of this server, however it got to its place. */
  gave(server: StubServer, token: string): string {
    this.#givers.set(token, server);
    return token;
  }

  /** Looks through every request of every server. Says how many refreshes and revocations carried one. */
  check(): { refreshed: number; revoked: number } {
    const counts = { refreshed: 0, revoked: 0 };
    assert.ok(this.#givers.size > 0);
    for (const server of [this.ours, this.other, this.elsewhere]) {
      for (const request of server.requests) {
        const whole = [request.path, request.query, JSON.stringify(request.headers), request.body].join("\n");
        for (const [token, giver] of this.#givers) {
          if (!whole.includes(token)) continue;
          assert.equal(server, giver, `${token} went to ${request.path} of another server`);
          const { form } = request;
          if (request.path === "/token") {
            assert.equal(form.get("grant_type"), "refresh_token");
            assert.equal(form.get("refresh_token"), token);
            counts.refreshed += 1;
          } else {
            assert.equal(request.path, "/revoke");
            assert.equal(form.get("token"), token);
            counts.revoked += 1;
          }
          assert.equal(whole.split(token).length, 2, "once, in the body");
          assert.ok(request.body.includes(token) && request.query === "");
        }
      }
    }
    return counts;
  }

  #play(name: string, server: StubServer): void {
    server.describe({ registration_endpoint: `${server.origin}/register` });
    server.route("/register", { status: 201, body: { client_id: "registered", token_endpoint_auth_method: "none" } });
    server.route("/device", {
      status: 200,
      body: { device_code: `device-${name}`, user_code: "A", verification_uri: "https://example.com/", interval: 1 },
    });
    server.route("/token", (_, nth) => ({
      status: 200,
      body: {
        access_token: `access-${name}-${nth}`,
        refresh_token: this.gave(server, `refresh-${name}-${nth}`),
        token_type: "Bearer",
        expires_in: 3600,
      },
    }));
    server.route("/revoke", { status: 200 });
  }
}

const mismatch = { code: "ISSUER_MISMATCH", needsLogin: true };

describe("where a refresh token goes", { concurrency: 8 }, () => {
  test("login, refresh, forced refresh, logout: to its own issuer", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const rejectedToken = await getValidAccessToken(world.config);
    await getValidAccessToken(world.config, { rejectedToken });
    await status(world.config);
    await listProfiles(world.config);
    await logout(world.config);
    assert.deepEqual(world.check(), { refreshed: 2, revoked: 1 });
  });

  test("a login at another issuer over an existing one", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const moved = { ...world.config, issuer: world.other.origin };
    await login(moved, callbacks);
    const rejectedToken = await getValidAccessToken(moved);
    await getValidAccessToken(moved, { rejectedToken });
    await logout(moved);
    assert.deepEqual(world.check(), { refreshed: 1, revoked: 1 });
  });

  test("a config that changes: refused, and nothing is sent", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const { issuer: _, ...rest } = world.config;
    const at = world.other.origin;
    for (const changed of [
      { ...rest, issuer: at },
      { ...rest, issuer: `${world.ours.origin}/` },
      { ...rest, issuer: world.ours.origin, tokenEndpoint: `${at}/token` },
      { ...rest, tokenEndpoint: `${at}/token` },
      { ...rest, tokenEndpoint: `${world.ours.origin}/token?to=elsewhere` },
      { ...rest, issuer: world.ours.origin, clientId: "another" },
    ]) {
      await assert.rejects(getValidAccessToken(changed), mismatch);
      await assert.rejects(getValidAccessToken(changed, { rejectedToken: "access-ours-1" }), mismatch);
    }
    assert.deepEqual(world.check(), { refreshed: 0, revoked: 0 });
    // Options that do not name the issuer change nothing.
    const harmless = { ...world.config, revocationEndpoint: `${at}/revoke`, registrationEndpoint: `${at}/register` };
    await getValidAccessToken({ ...harmless, deviceAuthorizationEndpoint: `${at}/device` });
    await logout(harmless);
    assert.deepEqual(world.check(), { refreshed: 1, revoked: 1 });
  });

  test("a logout with a config that means another server by now: revoked where it was given", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const at = world.other.origin;
    await logout({ ...world.config, issuer: at, tokenEndpoint: `${at}/token`, revocationEndpoint: `${at}/revoke` });
    assert.deepEqual(world.check(), { refreshed: 0, revoked: 1 });
  });

  test("metadata that changes between calls: the endpoints of the login stay", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const at = world.elsewhere.origin;
    world.ours.describe({ token_endpoint: `${at}/token`, revocation_endpoint: `${at}/revoke` });
    world.ours.route("/.well-known/openid-configuration", { status: 302, headers: { location: at } });
    const rejectedToken = await getValidAccessToken(world.config);
    await getValidAccessToken(world.config, { rejectedToken });
    await logout(world.config);
    assert.deepEqual(world.check(), { refreshed: 2, revoked: 1 });
    assert.deepEqual(world.elsewhere.requests, []);
  });

  for (const code of [301, 302, 303, 307, 308]) {
    test(`a redirect, ${code}: not followed by refresh, revocation, refreshTokens and the kit`, async (t) => {
      const world = await World.create(t);
      const path = await world.loggedIn();
      const { refresh } = JSON.parse(readFileSync(path, "utf8"));
      for (const endpoint of ["/token", "/revoke"]) {
        world.ours.route(endpoint, { status: code, headers: { location: world.elsewhere.origin + endpoint } });
      }
      const redirected = { code: "INVALID_RESPONSE" };
      await assert.rejects(getValidAccessToken(world.config), redirected);
      await assert.rejects(refreshTokens(world.config, refresh), redirected);
      const options = { provider: "p", issuer: world.ours.origin, clientId: "client" };
      await assert.rejects(refreshOAuth(options)(kept({ refresh })), redirected);
      assert.deepEqual(await logout(world.config), { revoked: false, removed: true });
      assert.deepEqual(world.check(), { refreshed: 3, revoked: 1 });
      assert.deepEqual(world.elsewhere.requests, []);
    });
  }

  test("a login written by hand for another issuer or endpoint is refused", async (t) => {
    const world = await World.create(t);
    const at = world.other.origin;
    const folder = join(world.home.stateDir, "extensions", "memory");
    mkdirSync(folder, { recursive: true });
    const refresh = world.gave(world.other, "refresh-by-hand");
    for (const binding of [{ issuer: at }, { token_endpoint: `${at}/token` }, { tokenEndpoint: `${at}/token` }]) {
      writeFileSync(
        join(folder, "credentials.json"),
        JSON.stringify({ access: "a", refresh, expires: 1, client_id: "client", ...binding }),
      );
      const changed = { ...world.config, tokenEndpoint: `${world.ours.origin}/token` };
      await assert.rejects(getValidAccessToken(changed), mismatch);
      rmSync(dirname(world.home.credentialPath("memory")), { recursive: true, force: true });
    }
    assert.deepEqual(world.check(), { refreshed: 0, revoked: 0 });
  });

  test("a login that comes in between: the tokens that nobody will use are revoked where they were given", async (t) => {
    const world = await World.create(t);
    const path = await world.loggedIn();
    const stolen = { access: "access-other", refresh: world.gave(world.other, "refresh-other"), expires: 1 };
    const at = world.other.origin;
    world.ours.route("/token", () => {
      edit(path, { ...stolen, issuer: at, tokenEndpoint: `${at}/token`, revocationEndpoint: `${at}/revoke` });
      const refresh_token = world.gave(world.ours, "refresh-ours-late");
      return { status: 200, body: { access_token: "late", refresh_token, token_type: "Bearer", expires_in: 3600 } };
    });
    await assert.rejects(getValidAccessToken(world.config), mismatch);
    await world.ours.request("/revoke");
    assert.deepEqual(world.check(), { refreshed: 1, revoked: 1 });
  });

  test("authorizeDevice and refreshTokens: where the config says, and nowhere else", async (t) => {
    const world = await World.create(t);
    const { stateDir: _, ...config } = world.config;
    const tokens = await authorizeDevice(config, callbacks);
    await refreshTokens({ ...config, tokenEndpoint: tokens.tokenEndpoint }, tokens.refresh ?? "");
    assert.deepEqual(world.check(), { refreshed: 1, revoked: 0 });
  });

  test("the kit's accounts, commands and gateway methods", async (t) => {
    const world = await World.create(t);
    await world.loggedIn();
    const { pluginId: _, stateDir: __, ...options } = world.config;
    const host = new FakeHost({ id: "memory", stateDir: world.home.stateDir });
    const auth = pluginAuth(host.api, options);
    world.elsewhere.route("/api", { status: 401 });
    await auth.fetch(`${world.elsewhere.origin}/api`);
    await host.call("memory.status");
    await host.call("memory.logout");
    assert.deepEqual(world.check(), { refreshed: 2, revoked: 1 });
  });

  test("the kit's provider: tokens that a host keeps go to their issuer, under any later config", async (t) => {
    const world = await World.create(t);
    const options = { provider: "p", issuer: world.ours.origin, clientId: "client" };
    const prompter = { note: async () => {}, progress: () => ({ update() {}, stop() {} }) };
    const { profiles } = await deviceCodeAuthMethod(options).run({ prompter, openUrl: async () => {} });
    const credential = profiles[0]?.credential as HostCredential;
    const at = world.other.origin;
    for (const changed of [
      { ...options, issuer: at },
      { provider: "p", clientId: "client", tokenEndpoint: `${at}/token` },
    ]) {
      await assert.rejects(refreshOAuth(changed)(credential), mismatch);
    }
    const byEndpoint = { ...credential };
    delete byEndpoint.issuer;
    await assert.rejects(refreshOAuth({ ...options, issuer: at })(byEndpoint), mismatch);
    assert.deepEqual(world.check(), { refreshed: 0, revoked: 0 });
    const refreshed = await refreshOAuth(options)(credential);
    await refreshOAuth(options)(refreshed);
    assert.deepEqual(world.check(), { refreshed: 2, revoked: 0 });
  });
});

function kept(members: Partial<HostCredential>): HostCredential {
  return { type: "oauth", provider: "p", access: "a", refresh: "", expires: 1, clientId: "client", ...members };
}

function edit(path: string, members: object): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...members }));
}
