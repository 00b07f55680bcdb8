/**
 * `storage: "keychain"` with real programs besides gnome-keyring: KeePassXC, KWallet, oo7. Missing ones are skipped:
 * `npm run test:long` installs them. keychain-programs.test.ts tests their differences one by one.
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { describe } from "node:test";
import { KeychainLogin } from "../support/keychain-login.ts";
import { KeychainProgram, type ProgramName } from "../support/keychain-program.ts";
import { Keyring } from "../support/keyring.ts";
import type { Lifetime } from "../support/lifetime.ts";
import type { PluginProcess } from "../support/plugin-process.ts";
import { realKeychainLogin, silent, withoutItsOwnCrash as test } from "../support/real-keychain.ts";
import { StubServer } from "../support/stub-server.ts";
import { Tracer } from "../support/tracer.ts";

const isMain = (title: string) => /KeePassXC$/.test(title) && !/^Unlock/.test(title);

async function create(t: Lifetime, name: ProgramName) {
  const login = await realKeychainLogin(t, name);
  await login.logIn(await login.plugin());
  return login;
}

/** The accounts of the entries that are more than a trial, sorted. */
function withTokens(login: KeychainLogin<KeychainProgram>): string[] {
  return login.keyring.accounts().filter((account) => !account.endsWith("/trial"));
}

/**
 * KeePassXC confirms before it writes: the former entry stays until the next refresh, which makes it into the newest.
 */
function assertKept(login: KeychainLogin<KeychainProgram>, name: ProgramName): void {
  const { secretsId, previousSecretsId } = login.stored as unknown as { secretsId: string; previousSecretsId?: string };
  const former = name === "keepassxc" && previousSecretsId !== undefined ? [previousSecretsId] : [];
  assert.deepEqual(withTokens(login), [secretsId, ...former].sort());
}

function assertNoWindow(login: KeychainLogin<KeychainProgram>): void {
  assert.deepEqual(
    login.keyring.screen.windows().filter((title) => !isMain(title)),
    [],
  );
}

async function assertHolds(t: Lifetime, name: ProgramName, size: number): Promise<void> {
  const login = await create(t, name);
  const stub = await StubServer.start(t);
  const access = "a".repeat(size);
  stub.describe({});
  stub.route("/token", {
    status: 200,
    body: { access_token: access, refresh_token: "r2", token_type: "Bearer", expires_in: 3600 },
  });
  const config = { ...login.config, issuer: stub.origin, clientId: "client" };
  const plugin = await login.plugin();
  await plugin.call("importToken", [config, { access: "old", refresh: "r1", expires: Date.now() - 1000 }]);
  assert.equal(await plugin.accessToken(config), access);
  assert.equal(await (await login.plugin()).accessToken(config), access);
}

