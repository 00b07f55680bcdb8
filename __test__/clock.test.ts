/**
 * Wall clocks that jump by seven hours, and clocks that differ: no token dies early, none is used after its end,
 * nothing is refreshed for ever, no login ends early or hangs. In real processes; the refreshes are counted at the
 * server.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AuthorizationServer, type AuthorizationServerOptions } from "./support/authorization-server.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";
import { WallClock } from "./support/wall-clock.ts";

type Test = Parameters<typeof TempHome.create>[0];

const refreshes = { grant: "refresh_token" } as const;
const hour = 3_600_000;

describe("clocks", { skip: WallClock.missing ?? false, concurrency: 4 }, () => {
  test("the clock of these tests: what is stored follows the wall clock, a deadline does not", async (t) => {
    const { clock, plugin, config, credential } = await loggedIn(t);
    const { access } = credential.read();
    clock.set("+7h");
    assert.equal(await plugin.accessToken(config), access);
    assert.notEqual(await plugin.accessToken(config, { rejectedToken: access }), access);
    const { createdAt, refreshedAt } = credential.read();
    assert.equal(Math.round((refreshedAt - createdAt) / hour), 7);
  });

  for (const offset of ["+7h", "-7h"] as const) {
    test(`${offset} in the process that has the token from the server: it counts on the boot clock`, async (t) => {
      const { server, clock, plugin, config, api } = await loggedIn(t);
      const before = await plugin.accessToken(config);
      clock.set(offset);
      const token = await plugin.accessToken(config);
      assert.deepEqual(await tokensOf([plugin], config), [token]);
      assert.equal((await api.call(token)).status, 200);
      // Set back, a file from the future is brought up to date once: other processes have nothing but the file.
      assert.equal(token === before, offset === "+7h");
      clock.set("+0");
      assert.deepEqual(await tokensOf([plugin], config), [token]);
      assert.equal((await server.requests(refreshes)).length, offset === "+7h" ? 0 : 1);
    });

    test(`${offset} in processes that know the token from its file: one refresh at most, and one more at the way back`, async (t) => {
      const { server, home, clock, config, api } = await loggedIn(t);
      const readers = await processes(t, home, clock, 3);
      await tokensOf(readers, config);
      for (const [jump, most] of [
        [offset, 1],
        ["+0", 2],
      ] as const) {
        clock.set(jump);
        // A call that finds a refresh under way in the advisory window has the old token; then all have the new one.
        await tokensOf(readers, config);
        const tokens = await tokensOf(readers, config);
        assert.equal(tokens.length, 1);
        assert.equal((await api.call(tokens[0] ?? "")).status, 200);
        assert.ok((await server.requests(refreshes)).length <= most);
      }
      // Nothing was punished: the login is as alive as ever.
      const [token] = await tokensOf(readers, config);
      assert.notEqual(await readers[0]?.accessToken(config, { rejectedToken: token ?? "" }), token);
    });

    test(`${offset} while a refresh is at the server: it is saved, and not repeated`, async (t) => {
      const { server, clock, plugin, config, credential, api } = await loggedIn(t);
      const rejectedToken = credential.read().access;
      const held = await server.intercept(refreshes, { hold: "after" });
      const asked = plugin.accessToken(config, { rejectedToken });
      await held.arrived;
      clock.set(offset);
      await held.release();
      const token = await asked;
      assert.deepEqual(await tokensOf([plugin], config), [token]);
      assert.equal(credential.read().access, token);
      assert.equal((await api.call(token)).status, 200);
      assert.equal((await server.requests(refreshes)).length, 1);
    });

    test(`${offset} while a login polls: it neither ends early nor asks too often`, async (t) => {
      const { server, clock, plugin, config } = await started(t);
      const loggedIn = plugin.login(config);
      const verification = await plugin.verification();
      await server.request({ grant: "device_code" }, 1);
      clock.set(offset);
      await server.request({ grant: "device_code" }, 2);
      await new Person().approve(complete(verification));
      assert.equal((await loggedIn).state, "valid");
      assert.ok((await server.requests({ grant: "device_code" })).every(({ early }) => !early));
      assert.ok(await plugin.accessToken(config));
    });

    test(`${offset} while a login polls: the code ends when it would have ended`, async (t) => {
      const { server, clock, plugin, config } = await started(t);
      await server.intercept({ endpoint: "device_authorization" }, { edit: { expires_in: 4 } });
      const loggedIn = plugin.login(config);
      await plugin.verification();
      await server.request({ grant: "device_code" }, 1);
      clock.set(offset);
      const error = await loggedIn.then(
        () => assert.fail("nobody approved"),
        (reason: ReportedError) => reason,
      );
      assert.equal(error.code, "DEVICE_CODE_EXPIRED", error.message);
      // All polls that fit into four seconds; the server (which allows ten minutes) ended none of them.
      const polls = await server.requests({ grant: "device_code" });
      assert.ok(polls.length >= 2 && polls.length <= 4, `${polls.length} polls`);
      assert.ok(polls.every(({ error }) => error === "authorization_pending"));
    });

    test(`${offset} in the pause after a failed refresh: it does not last for hours`, async (t) => {
      const { server, clock, plugin, config, credential } = await loggedIn(t);
      const rejectedToken = credential.read().access;
      credential.expire();
      const busy = { respond: { status: 429, headers: { "retry-after": "120" } } };
      const broken = await server.intercept(refreshes, busy);
      await assert.rejects(plugin.accessToken(config), { code: "SERVER_ERROR", retryAfterMs: 120_000 });
      await broken.remove();
      await assert.rejects(plugin.accessToken(config), { code: "SERVER_ERROR" });
      assert.equal((await server.requests(refreshes)).length, 1);
      clock.set(offset);
      // By its own clock the token of a clock that was set back is not expired: it is reported as rejected.
      assert.notEqual(await plugin.accessToken(config, { rejectedToken }), rejectedToken);
      assert.equal((await server.requests(refreshes)).length, 2);
    });
  }

  test("the clock is set back: a token that has ended is not taken for a valid one", async (t) => {
    const { home, clock, plugin, config, credential, api } = await loggedIn(t, { accessTokenTtl: 3 });
    const [reader] = await processes(t, home, clock, 1);
    const { access, expires = 0 } = credential.read();
    assert.equal(await reader?.accessToken(config), access);
    clock.set("-7h");
    await new Promise((resolve) => setTimeout(resolve, expires - Date.now() + 5));
    assert.equal((await api.call(access)).status, 401);
    for (const process of [plugin, reader]) {
      const token = (await process?.accessToken(config)) ?? "";
      assert.equal((await api.call(token)).status, 200);
    }
  });

  test("two clocks that differ by seven hours for good, and one home: they do not refresh in turn for ever", async (t) => {
    const { server, home, plugin, config, api } = await loggedIn(t);
    const ahead = WallClock.create(home, "clock-ahead");
    ahead.set("+7h");
    const [other] = await processes(t, home, ahead, 1);
    for (let turn = 1; turn <= 10; turn += 1) {
      for (const process of [other, plugin]) {
        const token = (await process?.accessToken(config)) ?? "";
        assert.equal((await api.call(token)).status, 200);
      }
    }
    const count = (await server.requests(refreshes)).length;
    assert.ok(count <= 3, `${count} refreshes`);
  });

  test("the clock jumps ahead and back: a login without a refresh token is there again", async (t) => {
    const { server, home, clock, plugin, config } = await started(t);
    await server.intercept({ grant: "device_code" }, { remove: ["refresh_token"] });
    await approved(plugin, config);
    const token = await plugin.accessToken(config);
    const [reader] = await processes(t, home, clock, 1);
    clock.set("+7h");
    await assert.rejects(reader?.accessToken(config) as Promise<string>, { code: "LOGIN_REQUIRED" });
    clock.set("+0");
    for (const process of [reader, plugin, ...(await processes(t, home, clock, 1))]) {
      assert.equal(await process?.accessToken(config), token);
    }
  });

  for (const offset of ["+7h", "-7h"] as const) {
    test(`a server whose clock is ${offset}, and no expires_in: its JWT says how long, not until when`, async (t) => {
      const home = TempHome.create(t);
      const theirs = WallClock.create(home, "server-clock");
      theirs.set(offset);
      const resource = "https://memory.example.com";
      const server = await AuthorizationServer.start(t, { env: theirs.env, resources: [resource] });
      await server.intercept({ endpoint: "token" }, { remove: ["expires_in"] });
      const config = configFor(server, home.stateDir, { resource: [resource] });
      const plugin = await PluginProcess.start(t, { env: home.env() });
      await approved(plugin, config);
      const credential = new StoredCredential(home.credentialPath("memory"));
      const { refreshedAt, expires = 0, access } = credential.read();
      assert.equal(Math.round((expires - refreshedAt) / 1000), 3600);
      const [, payload = ""] = access.split(".");
      const { iat } = JSON.parse(Buffer.from(payload, "base64url").toString());
      assert.equal(Math.round((iat * 1000 - refreshedAt) / hour), Number.parseInt(offset, 10));
      assert.deepEqual(await tokensOf([plugin], config), [access]);
      assert.equal((await server.requests(refreshes)).length, 0);
      credential.expire();
      const refreshed = await plugin.accessToken(config);
      assert.notEqual(refreshed, access);
      assert.deepEqual(await tokensOf([plugin], config), [refreshed]);
      assert.equal((await server.requests(refreshes)).length, 1);
    });
  }
});

/** The different tokens that these processes hand out at ten calls each, one after the other. */
async function tokensOf(plugins: PluginProcess[], config: Parameters<PluginProcess["accessToken"]>[0]) {
  const tokens = new Set<string>();
  for (let call = 1; call <= 10; call += 1) {
    for (const token of await Promise.all(plugins.map((plugin) => plugin.accessToken(config)))) {
      tokens.add(token);
    }
  }
  return [...tokens];
}

function processes(t: Test, home: TempHome, clock: WallClock, count: number): Promise<PluginProcess[]> {
  return Promise.all(Array.from({ length: count }, () => PluginProcess.start(t, { env: home.env(clock.env) })));
}

async function started(t: Test, options: AuthorizationServerOptions = {}) {
  const server = await AuthorizationServer.start(t, options);
  const home = TempHome.create(t);
  const clock = WallClock.create(home);
  const plugin = await PluginProcess.start(t, { env: home.env(clock.env) });
  return { server, home, clock, plugin, config: configFor(server, home.stateDir) };
}

async function loggedIn(t: Test, options: AuthorizationServerOptions = {}) {
  const prepared = await started(t, options);
  await approved(prepared.plugin, prepared.config);
  const api = await ProtectedApi.start(t, prepared.server);
  return { ...prepared, api, credential: new StoredCredential(prepared.home.credentialPath("memory")) };
}

async function approved(plugin: PluginProcess, config: Parameters<PluginProcess["login"]>[0]): Promise<void> {
  const loggedIn = plugin.login(config);
  await new Person().approve(complete(await plugin.verification()));
  await loggedIn;
}
