/**
 * A process that is killed with SIGKILL at every step of a refresh, on purpose: the file is whole, the lock is free,
 * and the login lives on unless the server's answer died with the process. At random moments: random-kills.test.ts.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { InterceptionAction } from "./support/authorization-server.ts";
import { ExpiredLogin } from "./support/expired-login.ts";
import { approvedLogin, complete } from "./support/login.ts";
import { Person } from "./support/person.ts";
import type { PluginProcess } from "./support/plugin-process.ts";
import { type Calls, Tracer } from "./support/tracer.ts";

const skip = await Tracer.unavailable();

/** Where the process dies; the call itself is not made any more. */
interface Step {
  name: string;
  at: (login: ExpiredLogin) => Calls;
}

describe("killed before the request was sent, nothing was spent", { concurrency: 6, skip }, () => {
  const steps: Step[] = [
    { name: "waiting for the lock", at: ({ path }) => ({ calls: "flock", path: `${path}.lock` }) },
    { name: "the lock is taken", at: ({ path }) => ({ calls: "write", path: `${path}.lock` }) },
    { name: "the temp file is made", at: () => ({ calls: "fallocate" }) },
    { name: "its space is allocated", at: () => ({ calls: "connect" }) },
    { name: "the server is connected", at: () => ({ calls: "writev,sendto,sendmsg" }) },
  ];
  for (const { name, at } of steps) {
    test(name, async (t) => {
      const login = await ExpiredLogin.create(t);
      const [victim, next] = await Promise.all([login.plugin(), login.plugin()]);
      const tracer = await Tracer.attach(t, victim.child.pid, at(login), { kill: true });
      await dies(victim, victim.begin("getValidAccessToken", [login.config]).outcome, tracer);
      assert.deepEqual(login.stored(), login.old);
      assert.deepEqual(await login.refreshes(), []);
      await survives(login, next, { requests: 1 });
    });
  }

  test("the request is sent, and never reaches the server", async (t) => {
    const login = await ExpiredLogin.create(t);
    const next = await killedAtServer(login, { hold: "before", destroy: "before" });
    assert.deepEqual(login.stored(), login.old);
    await survives(login, next, { requests: 2 });
  });
});

describe("killed once the answer is written, nothing is lost", { concurrency: 6, skip }, () => {
  const steps: (Step & { stored: "old" | "new" })[] = [
    { name: "the temp file is written", stored: "old", at: (login) => ({ calls: "ftruncate", path: login.temp() }) },
    { name: "the temp file is truncated", stored: "old", at: (login) => ({ calls: "fsync", path: login.temp() }) },
    { name: "the temp file is synced", stored: "old", at: ({ folder }) => ({ calls: "/^rename", path: folder }) },
    {
      name: "renamed, and the folder is opened",
      stored: "new",
      at: ({ folder }) => ({ calls: "fsync", path: folder }),
    },
    { name: "the folder is synced", stored: "new", at: ({ path }) => ({ calls: "write", path: `${path}.lock` }) },
    {
      name: "the lock is about to be freed",
      stored: "new",
      at: ({ path }) => ({ calls: "flock", path: `${path}.lock` }),
    },
  ];
  for (const { name, at, stored } of steps) {
    test(name, async (t) => {
      const login = await ExpiredLogin.create(t);
      const next = await killedAfterAnswer(t, login, at);
      assert.equal(login.stored().access === login.old.access ? "old" : "new", stored);
      await survives(login, next, { requests: 1 });
    });
  }
});

describe("killed when the server had rotated and the answer was not written: LOGIN_REQUIRED, once", {
  concurrency: 6,
  skip,
}, () => {
  test("the answer is not sent yet", async (t) => {
    const login = await ExpiredLogin.create(t);
    await isLost(login, await killedAtServer(login, { hold: "after" }));
  });

  const steps: Step[] = [
    { name: "the answer is received", at: () => ({ calls: "recvfrom,recvmsg" }) },
    { name: "the answer is about to be written", at: (login) => ({ calls: "write,pwrite64", path: login.temp() }) },
  ];
  for (const { name, at } of steps) {
    test(name, async (t) => {
      const login = await ExpiredLogin.create(t);
      await isLost(login, await killedAfterAnswer(t, login, at));
    });
  }

  test("a server with a grace window forgives even that", async (t) => {
    const login = await ExpiredLogin.create(t, { server: { rotation: false } });
    const next = await killedAtServer(login, { hold: "after" });
    await survives(login, next, { requests: 2 });
  });
});

