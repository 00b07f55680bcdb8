/**
 * A process that is killed with SIGKILL while its tokens are between a credential file and a real keychain: the old
 * login or the new one is left, whole, and the next holder of the lock removes what nothing names any more.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { KeychainLogin } from "../support/keychain-login.ts";
import { Keyring } from "../support/keyring.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { complete } from "../support/login.ts";
import { Person } from "../support/person.ts";
import type { PluginProcess } from "../support/plugin-process.ts";
import { type Calls, Tracer } from "../support/tracer.ts";

const skip = Keyring.unavailable() || (await Tracer.unavailable());

/** Where the process dies; the call itself is not made any more. */
type At = (login: KeychainLogin) => Calls;
const rename: At = (login) => ({ calls: "/^rename", path: dirname(login.path) });

describe("killed in a refresh, after the server has rotated", { concurrency: 4, skip }, () => {
  test("the keychain has the new tokens, the file does not name them yet: the next process finishes it", async (t) => {
    const login = await KeychainLogin.create(t);
    const before = login.text;
    const { victim, old } = await killedAfterAnswer(t, login, rename);
    assert.equal(login.text, before);
    assert.equal(login.keyring.accounts().length, 2);
    await survives(login, await login.plugin(), { notToken: old, requests: 1 });
    assert.equal((await victim.child.exit).signal, "SIGKILL");
  });

  test("while the keychain cannot be asked, the spent token is not sent again", async (t) => {
    const login = await KeychainLogin.create(t);
    const { old } = await killedAfterAnswer(t, login, rename);
    await login.keyring.killDaemon();
    const next = await login.plugin();
    const asked = { code: "STORE_IO", retryable: true };
    await assert.rejects(next.accessToken(login.config, { rejectedToken: old }), asked);
    assert.equal((await login.server.requests({ grant: "refresh_token" })).length, 1);
    await login.keyring.startDaemon();
    await survives(login, next, { notToken: old, requests: 1 });
  });

  test("the file names the new tokens, the old ones are not removed yet", async (t) => {
    const login = await KeychainLogin.create(t);
    const before = login.stored.secretsId;
    const { old } = await killedAfterAnswer(t, login, (login) => ({ calls: "fsync", path: dirname(login.path) }));
    assert.notEqual(login.stored.secretsId, before);
    assert.equal(login.keyring.accounts().length, 2);
    await survives(login, await login.plugin(), { notToken: old, requests: 1 });
  });

  test("the temp file names tokens that the keychain never got: the old login is left", async (t) => {
    const login = await KeychainLogin.create(t, { rotation: false });
    const before = login.text;
    const { old } = await killedAfterAnswer(t, login, (login) => ({ calls: "fsync", path: temp(login) }));
    assert.equal(login.text, before);
    assert.equal(login.keyring.accounts().length, 1);
    await survives(login, await login.plugin(), { notToken: old, requests: 2 });
  });
});

test("killed at every message to the keychain: old or new, whole, and nothing is left over", { skip }, async (t) => {
  // A server that does not rotate: then even an answer that nobody has stored costs no login.
  const login = await KeychainLogin.create(t, { rotation: false });
  const next = await login.plugin();
  const stored = new Set<string>();
  let kills = 0;
  for (let nth = 1; ; nth += 1) {
    const before = login.tokens();
    const victim = await login.plugin();
    const tracer = await Tracer.attach(t, victim.child.pid, { calls: "sendmsg", when: `${nth}` }, { kill: true });
    login.expire();
    const outcome = victim.accessToken(login.config);
    const ended = await outcome.then(
      () => "done",
      // Without a code it was killed.
      ({ code, retryable }) => (code === undefined ? "killed" : retryable ? "too slow" : assert.fail(code)),
    );
    if (ended !== "killed") {
      await tracer.detach();
      victim.child.signal("SIGKILL");
      if (ended === "done") break;
      // On a crowded machine the keychain takes longer than it may: once more.
      nth -= 1;
      continue;
    }
    assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);
    kills += 1;
    const left = login.tokens();
    assert.equal(left.refresh, before.refresh);
    stored.add(left.access === before.access ? "old" : "new");
    // The next holder of the lock.
    login.expire();
    const token = await next.accessToken(login.config).catch(async (error: Error) => {
      if (!(await login.keyring.revive(error.message))) throw error;
      return next.accessToken(login.config);
    });
    assert.notEqual(token, before.access);
    assert.equal(login.tokens().access, token);
    login.assertTidy();
  }
  assert.ok(kills > 10, `only ${kills} messages`);
  // Which of its threads sends is chance, and each is counted by itself: the messages after the rename are not always
  // met. A kill there has tests of its own above.
  assert.ok(stored.has("old"));
});

