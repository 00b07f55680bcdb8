/** `storage: "keychain"` with a Secret Service that does what programs other than gnome-keyring do. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { AuthConfig, DoctorReport } from "../../index.js";
import { KeychainLogin } from "../support/keychain-login.ts";
import { Keyring } from "../support/keyring.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { complete } from "../support/login.ts";
import { copyOfThePackage } from "../support/package-copy.ts";
import { Person } from "../support/person.ts";
import { SecretService, type SecretServiceOptions } from "../support/secret-service.ts";

const skip = Keyring.unavailable();
const locked = { code: "STORE_IO", retryable: true, needsLogin: false, message: /keychain is locked\. Unlock it/ };

function prepare(t: Lifetime, options: SecretServiceOptions = {}, config: Partial<AuthConfig> = {}) {
  return KeychainLogin.prepareIn(t, (home) => SecretService.start(t, home, options), {}, config);
}

async function create(t: Lifetime, options: SecretServiceOptions = {}) {
  const login = await prepare(t, options);
  await login.logIn(await login.plugin());
  return login;
}

/** The accounts of the entries that are more than a trial, sorted. */
function withTokens(login: KeychainLogin<SecretService>): string[] {
  return login.keyring.accounts().filter((account) => !account.endsWith("/trial"));
}

describe("a locked keyring that names no entries", { concurrency: 4, skip }, () => {
  test("is no lost login: every call says that it is locked, and nothing changes", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    const text = login.text;
    login.keyring.lock();
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), locked);
    await assert.rejects(plugin.accessToken(login.config, { rejectedToken: access }), locked);
    const request = { method: "GET", url: "https://api.example.com/" };
    await assert.rejects(plugin.call("authorizationHeaders", [login.config, request]), locked);
    assert.deepEqual(login.keyring.windows, []);
    assert.equal(login.text, text);
    assert.equal((await plugin.status(login.config)).state, "valid");
    login.keyring.unlock();
    assert.equal(await plugin.accessToken(login.config), access);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 0);
  });

  test("hands out no other account's token, and is asked before the next account is", async (t) => {
    const login = await prepare(t, {}, { profile: "work" });
    const plugin = await login.plugin();
    await login.logIn(plugin);
    const { storage: _, ...inFile } = login.config;
    await plugin.call("importToken", [{ ...inFile, profile: "personal" }, { access: "personal-token" }]);
    login.keyring.lock();
    const { profile: __, ...anyAccount } = login.config;
    const ordered = { ...anyAccount, order: ["work", "personal"] };
    await assert.rejects((await login.plugin()).accessToken(ordered), locked);
    login.keyring.unlock();
    const access = await (await login.plugin()).accessToken(ordered);
    assert.notEqual(access, "personal-token");
    // Gone is another thing: then the next account's turn has come.
    for (const account of login.keyring.accounts()) login.keyring.remove(account);
    assert.equal(await (await login.plugin()).accessToken(ordered), "personal-token");
  });

  test("a logout removes nothing, and a process that can revokes the tokens", async (t) => {
    const login = await create(t);
    login.keyring.lock();
    const plugin = await login.plugin();
    login.keyring.person = "declines";
    await assert.rejects(plugin.call("logout", [login.config]), locked);
    assert.deepEqual(login.keyring.windows, ["unlock"]);
    assert.equal(login.keyring.accounts().length, 1);
    login.keyring.person = "answers";
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
    assert.equal(await login.server.stored("RefreshToken"), 0);
  });

  test("a second one that is locked, too, may hold what the first does not", async (t) => {
    const login = await create(t, { secondKeyring: true });
    const plugin = await login.plugin();
    assert.equal(await plugin.accessToken(login.config), login.tokens().access);
    login.keyring.remove(login.stored.secretsId as string);
    await assert.rejects((await login.plugin()).accessToken(login.config), locked);
  });

  test("no default keyring, as in KeePassXC without an open database, is no lost login either", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    login.keyring.hasDefault = false;
    login.keyring.lock();
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), { code: "STORE_IO", retryable: true });
    login.keyring.unlock();
    login.keyring.hasDefault = true;
    assert.equal(await plugin.accessToken(login.config), access);
  });
});

