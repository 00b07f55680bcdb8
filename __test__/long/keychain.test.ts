/**
 * `storage: "keychain"` with a real Secret Service: gnome-keyring on a session bus of its own. Kills:
 * keychain-kills.test.ts.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { AuthConfig } from "../../index.js";
import { DpopApi } from "../support/dpop-api.ts";
import { exchange } from "../support/exchange.ts";
import { KeychainLogin } from "../support/keychain-login.ts";
import { Keyring } from "../support/keyring.ts";
import { copyOfThePackage } from "../support/package-copy.ts";
import { StubServer } from "../support/stub-server.ts";

const skip = Keyring.unavailable();

describe("tokens in the keychain", { concurrency: 4, skip }, () => {
  test("a whole life: login, another process, refresh, logout; and no file ever holds a token", async (t) => {
    const login = await KeychainLogin.prepare(t);
    const status = await login.logIn(await login.plugin());
    assert.equal(status.storage, "keychain");
    assert.equal(status.state, "valid");
    assert.equal(status.refreshable, true);
    const first = login.tokens();
    login.assertInNoFile(first.access, first.refresh);
    login.assertTidy();

    const next = await login.plugin();
    assert.equal(await next.accessToken(login.config), first.access);
    login.expire();
    const access = await next.accessToken(login.config);
    const second = login.tokens();
    assert.equal(second.access, access);
    assert.notEqual(second.refresh, first.refresh);
    login.assertInNoFile(first.access, first.refresh, second.access, second.refresh);
    login.assertTidy();

    const last = await login.plugin();
    const request = { method: "GET", url: "https://api.example.com/" };
    assert.deepEqual(await last.call("authorizationHeaders", [login.config, request]), {
      Authorization: `Bearer ${second.access}`,
    });
    assert.equal(await last.accessToken(login.config), second.access);
    assert.deepEqual(await last.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
    for (const process of [next, last]) {
      await assert.rejects(process.accessToken(login.config), { code: "LOGIN_REQUIRED" });
    }
    login.assertInNoFile(first.access, first.refresh, second.access, second.refresh);
    assert.equal(await login.server.stored("RefreshToken"), 0);
  });

  test("entries that a login has replaced and removed are not named for ever, with any process at each login", async (t) => {
    const login = await KeychainLogin.create(t);
    for (let turn = 0; turn < 4; turn += 1) {
      const plugin = await login.plugin();
      await plugin.call("importToken", [login.config, { access: `imported-${turn}` }]);
      await plugin.end();
    }
    const { formerSecrets, secretsId } = login.stored as { formerSecrets?: string[]; secretsId?: string };
    assert.ok((formerSecrets ?? []).length <= 1, `${formerSecrets?.length} former entries are named`);
    assert.deepEqual(login.keyring.accounts(), [secretsId]);
  });

  test("the key of a DPoP login is kept there as well, and other processes prove it", async (t) => {
    const login = await KeychainLogin.prepare(t, { dpop: "nonce" }, { clientId: "bound", dpop: true });
    assert.equal((await login.logIn(await login.plugin())).dpop, true);
    const { dpopKey } = login.tokens();
    // The key itself, 32 bytes in the middle of the PKCS#8.
    const scalar = Buffer.from(String(dpopKey), "base64url").subarray(36, 68);
    const next = await login.plugin();
    login.expire();
    const api = await DpopApi.start(t, login.server);
    const headers = await next.call("authorizationHeaders", [login.config, { method: "GET", url: api.origin }]);
    const { status, text } = await exchange(api.origin, { headers: headers as Record<string, string> });
    assert.equal(status, 200, text);
    const tokens = login.tokens();
    assert.equal(tokens.dpopKey, dpopKey, "a refresh keeps the key");
    login.assertInNoFile(String(dpopKey), scalar.toString("base64"), scalar.toString("hex"), tokens.access);
    login.assertTidy();
    assert.deepEqual(await next.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
  });

  test("status and listProfiles do not ask the keychain", async (t) => {
    const login = await KeychainLogin.create(t);
    await login.keyring.killDaemon();
    const plugin = await login.plugin();
    const { storage, state, refreshable, expiresAt } = await plugin.status(login.config);
    assert.deepEqual({ storage, state, refreshable }, { storage: "keychain", state: "valid", refreshable: true });
    assert.equal(expiresAt, login.stored.expires);
    const [profile] = (await plugin.call("listProfiles", [login.config])) as { storage: string }[];
    assert.equal(profile?.storage, "keychain");
  });

  test("processes that ask at the same time refresh once", async (t) => {
    const login = await KeychainLogin.create(t);
    const plugins = await Promise.all([1, 2, 3, 4].map(() => login.plugin()));
    login.expire();
    const tokens = await Promise.all(plugins.flatMap((plugin) => [1, 2].map(() => plugin.accessToken(login.config))));
    assert.deepEqual([...new Set(tokens)], [login.tokens().access]);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    login.assertTidy();
  });

  test("a token of 100 KB", async (t) => {
    const login = await KeychainLogin.prepare(t);
    const stub = await StubServer.start(t);
    const [access, refresh] = ["a".repeat(100_000), "r".repeat(50_000)];
    stub.describe({});
    stub.route("/device", {
      status: 200,
      body: {
        device_code: "device-code",
        user_code: "ABCD-EFGH",
        verification_uri: "https://example.com/device",
        expires_in: 600,
        interval: 1,
      },
    });
    stub.route("/token", {
      status: 200,
      body: { access_token: access, refresh_token: refresh, token_type: "Bearer", expires_in: 3600 },
    });
    const config = { ...login.config, issuer: stub.origin };
    await (await login.plugin()).login(config);
    assert.deepEqual(login.tokens(), { access, refresh });
    login.assertInNoFile(access.slice(0, 99), refresh.slice(0, 99));
    assert.equal(await (await login.plugin()).accessToken(config), access);
  });

  test("a login moves the tokens from the file to the keychain, and back", async (t) => {
    const login = await KeychainLogin.prepare(t);
    const plugin = await login.plugin();
    const { storage: _, ...inFile } = login.config;
    assert.equal((await login.logIn(plugin, inFile)).storage, "file");
    const { access, refresh = "" } = login.stored;
    assert.ok(access && refresh);
    // The choice belongs to the login, and later configs do not change it.
    assert.equal(await plugin.accessToken(login.config), access);
    assert.equal((await plugin.status(login.config)).storage, "file");

    await login.logIn(plugin);
    login.assertInNoFile(access, refresh);
    login.assertTidy();
    const kept = login.tokens();

    await login.logIn(plugin, { ...login.config, storage: "file" });
    assert.equal(login.stored.storage, undefined);
    login.assertTidy();
    login.assertInNoFile(kept.access, kept.refresh);
    assert.equal(await plugin.accessToken(inFile), login.stored.access);
    assert.equal(await plugin.accessToken(login.config), login.stored.access);
  });

  test("a refresh that the server refuses is noted, and the tokens stay where they are", async (t) => {
    const login = await KeychainLogin.create(t);
    const before = login.tokens();
    login.expire();
    await login.server.intercept({ grant: "refresh_token" }, { respond: { status: 503, body: "" } });
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), { code: "SERVER_ERROR" });
    assert.equal(login.stored.lastRefresh?.code, "SERVER_ERROR");
    assert.deepEqual(login.tokens(), before);
    login.assertTidy();
    assert.equal((await plugin.status(login.config)).lastError?.code, "SERVER_ERROR");
  });

  test("an exit in the middle of a refresh waits until it is saved", async (t) => {
    const login = await KeychainLogin.create(t);
    login.expire();
    const plugin = await login.plugin();
    const held = await login.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
    plugin.begin("getValidAccessToken", [login.config]);
    await held.arrived;
    plugin.child.send({ end: "process.exit" });
    await plugin.child.event("leaving");
    await held.remove();
    assert.deepEqual(await plugin.child.exit, { code: 3, signal: null });
    const access = login.tokens().access;
    assert.notEqual(await (await login.plugin()).accessToken(login.config, { rejectedToken: access }), access);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 2);
  });
});

describe("the keychain fails", { concurrency: 4, skip }, () => {
  test("it goes away after the login: an error, nothing changes, and it works again when it is back", async (t) => {
    const login = await KeychainLogin.create(t);
    const user = await login.plugin();
    const access = await user.accessToken(login.config);
    const text = login.text;
    await login.keyring.killDaemon();
    // A process that has the token keeps it, as long as it lives.
    assert.equal(await user.accessToken(login.config), access);
    const other = await login.plugin();
    for (const attempt of [
      () => other.accessToken(login.config),
      () => other.call("logout", [login.config]),
      () => other.accessToken({ ...login.config, storage: "auto" }),
      () => user.accessToken(login.config, { rejectedToken: access }),
    ]) {
      await assert.rejects(
        attempt(),
        (error: { code: string; message: string; retryable: boolean; needsLogin: boolean }) => {
          assert.equal(error.code, "STORE_IO", error.message);
          assert.equal(error.retryable, true);
          assert.equal(error.needsLogin, false);
          assert.match(error.message, /keychain cannot be reached .* then try again\. The login of .* is kept\./);
          return true;
        },
      );
    }
    assert.equal(login.text, text);
    assert.deepEqual(await login.server.requests({ grant: "refresh_token" }), []);
    await login.keyring.startDaemon();
    assert.equal(await other.accessToken(login.config), access);
    assert.notEqual(await user.accessToken(login.config, { rejectedToken: access }), access);
    login.assertTidy();
  });

  test("a session without a bus", async (t) => {
    const login = await KeychainLogin.create(t);
    const text = login.text;
    const headless = await login.plugin({});
    await assert.rejects(headless.accessToken(login.config), { code: "STORE_IO", retryable: true });
    assert.equal((await headless.status(login.config)).state, "valid");
    assert.equal(login.text, text);
  });

  test("it is locked: no dialog, no waiting, an error; unlocked it works", async (t) => {
    const login = await KeychainLogin.create(t);
    const { access } = login.tokens();
    await login.keyring.lock();
    const plugin = await login.plugin();
    const locked = { code: "STORE_IO", retryable: true, message: /keychain is locked\. Unlock it, then try again/ };
    await assert.rejects(plugin.accessToken(login.config), locked);
    await assert.rejects(plugin.login({ ...login.config, profile: "other" }), locked);
    await login.keyring.killDaemon();
    await login.keyring.startDaemon();
    assert.equal(await plugin.accessToken(login.config), access);
  });

  test("it does not answer: an error after 3 s, and after that it works", async (t) => {
    const login = await KeychainLogin.create(t);
    const { access } = login.tokens();
    login.keyring.freeze();
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /did not answer within 3 s/,
    });
    login.keyring.thaw();
    assert.equal(await plugin.accessToken(login.config), access);
  });

  test("it goes away between the server's answer and the save: the token is handed out and saved later", async (t) => {
    const login = await KeychainLogin.create(t);
    const before = login.text;
    const plugin = await login.plugin();
    const old = await plugin.accessToken(login.config);
    const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
    const refreshed = plugin.accessToken(login.config, { rejectedToken: old });
    await held.arrived;
    await login.keyring.killDaemon();
    await held.release();
    const access = await refreshed;
    assert.notEqual(access, old);
    assert.equal(login.text, before);
    const { lastError, storage } = await plugin.status(login.config);
    assert.match(lastError?.message ?? "", /not saved yet .* keychain/);
    assert.equal(storage, undefined);
    const other = await login.plugin();
    await assert.rejects(other.accessToken({ ...login.config, lockTimeoutMs: 0 }));
    await login.keyring.startDaemon();
    // The event loop lives on until it is saved.
    await plugin.end();
    assert.equal(login.tokens().access, access);
    assert.equal(await other.accessToken(login.config), access);
    login.assertTidy();
  });

  test("a second keyring is locked, a backup of the first: what is gone stays on no record", async (t) => {
    const login = await KeychainLogin.create(t);
    await login.keyring.killDaemon();
    const keyrings = join(login.home.path, ".local", "share", "keyrings");
    copyFileSync(join(keyrings, "login.keyring"), join(keyrings, "login_1.keyring"));
    await login.keyring.startDaemon();
    const plugin = await login.plugin();
    const records: number[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      login.expire();
      await plugin.accessToken(login.config);
      records.push((login.stored.formerSecrets as string[]).length);
    }
    assert.equal(records[2], records[1]);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
  });

  test("its entry is deleted by hand: only a login helps, and a logout works", async (t) => {
    const login = await KeychainLogin.create(t);
    login.keyring.remove(login.stored.secretsId as string);
    const text = login.text;
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), {
      code: "LOGIN_REQUIRED",
      message: /no longer holds the tokens/,
    });
    assert.equal(login.text, text);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: false, removed: true });
    assert.equal((await plugin.status(login.config)).state, "logged_out");
    await login.logIn(plugin);
    assert.equal(await plugin.accessToken(login.config), login.tokens().access);
    login.assertTidy();
  });
});

describe("choosing at login", { concurrency: 4, skip }, () => {
  test("without a keychain, `keychain` fails before a person is troubled", async (t) => {
    const login = await KeychainLogin.prepare(t);
    const headless = await login.plugin({});
    await assert.rejects(headless.login(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /cannot be reached \(.+\)\. Start it in the session of this process \(.*DBUS_SESSION_BUS_ADDRESS/,
    });
    await login.keyring.killDaemon();
    const plugin = await login.plugin();
    await assert.rejects(plugin.login(login.config), { code: "STORE_IO", message: /cannot be reached/ });
    assert.deepEqual(await login.server.requests(), []);
    assert.equal((await plugin.status(login.config)).state, "logged_out");
  });

  test("without a keychain, `auto` takes the file, and stays with it", async (t) => {
    const login = await KeychainLogin.prepare(t, {}, { storage: "auto" });
    assert.equal((await login.logIn(await login.plugin({}))).storage, "file");
    const plugin = await login.plugin();
    assert.equal(await plugin.accessToken(login.config), login.stored.access);
    login.expire();
    assert.equal(await plugin.accessToken(login.config), login.stored.access);
    assert.deepEqual(login.keyring.accounts(), []);
    // The next login chooses again.
    assert.equal((await login.logIn(plugin)).storage, "keychain");
    login.assertTidy();
  });

  test("with a keychain, `auto` takes it, and never makes a second copy", async (t) => {
    const login = await KeychainLogin.prepare(t, {}, { storage: "auto" });
    assert.equal((await login.logIn(await login.plugin())).storage, "keychain");
    const { access, refresh } = login.tokens();
    login.expire();
    const headless = await login.plugin({});
    await assert.rejects(headless.accessToken(login.config), { code: "STORE_IO", retryable: true });
    login.assertInNoFile(access, refresh);
    assert.deepEqual(await login.server.requests({ grant: "refresh_token" }), []);
  });

  test("a keyring without a default keyring is none", async (t) => {
    const login = await KeychainLogin.prepare(t);
    await login.keyring.killDaemon();
    await login.keyring.startDaemon({ locked: true });
    const plugin = await login.plugin();
    await assert.rejects(plugin.login(login.config), { code: "STORE_IO", message: /keychain (is locked|refused)/ });
  });
});

describe("builds", { concurrency: 4, skip }, () => {
  const keychainBuild = /^clawdbot-plugin-auth-keychain\./;

  test("the default build says what to do about tokens in a keychain, and only a login replaces them", async (t) => {
    const login = await KeychainLogin.create(t);
    const { access, refresh } = login.tokens();
    const copy = copyOfThePackage(login.home, "copy", (name) => !keychainBuild.test(name));
    const plugin = await login.plugin({ ...login.keyring.env, PLUGIN_AUTH_COPY: join(copy, "index.js") });
    const { storage: _, ...plain } = login.config;
    const text = login.text;
    for (const config of [plain, { ...plain, storage: "auto" }, { ...plain, storage: "file" }] as AuthConfig[]) {
      // With "file" a logout closes the file: keychain-programs.test.ts.
      for (const call of config.storage === "file" ? ["getValidAccessToken"] : ["getValidAccessToken", "logout"]) {
        await assert.rejects(plugin.call(call, [config]), {
          code: "INVALID_CONFIG",
          needsLogin: false,
          message: /lie in the system's keychain.*`storage: "keychain"`.*clawdbot-plugin-auth-keychain/,
        });
      }
      assert.equal((await plugin.status(config)).storage, "keychain");
    }
    assert.equal(login.text, text);
    assert.equal((await login.logIn(plugin, plain)).storage, "file");
    assert.equal(await plugin.accessToken(plain), login.stored.access);
    login.assertInNoFile(access, refresh);
    // Entries that could not be removed from the keychain are removed by the next login that can.
    assert.equal(login.keyring.accounts().length, 1);
    await login.logIn(await login.plugin());
    login.assertTidy();
  });

  test("without the package, `keychain` names it and `auto` takes the file", async (t) => {
    const login = await KeychainLogin.prepare(t);
    const copy = copyOfThePackage(login.home, "copy", (name) => !keychainBuild.test(name));
    const plugin = await login.plugin({ ...login.keyring.env, PLUGIN_AUTH_COPY: join(copy, "index.js") });
    const missing = { code: "INVALID_CONFIG", message: /takes the package clawdbot-plugin-auth-keychain/ };
    for (const call of ["login", "getValidAccessToken", "logout"]) {
      await assert.rejects(plugin.call(call, [login.config]), missing);
    }
    assert.equal((await plugin.status(login.config)).state, "logged_out");
    // The doctor never rejects for what it finds.
    assert.equal(((await plugin.call("doctor", [login.config])) as { checks: unknown[] }).checks.length > 0, true);
    const auto = { ...login.config, storage: "auto" as const };
    assert.equal((await login.logIn(plugin, auto)).storage, "file");
    assert.equal(await plugin.accessToken(auto), login.stored.access);
  });

  test("the package is found beside this one, by its own folder, in the same version only", async (t) => {
    const login = await KeychainLogin.create(t);
    const copy = copyOfThePackage(login.home, "copy", (name) => !keychainBuild.test(name));
    const binary = copyOfThePackage(login.home, "binary", (name) => keychainBuild.test(name));
    const installed = join(copy, "node_modules", "clawdbot-plugin-auth-keychain");
    mkdirSync(installed, { recursive: true });
    const { version } = JSON.parse(readFileSync(join(copy, "package.json"), "utf8"));
    const install = (installedVersion: string) => {
      const resolve = `(triple) => ${JSON.stringify(binary)} + "/clawdbot-plugin-auth-keychain." + triple + ".node"`;
      writeFileSync(
        join(installed, "index.js"),
        `module.exports = { version: "${installedVersion}", resolve: ${resolve} };`,
      );
    };
    install(version);
    const env = { ...login.keyring.env, PLUGIN_AUTH_COPY: join(copy, "index.js") };
    assert.equal(await (await login.plugin(env)).accessToken(login.config), login.tokens().access);
    install("9.9.9");
    await assert.rejects((await login.plugin(env)).accessToken({ ...login.config, storage: "auto" }), {
      code: "INVALID_CONFIG",
      message: /version 9\.9\.9 is installed/,
    });
  });

  test("the keychain build is loaded only for a config that asks for it", async (t) => {
    const login = await KeychainLogin.create(t);
    const plugin = await login.plugin();
    const maps = () => readFileSync(`/proc/${plugin.child.pid}/maps`, "utf8");
    const { storage: _, ...plain } = login.config;
    await plugin.status(plain);
    assert.doesNotMatch(maps(), /clawdbot-plugin-auth-keychain\./);
    await plugin.accessToken(login.config);
    assert.match(maps(), /clawdbot-plugin-auth-keychain\./);
  });
});