for (const name of ["keepassxc", "oo7-daemon"] as const) {
  const skip = Keyring.unavailable() || KeychainProgram.unavailable(name);
  describe(name, { concurrency: 2, skip }, () => {
    test("a whole life, and one refresh for two processes", async (t) => {
      const login = await create(t, name);
      const plugins = await Promise.all([login.plugin(), login.plugin()]);
      const first = login.tokens();
      for (const plugin of plugins) assert.equal(await plugin.accessToken(login.config), first.access);
      for (let turn = 1; turn <= 3; turn += 1) {
        login.expire();
        const tokens = await Promise.all(plugins.map((plugin) => plugin.accessToken(login.config)));
        assert.deepEqual([...new Set(tokens)], [login.tokens().access]);
        assert.equal((await login.server.requests({ grant: "refresh_token" })).length, turn);
        assertKept(login, name);
      }
      login.assertInNoFile(first.access, first.refresh, login.tokens().refresh);
      assert.deepEqual(await plugins[0]?.call("logout", [login.config]), { revoked: true, removed: true });
      assert.deepEqual(login.keyring.accounts(), []);
      assert.equal(await login.server.stored("RefreshToken"), 0);
      assertNoWindow(login);
    });

    test("locked: an error for every call, no window, no other account; unlocked it goes on", async (t) => {
      const login = await create(t, name);
      const { access } = login.tokens();
      const text = login.text;
      const plugin = await login.plugin();
      const { storage: _, ...inFile } = login.config;
      await plugin.call("importToken", [{ ...inFile, profile: "personal" }, { access: "personal-token" }]);
      await login.keyring.lock();
      const ordered = { ...login.config, order: ["default", "personal"] };
      const locked = { code: "STORE_IO", retryable: true, needsLogin: false, message: /keychain is locked/ };
      for (const config of [login.config, ordered]) await assert.rejects(plugin.accessToken(config), locked);
      const { checks } = (await plugin.call("doctor", [login.config])) as {
        checks: { name: string; message: string }[];
      };
      assert.match(checks.find((check) => check.name === "login")?.message ?? "", /keychain is locked/);
      assertNoWindow(login);
      assert.equal(login.text, text);
      await login.keyring.kill();
      await assert.rejects((await login.plugin()).accessToken(ordered), { code: "STORE_IO", retryable: true });
      await login.keyring.run();
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
      assertNoWindow(login);
    });

    test("an entry that was deleted by hand is gone, one that was edited as well; a login helps", async (t) => {
      const login = await create(t, name);
      const plugin = await login.plugin();
      login.keyring.remove(login.stored.secretsId as string);
      await assert.rejects(plugin.accessToken(login.config), { code: "LOGIN_REQUIRED" });
      await login.logIn(plugin);
      await login.keyring.edit(login.stored.secretsId as string, "999999{}");
      await assert.rejects((await login.plugin()).accessToken(login.config), { code: "LOGIN_REQUIRED" });
      await login.logIn(plugin);
      assert.equal(await plugin.accessToken(login.config), login.tokens().access);
      assert.equal(withTokens(login).length, 1);
    });

    for (const size of [8_000, 100_000]) test(`a token of ${size / 1000} KB`, (t) => assertHolds(t, name, size));

    test("killed right after a refresh: nothing is lost that the server still takes", async (t) => {
      const login = await realKeychainLogin(t, name, { rotation: false });
      const plugin = await login.plugin();
      await login.logIn(plugin);
      if (name === "keepassxc") await login.keyring.written(login.stored.refreshedAt);
      login.expire();
      const access = await plugin.accessToken(login.config);
      await login.keyring.kill();
      await login.keyring.run();
      const next = await (await login.plugin()).accessToken(login.config);
      if (name === "oo7-daemon") assert.equal(next, access);
      assert.equal(await login.server.stored("RefreshToken"), 1);
      assert.equal(login.tokens().access, next);
    });
  });
}

describe("kwalletd5", {
  concurrency: 2,
  skip: Keyring.unavailable() || KeychainProgram.unavailable("kwalletd5"),
}, () => {
  test("a wallet that the session's login has opened: a whole life, and one refresh for two processes", async (t) => {
    const login = await create(t, "kwalletd5");
    const plugins = await Promise.all([login.plugin(), login.plugin()]);
    login.expire();
    const tokens = await Promise.all(plugins.map((plugin) => plugin.accessToken(login.config)));
    assert.equal(new Set(tokens).size, 1);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    login.assertInNoFile(...new Set(tokens));
    // A restart at the next login of the session: it says "locked" again, and the wallet is open.
    await login.keyring.written(login.stored.refreshedAt);
    await login.keyring.kill("SIGTERM");
    await login.keyring.run();
    const plugin = await login.plugin();
    assert.equal(await plugin.accessToken(login.config), tokens[0]);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    await assert.rejects(plugin.accessToken(login.config), { code: "LOGIN_REQUIRED" });
    assertNoWindow(login);
  });

  test("killed right after a refresh, before it has written: nothing is lost that the server still takes", async (t) => {
    const login = await realKeychainLogin(t, "kwalletd5", { rotation: false });
    const plugin = await login.plugin();
    await login.logIn(plugin);
    await login.keyring.written(login.stored.refreshedAt);
    login.expire();
    await plugin.accessToken(login.config);
    await login.keyring.kill();
    await login.keyring.run();
    const next = await (await login.plugin()).accessToken(login.config);
    assert.equal(await (await login.plugin()).accessToken(login.config), next);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 2);
    assertNoWindow(login);
  });
});