test("a program that knows no more than it has to: a whole life", { skip }, async (t) => {
  const login = await create(t, { bare: true });
  const plugin = await login.plugin();
  login.expire();
  assert.equal(await plugin.accessToken(login.config), login.tokens().access);
  login.assertTidy();
  assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
  assert.deepEqual(login.keyring.accounts(), []);
});

for (const prompts of [false, true]) {
  const how = prompts ? "by prompts" : "at once";
  test(`another keyring becomes the default: the login moves with its next refreshes (entries go ${how})`, {
    skip,
  }, async (t) => {
    const login = await create(t, { prompts, secondKeyring: true });
    const { access } = login.tokens();
    login.keyring.makeSecondDefault();
    const plugin = await login.plugin();
    assert.equal(await plugin.accessToken(login.config), access);
    for (let turn = 0; turn < 4; turn += 1) {
      login.expire();
      assert.equal(await plugin.accessToken(login.config), login.tokens().access);
    }
    // The entry that waits to be used again is the last one of each keyring.
    assert.ok(withTokens(login).length <= (prompts ? 3 : 1), `${withTokens(login)}`);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
  });
}

for (const prompts of [false, true]) {
  const how = prompts ? "by prompts" : "at once";
  test(`another keyring becomes the default and is locked: the login goes on in its own (entries go ${how})`, {
    skip,
  }, async (t) => {
    const login = await create(t, { prompts, secondKeyring: true });
    login.keyring.makeSecondDefault({ locked: true });
    const plugin = await login.plugin();
    for (let turn = 0; turn < 3; turn += 1) {
      login.expire();
      assert.equal(await plugin.accessToken(login.config), login.tokens().access);
      assert.match(login.stored.secretsId as string, /@first$/);
    }
    await plugin.call("importToken", [{ ...login.config, profile: "other" }, { access: "another-token" }]);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    await plugin.call("logout", [{ ...login.config, profile: "other" }]);
    assert.deepEqual(login.keyring.accounts(), []);
    assert.deepEqual(login.keyring.windows, []);
  });
}

test("another keyring becomes the default before the server's answer comes: the entry goes where its name says", {
  skip,
}, async (t) => {
  const login = await create(t, { secondKeyring: true });
  const plugin = await login.plugin();
  const old = await plugin.accessToken(login.config);
  const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const refreshed = plugin.accessToken(login.config, { rejectedToken: old });
  await held.arrived;
  login.keyring.makeSecondDefault();
  await held.release();
  await refreshed;
  assert.match(login.stored.secretsId as string, /@first$/);
  login.keyring.close("second");
  const elsewhere = { code: "STORE_IO", message: /does not have the keyring "first" now/ };
  await assert.rejects((await login.plugin()).accessToken(login.config), elsewhere);
});

describe("the session bus", { skip }, () => {
  test("is found by every spelling of its address, and without one", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    const runtime = login.keyring.env.XDG_RUNTIME_DIR as string;
    symlinkSync(runtime, join(login.home.path, "a b, 100%"));
    const escaped = `unix:path=${login.home.path}/a%20b%2c%20100%25/bus`;
    for (const address of [escaped, `unix:path=${runtime}/none;tcp:host=;${escaped}`, ""]) {
      const plugin = await login.plugin({ DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: runtime });
      assert.equal(await plugin.accessToken(login.config), access, address);
    }
    assert.equal(await (await login.plugin({ XDG_RUNTIME_DIR: runtime })).accessToken(login.config), access);
  });
});