describe("login and logout", { concurrency: 2, skip }, () => {
  test("a login that is killed before its rename leaves the earlier login", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [victim, next] = await Promise.all([login.plugin(), login.plugin()]);
    const tracer = await Tracer.attach(t, victim.child.pid, { calls: "/^rename" }, { kill: true });
    const { outcome } = victim.begin("login", [login.config]);
    await new Person().approve(complete(await victim.verification()));
    await dies(victim, outcome, tracer);
    assert.deepEqual(login.stored(), login.old);
    await survives(login, next, { requests: 1 });
  });

  test("a logout that is killed before its rename leaves the login", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [victim, next] = await Promise.all([login.plugin(), login.plugin()]);
    const tracer = await Tracer.attach(t, victim.child.pid, { calls: "/^rename" }, { kill: true });
    await dies(victim, victim.begin("logout", [login.config]).outcome, tracer);
    await survives(login, next, { requests: 1 });
  });
});

/** Kills a process whose request is at the server; returns the process that asks next. */
async function killedAtServer(login: ExpiredLogin, action: InterceptionAction): Promise<PluginProcess> {
  const [victim, next] = await Promise.all([login.plugin(), login.plugin()]);
  const held = await login.server.intercept({ grant: "refresh_token", nth: 1 }, action);
  victim.begin("getValidAccessToken", [login.config]);
  await held.arrived;
  victim.child.signal("SIGKILL");
  await victim.child.exit;
  await held.release();
  await login.server.request({ grant: "refresh_token" });
  return next;
}

/** Kills a process at a step after the server has answered; gives the process that asks next. */
async function killedAfterAnswer(
  t: Parameters<typeof ExpiredLogin.create>[0],
  login: ExpiredLogin,
  at: Step["at"],
): Promise<PluginProcess> {
  const [victim, next] = await Promise.all([login.plugin(), login.plugin()]);
  const held = await login.heldAnswer();
  const { outcome } = victim.begin("getValidAccessToken", [login.config]);
  await held.arrived;
  const tracer = await Tracer.attach(t, victim.child.pid, at(login), { kill: true });
  await held.release();
  await dies(victim, outcome, tracer);
  return next;
}

/** Until the tracer has killed it; fails where its call ends otherwise, because the step never comes. */
async function dies(victim: PluginProcess, outcome: Promise<unknown>, tracer: Tracer): Promise<void> {
  await outcome.then(
    () => assert.fail(`It did its work and lives:\n${tracer.log}`),
    // It lives where it has an error of its own.
    ({ code }) => assert.equal(code, undefined, tracer.log),
  );
  assert.equal((await victim.child.exit).signal, "SIGKILL", tracer.log);
}

/** The next caller gets a token at once, without waiting for the lock; the login goes on after that. */
async function survives(login: ExpiredLogin, next: PluginProcess, { requests }: { requests: number }): Promise<void> {
  const token = await next.accessToken({ ...login.config, lockTimeoutMs: 0 });
  assert.notEqual(token, login.old.access);
  assert.equal(login.stored().access, token);
  assert.equal((await login.refreshes()).length, requests);
  // A login that was killed leaves the file of what it had shown, which is free.
  const left = login.files().filter((file) => file !== ".default.json.login.lock");
  assert.deepEqual(left, ["default.json", "default.json.lock"]);
  // The stored refresh token is the live one.
  const later = await next.accessToken(login.config, { rejectedToken: token });
  assert.notEqual(later, token);
  const last = (await login.refreshes()).at(-1);
  assert.equal(last?.status, 200);
}

/**
 * The next caller is asked to log in, after one request, and the server gets no more requests until there is a login.
 */
async function isLost(login: ExpiredLogin, next: PluginProcess): Promise<void> {
  assert.deepEqual(login.stored(), login.old);
  for (const caller of [next, next, await login.plugin()]) {
    await assert.rejects(caller.accessToken({ ...login.config, lockTimeoutMs: 0 }), { code: "LOGIN_REQUIRED" });
  }
  const [lost, refused, ...more] = await login.refreshes();
  assert.equal(lost?.status, 200);
  assert.equal(refused?.error, "invalid_grant");
  assert.deepEqual(more, []);
  assert.equal((await next.status(login.config)).state, "login_required");
  assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
  await approvedLogin(login.config);
  assert.ok(await next.accessToken(login.config));
}