for (const name of ["keepassxc", "oo7-daemon", "kwalletd5"] as const) {
  const skip = Keyring.unavailable() || KeychainProgram.unavailable(name);
  describe(`${name}: kills, copies and hands`, { concurrency: 2, skip }, () => {
    test("a second entry of the same name goes with the first", async (t) => {
      const login = await create(t, name);
      const plugin = await login.plugin();
      const first = login.stored.secretsId as string;
      await login.keyring.copy(first);
      assert.deepEqual(await login.keyring.entries(), [first, first]);
      // KeePassXC would ask a person: each refresh makes one of them into the newest instead.
      for (let turn = 1; turn <= (name === "keepassxc" ? 3 : 2); turn += 1) {
        login.expire();
        await plugin.accessToken(login.config);
      }
      assert.ok(!(await login.keyring.entries()).includes(first));
      await plugin.call("logout", [login.config]);
      assert.deepEqual(await login.keyring.entries(), []);
      assertNoWindow(login);
    });

    test("a process that is killed when the keychain has the new tokens and the file does not: the next goes on", async (t) => {
      const login = await create(t, name);
      const victim = await login.plugin();
      const old = await victim.accessToken(login.config);
      const held = await login.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
      const outcome = victim.accessToken(login.config, { rejectedToken: old });
      await held.arrived;
      const calls = { calls: "/^rename", path: dirname(login.path) };
      await Tracer.attach(t, victim.child.pid, calls, { kill: true });
      await Promise.all([assert.rejects(outcome), held.release()]);
      assert.equal((await login.keyring.entries()).length, 2);
      const next = await (await login.plugin()).accessToken(login.config, { rejectedToken: old });
      assert.notEqual(next, old);
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
      assertNoWindow(login);
    });

    test("the program dies between the server's answer and the save: handed out, and saved when it is back", async (t) => {
      const login = await create(t, name);
      if (name !== "oo7-daemon") await login.keyring.written(login.stored.refreshedAt);
      const plugin = await login.plugin();
      const old = await plugin.accessToken(login.config);
      const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const refreshed = plugin.accessToken(login.config, { rejectedToken: old });
      await held.arrived;
      await login.keyring.kill();
      await held.release();
      const access = await refreshed;
      assert.notEqual(access, old);
      await login.keyring.run();
      await plugin.end();
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
      assertNoWindow(login);
    });
  });
}

for (const name of ["keepassxc", "oo7-daemon", "kwalletd5"] as const) {
  const skip = Keyring.unavailable() || KeychainProgram.unavailable(name);
  describe(`${name}: what a person does meanwhile`, { concurrency: 2, skip }, () => {
    test("locked between the server's answer and the save: handed out, and saved when it is open again", async (t) => {
      const login = await create(t, name);
      if (name !== "oo7-daemon") await login.keyring.written(login.stored.refreshedAt);
      const plugin = await login.plugin();
      const old = await plugin.accessToken(login.config);
      const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const refreshed = plugin.accessToken(login.config, { rejectedToken: old });
      await held.arrived;
      if (name === "kwalletd5") await login.keyring.closeWallet();
      else await login.keyring.lock();
      await held.release();
      const access = await refreshed;
      assert.notEqual(access, old);
      assertNoWindow(login);
      if (name === "kwalletd5") await login.keyring.openWallet();
      else {
        await login.keyring.kill("SIGTERM");
        await login.keyring.run();
      }
      await plugin.end();
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
      assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    });

    test("another label and another content type change nothing; of two entries the one that is not empty is read", async (t) => {
      const login = await create(t, name);
      const access = await (await login.plugin()).accessToken(login.config);
      const id = login.stored.secretsId as string;
      await login.keyring.relabel(id);
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
      await login.keyring.copy(id);
      await login.keyring.edit(id, "");
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
      login.expire();
      const next = await (await login.plugin()).accessToken(login.config);
      assert.notEqual(next, access);
      assert.equal(await (await login.plugin()).accessToken(login.config), next);
      assertNoWindow(login);
    });
  });
}

for (const name of ["keepassxc", "kwalletd5"] as const) {
  test(
    `${name} with a second keyring that is locked: the login goes on in its own, and what is gone stays on no record`,
    async (t) => {
      const login = await create(t, name);
      await login.keyring.written(login.stored.refreshedAt);
      await login.keyring.runWithSecond();
      const plugin = await login.plugin();
      const records: number[] = [];
      for (let turn = 0; turn < 4; turn += 1) {
        login.expire();
        await plugin.accessToken(login.config);
        records.push((login.stored.formerSecrets as string[]).length);
      }
      assert.equal(records[3], records[2]);
      const { checks } = (await plugin.call("doctor", [login.config])) as { checks: { name: string; level: string }[] };
      assert.equal(checks.find((check) => check.name === "leftovers")?.level, "ok");
      assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
      assert.deepEqual(await login.keyring.entries(), []);
      assertNoWindow(login);
    },
    Keyring.unavailable() || KeychainProgram.unavailable(name),
  );

  const skip = Keyring.unavailable() || KeychainProgram.unavailable(name);
  test(
    `gnome-keyring ends and ${name} takes its place: no lost login, no other account`,
    async (t) => {
      const login = await KeychainLogin.create(t);
      const { access } = login.tokens();
      const plugin = await login.plugin();
      const { storage: _, ...inFile } = login.config;
      await plugin.call("importToken", [{ ...inFile, profile: "personal" }, { access: "personal-token" }]);
      await login.keyring.killDaemon();
      const other = await KeychainProgram.start(t, login.home, name, silent, login.keyring.session);
      const ordered = { ...login.config, order: ["default", "personal"] };
      const elsewhere = { code: "STORE_IO", retryable: true, needsLogin: false, message: /the keyring "login" now/ };
      for (const config of [login.config, ordered])
        await assert.rejects((await login.plugin()).accessToken(config), elsewhere);
      await assert.rejects(plugin.call("logout", [login.config]), elsewhere);
      assert.deepEqual(
        other.screen.windows().filter((title) => !isMain(title)),
        [],
      );
      await other.kill();
      await login.keyring.startDaemon();
      assert.equal(await (await login.plugin()).accessToken(ordered), access);
    },
    skip,
  );
}