describe("windows", { concurrency: 4, skip }, () => {
  test("a keyring locked while a login waits: the person who approves it is asked to unlock it", async (t) => {
    const login = await prepare(t);
    const plugin = await login.plugin();
    const status = plugin.login(login.config);
    const shown = complete(await plugin.verification());
    login.keyring.lock();
    login.keyring.person = "answers";
    await new Person().approve(shown);
    assert.equal((await status).storage, "keychain");
    assert.deepEqual(login.keyring.windows, ["unlock"]);
    login.assertTidy();
  });

  test("a login opens the program's own, and goes on when a person has answered", async (t) => {
    const login = await prepare(t);
    login.keyring.lock();
    login.keyring.person = "answers";
    assert.equal((await login.logIn(await login.plugin())).storage, "keychain");
    assert.deepEqual(login.keyring.windows, ["unlock"]);
    login.keyring.lock();
    const { storage } = (await (await login.plugin()).call("importToken", [login.config, { access: "pasted" }])) as {
      storage: string;
    };
    assert.equal(storage, "keychain");
    assert.deepEqual(login.keyring.windows, ["unlock", "unlock"]);
  });

  test("a login with an unanswered window dismisses it and sends the server nothing", async (t) => {
    const login = await prepare(t);
    login.keyring.lock();
    await assert.rejects((await login.plugin()).login(login.config), locked);
    assert.deepEqual(login.keyring.windows, ["unlock"]);
    assert.equal(login.keyring.dismissed, 1);
    assert.deepEqual(await login.server.requests(), []);
  });

  test("KWallet that is open says locked, and its prompt opens none: every call runs it", async (t) => {
    const login = await create(t, { silentUnlock: true, names: ["org.kde.kwalletd5"] });
    const { access } = login.tokens();
    login.keyring.lock();
    assert.equal(await (await login.plugin()).accessToken(login.config), access);
    assert.deepEqual(login.keyring.windows, []);
  });

  test("only of KWallet is it known: elsewhere the prompt that unlocks is for a login", async (t) => {
    const login = await create(t, { silentUnlock: true });
    login.keyring.lock();
    await assert.rejects((await login.plugin()).accessToken(login.config), locked);
    await login.logIn(await login.plugin());
    login.assertTidy();
  });

  test("entries that are made and removed by prompts: a whole life, as in KeePassXC", async (t) => {
    const login = await create(t, { prompts: true });
    const plugins = await Promise.all([login.plugin(), login.plugin()]);
    login.expire();
    const tokens = await Promise.all(plugins.map((plugin) => plugin.accessToken(login.config)));
    assert.deepEqual([...new Set(tokens)], [login.tokens().access]);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    assert.deepEqual(await plugins[0]?.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
    assert.deepEqual(login.keyring.windows, []);
  });

  test("where a person is asked before an entry is removed, a login and refreshes ask nobody; a logout does", async (t) => {
    const login = await create(t, { prompts: true, confirmDelete: true });
    const plugin = await login.plugin();
    const trial = "memory/default/trial";
    let before = login.stored.secretsId as string;
    for (let turn = 1; turn <= 4; turn += 1) {
      login.expire();
      assert.equal(await plugin.accessToken(login.config), login.tokens().access);
      // The entry before it waits to be used again: no more than two, however many refreshes there are.
      const now = login.stored.secretsId as string;
      assert.deepEqual(login.keyring.accounts(), [trial, before, now].sort());
      before = now;
    }
    await plugin.call("doctor", [login.config, { fix: true }]);
    assert.deepEqual(login.keyring.windows, []);
    login.keyring.person = "declines";
    const { leftInKeychain } = (await plugin.call("logout", [login.config])) as { leftInKeychain: string[] };
    assert.deepEqual(leftInKeychain.sort(), withTokens(login));
    login.keyring.person = "answers";
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: false, removed: false });
    assert.deepEqual(login.keyring.accounts(), []);
    assert.deepEqual(new Set(login.keyring.windows), new Set(["delete"]));
  });

  test("where an entry cannot get another name, a refresh makes a new one, and the logout removes them all", async (t) => {
    const login = await create(t, { prompts: true, fixedAttributes: true });
    const plugin = await login.plugin();
    for (let turn = 0; turn < 3; turn += 1) {
      login.expire();
      assert.equal(await plugin.accessToken(login.config), login.tokens().access);
    }
    assert.equal(withTokens(login).length, 4);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
  });

  test("killed while it makes a spent entry into the new one: the next goes on with what is whole", async (t) => {
    const login = await KeychainLogin.prepareIn(t, (home) => SecretService.start(t, home, { prompts: true }), {
      rotation: false,
    });
    const plugin = await login.plugin();
    await login.logIn(plugin);
    for (const method of ["SetSecret", "Set"]) {
      for (let turn = 0; turn < 2; turn += 1) {
        login.expire();
        await plugin.accessToken(login.config);
      }
      login.expire();
      const victim = await login.plugin();
      const reached = login.keyring.hold(method, (account) => !account.endsWith("/trial"));
      const refresh = assert.rejects(victim.accessToken(login.config));
      await reached;
      victim.child.signal("SIGKILL");
      await refresh;
      login.keyring.letGo();
      const next = await (await login.plugin()).accessToken(login.config);
      assert.equal(next, login.tokens().access);
    }
    await plugin.call("logout", [login.config]);
    assert.deepEqual(login.keyring.accounts(), []);
  });
});

