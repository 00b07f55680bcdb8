/**
 * `storage: "keychain"` with real programs, killed at every step: the process of a plugin at each of its messages to
 * the program, and the program at each of them. In gnome-keyring: keychain-kills.test.ts. Minutes; those that are not
 * installed are skipped.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KeychainLogin } from "../support/keychain-login.ts";
import { KeychainProgram, type ProgramName } from "../support/keychain-program.ts";
import { Keyring } from "../support/keyring.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { grantedLogin } from "../support/login.ts";
import type { PluginProcess } from "../support/plugin-process.ts";
import { realKeychainLogin } from "../support/real-keychain.ts";
import { Tracer } from "../support/tracer.ts";

type Login = KeychainLogin<KeychainProgram>;

const noTracer = await Tracer.unavailable();

type Change = (login: Login, plugin: PluginProcess) => Promise<unknown>;

/** The operation during which a process is killed. */
const changes: Record<string, Change> = {
  refresh: (login, plugin) => {
    login.expire();
    return plugin.accessToken(login.config);
  },
  "login over another": (login, plugin) => plugin.call("importToken", [login.config, { access: "imported" }]),
  logout: (login, plugin) => plugin.call("logout", [login.config]),
};

/** A server that does not rotate: then even an answer that nobody has stored costs no login. */
async function create(t: Lifetime, name: ProgramName): Promise<Login> {
  const login = await realKeychainLogin(t, name, { rotation: false });
  await logIn(login);
  return login;
}

async function logIn(login: Login): Promise<void> {
  const plugin = await login.plugin();
  await grantedLogin(login.config, login.server, (tokens) => plugin.call("importToken", [login.config, tokens]));
  await plugin.end();
}

/** Nothing with tokens is in the keychain that the file does not name. */
async function assertNamed(login: Login): Promise<void> {
  const named = JSON.stringify(login.stored);
  for (const account of await login.keyring.entries()) assert.ok(named.includes(JSON.stringify(account)), account);
}

/**
 * KeePassXC 2.7.4 crashes by itself once in some 66 of these rounds: then what it said in this one is worth nothing,
 * and the round is done once more with a new login.
 */
async function round<T>(login: Login, work: () => Promise<T>): Promise<T> {
  for (let crashes = 0; ; crashes += 1) {
    try {
      return await work();
    } catch (error) {
      if (crashes === 5 || !(await login.keyring.revive(error))) throw error;
      await (await login.plugin()).call("logout", [login.config]).catch(() => {});
      await logIn(login);
    }
  }
}

function assertLoggedOut(login: Login): Promise<void> {
  return round(login, async () => {
    await (await login.plugin()).call("logout", [login.config]);
    assert.deepEqual(await login.keyring.entries(), []);
  });
}

/** A process is killed at that message; whether it was done with its work before. */
async function killed(t: Lifetime, login: Login, change: string, nth: number): Promise<boolean> {
  const victim = await login.plugin();
  const tracer = await Tracer.attach(t, victim.child.pid, { calls: "sendmsg", when: `${nth}` }, { kill: true });
  const isDone = await (changes[change] as Change)(login, victim).then(
    () => true,
    (error) => {
      // It was not killed, and one message later it would not be either.
      if (error.code !== undefined) throw error;
      return false;
    },
  );
  await tracer.detach();
  victim.child.signal("SIGKILL");
  assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);
  const next = await login.plugin();
  const { state } = await next.status(login.config);
  if (change === "logout") {
    // Before its rename the login is there and complete, after it there is none.
    if (state !== "logged_out") await next.accessToken(login.config);
    await next.call("logout", [login.config]);
    assert.deepEqual(await login.keyring.entries(), []);
    await logIn(login);
  } else {
    const access = await next.accessToken(login.config);
    const other = await login.plugin();
    assert.equal(await other.accessToken(login.config), access);
    await other.child.kill();
    await assertNamed(login);
    if (access === "imported") await logIn(login);
  }
  await next.child.kill();
  return isDone;
}

/** The program is killed at that message of a refresh; whether the refresh was done before. */
async function programKilled(t: Lifetime, login: Login, keepsAtOnce: boolean, nth: number): Promise<boolean> {
  if (!keepsAtOnce) await login.keyring.written(login.stored.refreshedAt);
  const plugin = await login.plugin();
  const tracer = await Tracer.attach(t, plugin.child.pid, { calls: "sendmsg", when: `${nth}` }, { stop: true });
  login.expire();
  const outcome = plugin.accessToken(login.config).then(
    (access) => ({ access, error: undefined }),
    (error) => ({ access: undefined, error }),
  );
  const isStopped = await Promise.race([tracer.stopped().then(() => true), outcome.then(() => false)]);
  if (isStopped) await login.keyring.kill();
  await tracer.detach();
  plugin.child.signal("SIGCONT");
  const { access, error } = await outcome;
  if (!isStopped) {
    assert.equal(error, undefined);
    return true;
  }
  if (error !== undefined) {
    const { code, retryable, needsLogin } = error;
    assert.deepEqual({ code, retryable, needsLogin }, { code: "STORE_IO", retryable: true, needsLogin: false });
  }
  await login.keyring.run();
  // A token that was handed out and is not saved yet is saved now.
  await plugin.end();
  const next = await (await login.plugin()).accessToken(login.config);
  if (keepsAtOnce && access !== undefined) assert.equal(next, access);
  await assertNamed(login);
  return false;
}

describe("killed at every message", { concurrency: 3 }, () => {
  for (const name of ["keepassxc", "oo7-daemon", "kwalletd5"] as const) {
    const skip = Keyring.unavailable() || KeychainProgram.unavailable(name) || noTracer;
    describe(name, { concurrency: 2, skip }, () => {
      for (const change of Object.keys(changes)) {
        test(`a process, in a ${change}: old or new, whole, and a logout leaves nothing`, async (t) => {
          const login = await create(t, name);
          let kills = 0;
          while (!(await round(login, () => killed(t, login, change, kills + 1)))) kills += 1;
          assert.ok(kills > 10, `only ${kills} messages`);
          await assertLoggedOut(login);
        });
      }

      test("the program, in a refresh: the login is kept", async (t) => {
        const login = await create(t, name);
        // KWallet writes some seconds after it has confirmed, and each round waits for that.
        const step = name === "kwalletd5" ? 4 : 1;
        let nth = 1;
        while (!(await round(login, () => programKilled(t, login, name === "oo7-daemon", nth)))) nth += step;
        assert.ok(nth > 10, `only ${nth} messages`);
        await assertLoggedOut(login);
      });
    });
  }
});