describe("kwalletd5: by hand", {
  concurrency: 2,
  skip: Keyring.unavailable() || KeychainProgram.unavailable("kwalletd5"),
}, () => {
  test("a wallet that is closed: an error, no window; open again it goes on", async (t) => {
    const login = await create(t, "kwalletd5");
    const access = await (await login.plugin()).accessToken(login.config);
    const before = login.keyring.screen.picture("kwalletd5-before");
    await login.keyring.closeWallet();
    await assert.rejects((await login.plugin()).accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /keychain is locked.* KWallet: create or open the wallet/,
    });
    assert.ok(login.keyring.screen.picture("kwalletd5-closed").equals(before), "something is on the screen");
    await login.keyring.openWallet();
    assert.equal(await (await login.plugin()).accessToken(login.config), access);
    assertNoWindow(login);
  });

  test("an entry that was deleted or edited is gone; a login helps", async (t) => {
    const login = await create(t, "kwalletd5");
    await login.keyring.delete(login.stored.secretsId as string);
    await assert.rejects((await login.plugin()).accessToken(login.config), { code: "LOGIN_REQUIRED" });
    await login.logIn(await login.plugin());
    await login.keyring.edit(login.stored.secretsId as string, "999999{}");
    await assert.rejects((await login.plugin()).accessToken(login.config), { code: "LOGIN_REQUIRED" });
    await login.logIn(await login.plugin());
    await (await login.plugin()).accessToken(login.config);
    assertNoWindow(login);
  });

  for (const size of [8_000, 100_000]) test(`a token of ${size / 1000} KB`, (t) => assertHolds(t, "kwalletd5", size));
});

describe("KeePassXC with its own settings", {
  concurrency: 2,
  skip: Keyring.unavailable() || KeychainProgram.unavailable("keepassxc"),
}, () => {
  test("without an open database: an error that says so, no window, and the file can be closed", async (t) => {
    const login = await create(t, "keepassxc");
    const kept = login.stored.secretsId;
    await login.keyring.kill();
    await login.keyring.runClosed();
    const plugin = await login.plugin();
    const closed = (what: RegExp) => ({ code: "STORE_IO", retryable: true, message: what });
    const elsewhere = closed(/does not have the keyring "passwords" now.* KeePassXC: open the database/);
    await assert.rejects(plugin.accessToken(login.config), elsewhere);
    const none = closed(/no default keyring.* KeePassXC: open the database/);
    await assert.rejects(plugin.call("importToken", [{ ...login.config, profile: "b" }, { access: "x" }]), none);
    await assert.rejects(plugin.call("logout", [login.config]), elsewhere);
    assertNoWindow(login);
    const logout = await plugin.call("logout", [{ ...login.config, storage: "file" }]);
    assert.deepEqual(logout, { revoked: false, removed: true, leftInKeychain: [kept] });
  });

  test("asks before it removes: nothing but a logout removes, so no other call opens a window", async (t) => {
    const login = await realKeychainLogin(t, "keepassxc", {}, "ConfirmAccessItem=false");
    const plugins = await Promise.all([login.plugin(), login.plugin()]);
    await login.logIn(plugins[0] as PluginProcess);
    for (let turn = 1; turn <= 4; turn += 1) {
      login.expire();
      const tokens = await Promise.all(plugins.map((plugin) => plugin.accessToken(login.config)));
      assert.deepEqual([...new Set(tokens)], [login.tokens().access]);
      assertKept(login, "keepassxc");
      for (const fix of [false, true]) await plugins[0]?.call("doctor", [login.config, { fix }]);
      await plugins[0]?.status(login.config);
      login.keyring.screen.picture(`keepassxc-confirms-${turn}`);
      assertNoWindow(login);
    }
  });

  test("asks about every program that reads: an error that names the settings, and no window", async (t) => {
    const login = await realKeychainLogin(t, "keepassxc", {}, "ConfirmDeleteItem=false");
    await login.logIn(await login.plugin());
    await assert.rejects((await login.plugin()).accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /KeePassXC: .*switch off "Confirm when passwords are retrieved/,
    });
    assertNoWindow(login);
  });
});