describe("what changes while it is asked", { concurrency: 4, skip }, () => {
  const ofTokens = (account: string) => !account.endsWith("/trial");

  test("an entry that another process replaces between the search and the read: the new one is read", async (t) => {
    const login = await create(t);
    const [reader, other] = await Promise.all([login.plugin(), login.plugin()]);
    const old = await other.accessToken(login.config);
    const reached = login.keyring.hold("GetSecret", ofTokens);
    const read = reader.accessToken(login.config);
    await reached;
    const access = await other.accessToken(login.config, { rejectedToken: old });
    login.keyring.letGo();
    assert.equal(await read, access);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
  });

  for (const emptyWhenLocked of [false, true]) {
    const what = emptyWhenLocked ? "gives an empty secret, as KWallet does" : "says so";
    test(`locked between the search and the read (it ${what}): no lost login, and no other account`, async (t) => {
      const login = await create(t, { emptyWhenLocked });
      const { access } = login.tokens();
      const plugin = await login.plugin();
      const { storage: _, ...inFile } = login.config;
      await plugin.call("importToken", [{ ...inFile, profile: "personal" }, { access: "personal-token" }]);
      const ordered = { ...login.config, order: ["default", "personal"] };
      for (const config of [login.config, ordered]) {
        const reached = login.keyring.hold("GetSecret", ofTokens);
        const read = assert.rejects((await login.plugin()).accessToken(config), locked);
        await reached;
        login.keyring.lock();
        login.keyring.letGo();
        await read;
        login.keyring.unlock();
      }
      assert.equal(await plugin.accessToken(ordered), access);
      assert.deepEqual(login.keyring.windows, []);
    });
  }

  test("locked during the search: no lost login", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    const plugin = await login.plugin();
    const reached = login.keyring.hold("SearchItems", () => true);
    const read = assert.rejects(plugin.accessToken(login.config), locked);
    await reached;
    login.keyring.lock();
    login.keyring.letGo();
    await read;
    login.keyring.unlock();
    assert.equal(await plugin.accessToken(login.config), access);
  });

  test("locked before an entry is made by a prompt: no window is opened for it", async (t) => {
    const login = await create(t, { prompts: true });
    const plugin = await login.plugin();
    login.expire();
    const reached = login.keyring.hold("CreateItem", () => true);
    const refresh = plugin.accessToken(login.config);
    await reached;
    login.keyring.lock();
    login.keyring.letGo();
    const access = await refresh;
    assert.deepEqual(login.keyring.windows, []);
    // Handed out, and saved when it is open again.
    login.keyring.unlock();
    await plugin.end();
    assert.equal(login.tokens().access, access);
  });

  test("an entry that another has removed before it is removed is gone, and not named as left", async (t) => {
    const login = await create(t);
    const first = login.stored.secretsId as string;
    const plugin = await login.plugin();
    const reached = login.keyring.hold("Delete", ofTokens);
    const logout = plugin.call("logout", [login.config]);
    await reached;
    login.keyring.remove(first);
    login.keyring.letGo();
    assert.deepEqual(await logout, { revoked: true, removed: true });
  });

  test("a session that the service has closed: an error that passes, and nothing changes", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    const text = login.text;
    login.keyring.failure = { method: "GetSecret", reason: "", error: "org.freedesktop.Secret.Error.NoSession" };
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), { code: "STORE_IO", retryable: true, message: /NoSession/ });
    assert.equal(login.text, text);
    login.keyring.failure = undefined;
    assert.equal(await plugin.accessToken(login.config), access);
  });

  test("a program that takes the place of another in the middle is not asked for the other's entries", async (t) => {
    const login = await create(t);
    const { access } = login.tokens();
    const reached = login.keyring.hold("SearchItems", () => true);
    const ended = assert.rejects((await login.plugin()).accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      needsLogin: false,
      message: /it ended before it answered/,
    });
    await reached;
    login.keyring.end();
    await SecretService.start(t, login.home, {}, login.keyring.session);
    await ended;
    assert.equal(login.stored.storage, "keychain");
    assert.ok(access.length > 10);
  });

  test("its whole name is in the error, though the kernel's name for a process has 15 letters", async (t) => {
    const login = await create(t);
    login.keyring.end();
    const program = join(login.home.path, "keyring-of-a-small-desktop");
    copyFileSync(process.execPath, program);
    const child = spawn(program, ["--import", "tsx", "support/secret-service-run.ts"], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      env: login.home.env(login.keyring.env),
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill());
    await once(child.stdout, "data");
    await assert.rejects((await login.plugin()).accessToken(login.config), {
      code: "STORE_IO",
      message: /keychain is locked\..* It is kept by keyring-of-a-small-desktop\.$/,
    });
  });

  test("a program that ends while its window is open is not waited for", { timeout: 25_000 }, async (t) => {
    const login = await prepare(t);
    login.keyring.lock();
    const failed = assert.rejects((await login.plugin()).login(login.config), { code: "STORE_IO", retryable: true });
    await login.keyring.shown;
    login.keyring.end();
    await failed;
  });

  test("the bus ends: an error, and nothing changes", async (t) => {
    const login = await create(t);
    const text = login.text;
    const plugin = await login.plugin();
    const reached = login.keyring.hold("GetSecret", ofTokens);
    const read = assert.rejects(plugin.accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /cannot be reached/,
    });
    await reached;
    await login.keyring.session.end();
    await read;
    await assert.rejects(plugin.accessToken(login.config), {
      code: "STORE_IO",
      retryable: true,
      message: /cannot be reached/,
    });
    assert.equal(login.text, text);
  });
});

