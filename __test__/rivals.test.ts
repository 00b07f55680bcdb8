/** Login, logout and refresh of one credential by several processes at once: the last completed login wins, whole. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ExpiredLogin } from "./support/expired-login.ts";
import { approvedLogin, complete } from "./support/login.ts";
import { Person } from "./support/person.ts";
import type { PluginProcess } from "./support/plugin-process.ts";

describe("rivals", { concurrency: 6 }, () => {
  test("a logout while another process refreshes ends the login that the refresh brought", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [refreshing, leaving, third] = await Promise.all([login.plugin(), login.plugin(), login.plugin()]);
    const held = await login.heldAnswer();
    const token = refreshing.accessToken(login.config);
    await held.arrived;
    const loggedOut = leaving.call("logout", [login.config]);
    await held.release();
    // The tool that was running has its token; after that nobody is logged in.
    assert.ok(await token);
    assert.deepEqual(await loggedOut, { revoked: true, removed: true });
    for (const process of [refreshing, leaving, third]) {
      await assert.rejects(process.accessToken(login.config), { code: "LOGIN_REQUIRED" });
    }
    assert.equal((await login.refreshes()).length, 1);
    assert.equal(await login.server.stored("RefreshToken"), 0, "the rotated one is revoked as well");
    assert.ok(!JSON.stringify(login.stored()).includes(await token));
    assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
  });

  test("a refresh that waits for a logout is rejected with LOGIN_REQUIRED, and sends nothing", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [leaving, late] = await Promise.all([login.plugin(), login.plugin()]);
    const held = await login.server.intercept({ endpoint: "revocation", nth: 1 }, { hold: "before" });
    const loggedOut = leaving.call("logout", [login.config]);
    await held.arrived;
    // The server has not even heard of it yet.
    await assert.rejects(late.accessToken(login.config), { code: "LOGIN_REQUIRED" });
    await held.release();
    assert.deepEqual(await loggedOut, { revoked: true, removed: true });
    assert.deepEqual(await login.refreshes(), []);
  });

  test("a login that was approved while another process refreshes: the login wins", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [refreshing, entering, third] = await Promise.all([login.plugin(), login.plugin(), login.plugin()]);
    const done = entering.login(login.config);
    const verification = await entering.verification();
    const held = await login.heldAnswer();
    const refreshed = refreshing.accessToken(login.config);
    await held.arrived;
    await new Person().approve(complete(verification));
    // The login has its tokens, and waits with them for the lock.
    await hasTokens(login);
    await held.release();
    assert.equal((await done).state, "valid");
    const old = await refreshed;
    const { access = "" } = login.stored();
    assert.notEqual(access, old);
    await all([refreshing, entering, third], login, access);
    assert.equal((await login.refreshes()).length, 1);
    await isAlive(login, third, access);
  });

  test("a login that is asked for while another process refreshes waits for it, and a person is not troubled before", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [refreshing, entering] = await Promise.all([login.plugin(), login.plugin()]);
    const held = await login.heldAnswer();
    const refreshed = refreshing.accessToken(login.config);
    await held.arrived;
    const done = entering.login(login.config);
    await held.release();
    const verification = await entering.verification();
    assert.equal(login.stored().access, await refreshed, "the refresh was saved first");
    await new Person().approve(complete(verification));
    await done;
    assert.notEqual(login.stored().access, await refreshed);
    await all([refreshing, entering], login, login.stored().access ?? "");
  });

  test("a refresh while a person has not decided yet is not held up, and the login that follows wins", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [entering, refreshing] = await Promise.all([login.plugin(), login.plugin()]);
    const done = entering.login(login.config);
    const verification = await entering.verification();
    const refreshed = await refreshing.accessToken({ ...login.config, lockTimeoutMs: 0 });
    assert.equal(login.stored().access, refreshed);
    await new Person().approve(complete(verification));
    await done;
    const { access = "" } = login.stored();
    assert.notEqual(access, refreshed);
    await all([entering, refreshing], login, access);
  });

  test("two logins at once: one code, approved once, logs both in; it is stored whole, and everybody uses it", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [one, two, third] = await Promise.all([login.plugin(), login.plugin(), login.plugin()]);
    const logins = [one, two].map((process) => process.login(login.config));
    const [shown, alsoShown] = await Promise.all([one.verification(), two.verification()]);
    assert.equal(shown.userCode, alsoShown.userCode);
    await new Person().approve(complete(shown));
    const [status, other] = await Promise.all(logins);
    assert.equal(status?.state, "valid");
    assert.deepEqual(other, status);
    const { access = "" } = login.stored();
    await all([one, two, third], login, access);
    assert.deepEqual(await login.refreshes(), []);
    assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
    // Access and refresh token are of one login: a refresh with the one replaces the other.
    await isAlive(login, third, access);
  });

  test("ten processes that log in, log out and ask for tokens at once: whole files, and a login at the end counts", async (t) => {
    const login = await ExpiredLogin.create(t);
    const processes = await Promise.all(Array.from({ length: 10 }, () => login.plugin()));
    const approvals = new Map<string, Promise<void>>();
    const outcomes = await Promise.all(
      processes.map((process, index) => {
        if (index < 3) {
          return outcome(approved(process, login, approvals));
        }
        return outcome(index < 5 ? process.call("logout", [login.config]) : process.accessToken(login.config));
      }),
    );
    // A logout wins over a login that waits; nobody is left without an answer.
    for (const [index, code] of outcomes.entries()) {
      const refusal = index < 3 ? "ABORTED" : "LOGIN_REQUIRED";
      assert.ok(code === "ok" || (code === refusal && ![3, 4].includes(index)), `${index}: ${code}`);
    }
    assert.equal(login.stored().version, 1);
    assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
    assert.ok((await login.refreshes()).length <= 1);
    await approvedLogin(login.config);
    const { access = "" } = login.stored();
    await all(processes, login, access);
    await isAlive(login, processes[9] as PluginProcess, access);
  });
});

/** Logs in; the first process that sees a code has it approved, if the login does not end before it has one. */
async function approved(process: PluginProcess, login: ExpiredLogin, approvals: Map<string, Promise<void>>) {
  const done = process.login(login.config);
  const shown = await Promise.race([process.verification(), done.then(() => undefined)]);
  if (shown !== undefined && !approvals.has(shown.userCode)) {
    approvals.set(shown.userCode, new Person().approve(complete(shown)));
  }
  await (shown && approvals.get(shown.userCode));
  return done;
}

/** How a call ended: "ok", or the code of its error. */
function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "ok",
    (error: { code?: string }) => error.code ?? String(error),
  );
}

/** All of them hand out this token, without a restart. */
async function all(processes: PluginProcess[], login: ExpiredLogin, token: string): Promise<void> {
  assert.deepEqual(
    await Promise.all(processes.map((process) => process.accessToken(login.config))),
    processes.map(() => token),
  );
}

/** The stored refresh token works. */
async function isAlive(login: ExpiredLogin, process: PluginProcess, token: string): Promise<void> {
  assert.notEqual(await process.accessToken(login.config, { rejectedToken: token }), token);
  assert.equal((await login.refreshes()).at(-1)?.status, 200);
}

/** When the server has given tokens to a login. */
async function hasTokens(login: ExpiredLogin): Promise<void> {
  for (let nth = 1, successes = 0; successes < 1; nth += 1) {
    const { status } = await login.server.request({ grant: "device_code" }, nth);
    successes += status === 200 ? 1 : 0;
  }
}