describe("killed in a login, a logout or a note", { concurrency: 4, skip }, () => {
  test("a first login: nobody is logged in, and its tokens are removed by the next", async (t) => {
    const login = await KeychainLogin.prepare(t);
    await killedInLogin(t, login, { calls: "/^rename" });
    assert.equal(login.keyring.accounts().length, 1);
    const next = await login.plugin();
    assert.equal((await next.status(login.config)).state, "logged_out");
    await login.logIn(next);
    login.assertTidy();
    assert.equal(await next.accessToken(login.config), login.tokens().access);
  });

  test("a second login: the first one is left, and goes on", async (t) => {
    const login = await KeychainLogin.create(t);
    const before = login.text;
    const { access } = login.tokens();
    await killedInLogin(t, login, { calls: "/^rename" });
    assert.equal(login.text, before);
    assert.equal(login.keyring.accounts().length, 2);
    await survives(login, await login.plugin(), { token: access, requests: 0 });
  });

  test("a login in the file after one in the keychain", async (t) => {
    const login = await KeychainLogin.create(t);
    await killedInLogin(t, login, { calls: "fsync", path: dirname(login.path) }, { storage: "file" });
    assert.equal(login.stored.storage, undefined);
    assert.equal(login.keyring.accounts().length, 1);
    await login.logIn(await login.plugin());
    login.assertTidy();
  });

  test("a logout before its rename: the login is left", async (t) => {
    const login = await KeychainLogin.create(t);
    const { access } = login.tokens();
    await killedInLogout(t, login, { calls: "/^rename" });
    await survives(login, await login.plugin(), { token: access, requests: 0 });
  });

  test("a logout after its rename: the next logout removes the tokens", async (t) => {
    const login = await KeychainLogin.create(t);
    await killedInLogout(t, login, { calls: "fsync", path: dirname(login.path) });
    const next = await login.plugin();
    assert.equal((await next.status(login.config)).state, "logged_out");
    assert.equal(login.keyring.accounts().length, 1);
    assert.deepEqual(await next.call("logout", [login.config]), { revoked: false, removed: false });
    assert.deepEqual(login.keyring.accounts(), []);
  });

  test("a note about a failed refresh names the same tokens: they stay", async (t) => {
    const login = await KeychainLogin.create(t);
    const { access } = login.tokens();
    const before = login.text;
    const failing = await login.server.intercept({ grant: "refresh_token" }, { respond: { status: 503, body: "" } });
    const victim = await login.plugin();
    await Tracer.attach(t, victim.child.pid, { calls: "/^rename" }, { kill: true });
    await assert.rejects(victim.accessToken(login.config, { rejectedToken: access }));
    assert.equal((await victim.child.exit).signal, "SIGKILL");
    assert.equal(login.text, before);
    assert.equal(login.files.filter((name) => name.endsWith(".tmp")).length, 1);
    await failing.remove();
    const requests = (await login.server.requests({ grant: "refresh_token" })).length;
    await survives(login, await login.plugin(), { token: access, requests });
  });
});

/** Kills a process at a step after the server has answered its refresh. */
async function killedAfterAnswer(
  t: Lifetime,
  login: KeychainLogin,
  at: At,
): Promise<{ victim: PluginProcess; old: string }> {
  const victim = await login.plugin();
  const old = await victim.accessToken(login.config);
  const held = await login.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
  const outcome = victim.accessToken(login.config, { rejectedToken: old });
  await held.arrived;
  const tracer = await Tracer.attach(t, victim.child.pid, at(login), { kill: true });
  await held.release();
  await dies(victim, outcome, tracer);
  return { victim, old };
}

async function killedInLogin(t: Lifetime, login: KeychainLogin, calls: Calls, more = {}): Promise<void> {
  const victim = await login.plugin();
  const outcome = victim.login({ ...login.config, ...more });
  const shown = await victim.verification();
  const tracer = await Tracer.attach(t, victim.child.pid, calls, { kill: true });
  await new Person().approve(complete(shown));
  await dies(victim, outcome, tracer);
}

async function killedInLogout(t: Lifetime, login: KeychainLogin, calls: Calls): Promise<void> {
  const victim = await login.plugin();
  const tracer = await Tracer.attach(t, victim.child.pid, calls, { kill: true });
  await dies(victim, victim.call("logout", [login.config]), tracer);
}

async function dies(victim: PluginProcess, outcome: Promise<unknown>, tracer: Tracer): Promise<void> {
  await outcome.then(
    () => assert.fail(`It did its work and lives:\n${tracer.log}`),
    // It lives where it has an error of its own.
    ({ code }) => assert.equal(code, undefined, tracer.log),
  );
  assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);
}

/** The next process has a token, the one that is stored; and after its refresh nothing is left over. */
async function survives(
  login: KeychainLogin,
  next: PluginProcess,
  expected: { token?: string; notToken?: string; requests: number },
): Promise<void> {
  const { token, notToken } = expected;
  const given = await next.accessToken(login.config, ...(notToken === undefined ? [] : [{ rejectedToken: notToken }]));
  if (token !== undefined) assert.equal(given, token);
  assert.notEqual(given, notToken);
  assert.equal(login.tokens().access, given);
  assert.equal((await login.server.requests({ grant: "refresh_token" })).length, expected.requests);
  const later = await next.accessToken(login.config, { rejectedToken: given });
  assert.notEqual(later, given);
  assert.equal(login.tokens().access, later);
  assert.equal((await login.server.requests({ grant: "refresh_token" })).at(-1)?.status, 200);
  login.assertTidy();
}

/** The temp file of the refresh that is under way. */
function temp(login: KeychainLogin): string {
  const folder = dirname(login.path);
  const [name, ...others] = readdirSync(folder).filter((file) => file.endsWith(".tmp"));
  assert.ok(name !== undefined && others.length === 0);
  return join(folder, name);
}