describe("the keyring that has taken the tokens is not there", { concurrency: 4, skip }, () => {
  const elsewhere = {
    code: "STORE_IO",
    retryable: true,
    needsLogin: false,
    message: /does not have the keyring "first" now, which holds the tokens\..* If it is gone, log in again\./,
  };

  test("its database is closed and another is open: no lost login, no other account, and no logout", async (t) => {
    const login = await create(t, { secondKeyring: true });
    const { access } = login.tokens();
    const plugin = await login.plugin();
    const { storage: _, ...inFile } = login.config;
    await plugin.call("importToken", [{ ...inFile, profile: "personal" }, { access: "personal-token" }]);
    const ordered = { ...login.config, order: ["default", "personal"] };
    login.keyring.close("second");
    for (const config of [login.config, ordered])
      await assert.rejects((await login.plugin()).accessToken(config), elsewhere);
    await assert.rejects(plugin.call("logout", [login.config]), elsewhere);
    login.keyring.reopen();
    assert.equal(await (await login.plugin()).accessToken(ordered), access);
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
  });

  test("another program has its place: the same; a new login goes there, and the old tokens go when their program is back", async (t) => {
    const login = await create(t);
    const first = login.stored.secretsId as string;
    const secret = login.keyring.secret(first);
    login.keyring.end();
    const other = await SecretService.start(t, login.home, { keyring: "passwords" }, login.keyring.session);
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), elsewhere);
    await login.logIn(plugin);
    const second = login.stored.secretsId as string;
    assert.match(second, /@passwords$/);
    assert.deepEqual(other.accounts(), [second]);
    login.expire();
    await plugin.accessToken(login.config);
    assert.ok((login.stored.formerSecrets as string[]).includes(first));
    other.end();
    const back = await SecretService.start(t, login.home, {}, login.keyring.session);
    back.put(first, secret);
    await login.logIn(plugin);
    assert.deepEqual(back.accounts(), [login.stored.secretsId]);
  });

  for (const alias of ["stale", "none"] as const) {
    test(`it was deleted, and the alias "default" names ${alias === "stale" ? "it still" : "none"}`, async (t) => {
      const login = await create(t, { secondKeyring: true });
      login.keyring.close(alias);
      const plugin = await login.plugin();
      await assert.rejects(plugin.accessToken(login.config), elsewhere);
      const none = { code: "STORE_IO", message: /no default keyring.*Create or unlock one/ };
      await assert.rejects(plugin.login(login.config), none);
      login.keyring.makeSecondDefault();
      login.keyring.hasDefault = true;
      await login.logIn(plugin);
      assert.match(login.stored.secretsId as string, /@second$/);
    });
  }

  test("an entry of an earlier version, whose name does not say where it is, is found and gone as before", async (t) => {
    const login = await create(t);
    const id = login.stored.secretsId as string;
    const plain = id.slice(0, id.indexOf("@"));
    login.keyring.rename(id, plain);
    writeFileSync(login.path, login.text.replace(id, plain));
    assert.equal(await (await login.plugin()).accessToken(login.config), login.tokens().access);
    login.keyring.remove(plain);
    await assert.rejects((await login.plugin()).accessToken(login.config), { code: "LOGIN_REQUIRED" });
  });
});

test('an entry that is listed without being there, as after a "pass rm", is gone, and the logout removes it', {
  skip,
}, async (t) => {
  const login = await create(t);
  login.keyring.hollow.add(login.stored.secretsId as string);
  const plugin = await login.plugin();
  await assert.rejects(plugin.accessToken(login.config), { code: "LOGIN_REQUIRED", message: /no longer holds/ });
  assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: false, removed: true });
  assert.deepEqual(login.keyring.accounts(), []);
});

describe("two entries of the same name", { skip }, () => {
  for (const what of ["", "written by hand", "999999{}"]) {
    test(`one of which is ${what === "" ? "empty" : JSON.stringify(what)}: the other is read`, async (t) => {
      const login = await create(t);
      const { access } = login.tokens();
      const first = login.stored.secretsId as string;
      login.keyring.copy(first);
      login.keyring.set(first, what);
      assert.equal(await (await login.plugin()).accessToken(login.config), access);
    });
  }
});

describe("removal", { concurrency: 4, skip }, () => {
  for (const prompts of [false, true]) {
    const how = prompts ? "a prompt that nobody completes" : "a failure";
    test(`an entry that stays (${how}) keeps no other, and is named by logout and doctor`, async (t) => {
      const login = await create(t, { prompts });
      const plugin = await login.plugin();
      const first = login.stored.secretsId as string;
      login.keyring.stuck.add(first);
      for (let turn = 0; turn < 2; turn += 1) {
        login.expire();
        // Where prompts remove, it is used again after the first refresh, and waits for that before.
        if (!prompts || turn === 0) await plugin.accessToken(login.config);
        assert.deepEqual(withTokens(login), [first, login.stored.secretsId].sort());
      }
      const logout = await plugin.call("logout", [login.config]);
      assert.deepEqual(logout, { revoked: true, removed: true, leftInKeychain: [first] });
      assert.deepEqual(withTokens(login), [first]);
      const leftovers = async (fix: boolean) => {
        const { checks } = (await plugin.call("doctor", [login.config, { fix }])) as DoctorReport;
        return checks.filter((check) => check.name === "leftovers");
      };
      const [finding, ...others] = await leftovers(true);
      assert.equal(others.length, 0);
      assert.equal(finding?.level, "warning");
      assert.notEqual(finding?.fixed, true);
      assert.ok(finding?.message.includes(first), finding?.message);
      login.keyring.stuck.clear();
      // A prompt may ask a person, whom the doctor does not ask.
      if (prompts) await plugin.call("logout", [login.config]);
      else assert.equal((await leftovers(true))[0]?.fixed, true);
      assert.deepEqual(login.keyring.accounts(), []);
      assert.equal((await leftovers(false))[0]?.level, "ok");
    });
  }

  test("every entry of the same attributes goes; copies in a locked keyring keep none", async (t) => {
    const login = await create(t, { secondKeyring: true });
    const plugin = await login.plugin();
    const first = login.stored.secretsId as string;
    login.keyring.copy(first);
    login.keyring.copy(first, "second");
    login.expire();
    await plugin.accessToken(login.config);
    const second = login.stored.secretsId as string;
    assert.deepEqual(login.keyring.accounts(), [first, second].sort());
    login.expire();
    await plugin.accessToken(login.config);
    assert.equal(login.keyring.accounts().filter((account) => account !== first).length, 1);
  });

  const kinds: Record<string, SecretServiceOptions> = {
    "at once": {},
    "by prompts": { prompts: true },
    "after it says so, as in KWallet": { silentUnlock: true, names: ["org.kde.kwalletd5"] },
  };
  for (const [how, options] of Object.entries(kinds)) {
    test(`a second keyring that stays locked keeps nothing on record that is gone (entries go ${how})`, async (t) => {
      const login = await create(t, { ...options, secondKeyring: true });
      const plugin = await login.plugin();
      const former = () => ((login.stored.formerSecrets ?? []) as string[]).length;
      for (let turn = 0; turn < 4; turn += 1) {
        login.expire();
        await plugin.accessToken(login.config);
      }
      const before = former();
      login.expire();
      await plugin.accessToken(login.config);
      assert.equal(former(), before);
      const { checks } = (await plugin.call("doctor", [login.config])) as DoctorReport;
      assert.equal(checks.find((check) => check.name === "leftovers")?.level, "ok");
      assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
      assert.deepEqual(login.keyring.accounts(), []);
      assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: false, removed: false });
      assert.deepEqual(login.keyring.windows, []);
    });
  }

  test("an entry that was edited to name a million parts is removed at once", async (t) => {
    const login = await create(t);
    const first = login.stored.secretsId as string;
    login.keyring.set(first, "999999{}");
    const plugin = await login.plugin();
    await assert.rejects(plugin.accessToken(login.config), { code: "LOGIN_REQUIRED" });
    const before = login.keyring.calls.length;
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: false, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
    assert.ok(login.keyring.calls.length - before < 100, `${login.keyring.calls.length - before} calls`);
  });

  for (const method of ["OpenSession", "GetSecret"]) {
    test(`a program that ends in the middle of ${method} is said to have ended`, async (t) => {
      const login = await create(t);
      const reached = login.keyring.hold(method, () => true);
      const ended = assert.rejects((await login.plugin()).accessToken(login.config), {
        code: "STORE_IO",
        retryable: true,
        message: /cannot be reached \(it ended before it answered\)\. Start it in the session of this process/,
      });
      await reached;
      login.keyring.end();
      await ended;
    });
  }

  test("what the program says is in the error, cleaned, and never a token", async (t) => {
    const login = await prepare(t);
    login.keyring.failure = { method: "CreateItem", reason: "Password too short: 2\u001b[31m\u202e\nnow" };
    await assert.rejects((await login.plugin()).login(login.config), {
      code: "STORE_IO",
      message: /refused \(.*: org\.example\.Error\.Failed: Password too short: 2 \[31m now\)/,
    });
  });
});

describe("KWallet confirms before it writes", { concurrency: 4, skip }, () => {
  const kwallet = { silentUnlock: true, names: ["org.kde.kwalletd5"] };

  test("the former entry stays until the next refresh, and is used where the new one was lost", async (t) => {
    const login = await KeychainLogin.prepareIn(t, (home) => SecretService.start(t, home, kwallet), {
      rotation: false,
    });
    await login.logIn(await login.plugin());
    const first = login.stored.secretsId as string;
    const plugin = await login.plugin();
    login.expire();
    await plugin.accessToken(login.config);
    const second = login.stored.secretsId as string;
    assert.deepEqual(login.keyring.accounts(), [first, second].sort());
    // Killed and started: it lists the entry with an empty secret.
    login.keyring.set(second, "");
    const access = await (await login.plugin()).accessToken(login.config);
    assert.equal(login.tokens().access, access);
    assert.notEqual(login.stored.secretsId, second);
    login.expire();
    await plugin.accessToken(login.config);
    login.expire();
    await plugin.accessToken(login.config);
    assert.equal(login.keyring.accounts().length, 2, "one, and the former one");
  });

  test("what came back after a restart is removed by the next refresh, login or logout", async (t) => {
    const login = await create(t, kwallet);
    const plugin = await login.plugin();
    const first = login.stored.secretsId as string;
    const secret = login.keyring.secret(first);
    for (let turn = 0; turn < 2; turn += 1) {
      login.expire();
      await plugin.accessToken(login.config);
    }
    assert.ok(!login.keyring.accounts().includes(first));
    login.keyring.put(first, secret);
    login.expire();
    await plugin.accessToken(login.config);
    assert.ok(!login.keyring.accounts().includes(first));
    assert.deepEqual(await plugin.call("logout", [login.config]), { revoked: true, removed: true });
    assert.deepEqual(login.keyring.accounts(), []);
    const last = (login.stored.formerSecrets as string[]).at(-1) as string;
    login.keyring.put(last, secret);
    await login.logIn(plugin);
    login.assertTidy();
  });

  test("the tokens of the login before are never taken for those of a new one", async (t) => {
    const login = await create(t, kwallet);
    const plugin = await login.plugin();
    const first = login.stored.secretsId as string;
    const secret = login.keyring.secret(first);
    await login.logIn(plugin);
    login.keyring.put(first, secret);
    login.keyring.set(login.stored.secretsId as string, "");
    await assert.rejects((await login.plugin()).accessToken(login.config), { code: "LOGIN_REQUIRED" });
  });
});

describe("without the keychain", { concurrency: 4, skip }, () => {
  test("a person logs out all the same: the file is closed, and what stays is named", async (t) => {
    const login = await create(t);
    const kept = login.stored.secretsId as string;
    const headless = await login.plugin({});
    await assert.rejects(headless.call("logout", [login.config]), {
      code: "STORE_IO",
      message: /To log out without it, give `storage: "file"`/,
    });
    const fileOnly = { ...login.config, storage: "file" as const };
    const logout = await headless.call("logout", [fileOnly]);
    assert.deepEqual(logout, { revoked: false, removed: true, leftInKeychain: [kept] });
    assert.equal((await headless.status(login.config)).state, "logged_out");
    assert.equal(await login.server.stored("RefreshToken"), 1);
    // Where the keychain is, what stayed goes with the next logout.
    assert.deepEqual(await (await login.plugin()).call("logout", [login.config]), { revoked: false, removed: false });
    assert.deepEqual(login.keyring.accounts(), []);
  });

  test("nor is the package needed for it", async (t) => {
    const login = await create(t);
    const kept = login.stored.secretsId as string;
    const copy = copyOfThePackage(login.home, "copy", (name) => !/^clawdbot-plugin-auth-keychain\./.test(name));
    const plugin = await login.plugin({ PLUGIN_AUTH_COPY: join(copy, "index.js") });
    const { storage: _, ...plain } = login.config;
    await assert.rejects(plugin.call("logout", [plain]), { code: "INVALID_CONFIG", message: /`storage: "file"`/ });
    const logout = await plugin.call("logout", [{ ...plain, storage: "file" }]);
    assert.deepEqual(logout, { revoked: false, removed: true, leftInKeychain: [kept] });
    assert.equal((await plugin.status(plain)).state, "logged_out");
  });

  test("the doctor says where no token can be had", async (t) => {
    const login = await create(t);
    const plugin = await login.plugin();
    const finding = async () => {
      const report = (await plugin.call("doctor", [login.config])) as DoctorReport;
      return { ok: report.ok, login: report.checks.find((check) => check.name === "login") };
    };
    assert.equal((await finding()).ok, true);
    login.keyring.lock();
    const whileLocked = await finding();
    assert.equal(whileLocked.ok, false);
    assert.match(whileLocked.login?.message ?? "", /keychain is locked/);
    login.keyring.unlock();
    login.keyring.remove(login.stored.secretsId as string);
    const gone = await finding();
    assert.equal(gone.ok, false);
    assert.match(gone.login?.message ?? "", /no longer holds the tokens/);
    assert.deepEqual(login.keyring.windows, []);
  });

  test("the doctor reads each account's entry once", async (t) => {
    const login = await prepare(t, {}, { profile: "work" });
    const { profile: _, ...anyAccount } = login.config;
    const accounts = ["work", "personal"];
    const plugin = await login.plugin();
    for (const profile of accounts) {
      await plugin.call("importToken", [{ ...anyAccount, profile }, { access: `token-of-${profile}` }]);
    }
    for (const fix of [false, true]) {
      for (const process of [plugin, await login.plugin()]) {
        login.keyring.calls.length = 0;
        const report = (await process.call("doctor", [{ ...anyAccount, order: accounts }, { fix }])) as DoctorReport;
        assert.equal(report.ok, true);
        const reads = login.keyring.calls.filter((call) => call === "Item.GetSecret");
        assert.equal(reads.length, accounts.length);
      }
    }
  });
});
