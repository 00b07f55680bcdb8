/**
 * Two logins in one file of another program: neither is ever taken for the other, and neither is lost for the other's
 * sake.
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import type { Lifetime } from "./support/lifetime.ts";
import type { PluginProcess } from "./support/plugin-process.ts";
import { type Calls, Tracer } from "./support/tracer.ts";
import { TwoLogins } from "./support/two-logins.ts";

const skip = await Tracer.unavailable();
const anHour = 3_600_000;

describe("while one cannot be saved", { concurrency: 3, skip }, () => {
  test("the other's token and status are its own", async (t) => {
    const logins = await TwoLogins.create(t, { b: anHour });
    const plugin = await logins.plugin();
    const { tracer, token } = await unsaved(t, logins, plugin);

    assert.notEqual(token, logins.stored("b").access);
    assert.equal(await plugin.accessToken(logins.config("b")), logins.stored("b").access);
    const status = await plugin.status(logins.config("b"));
    assert.deepEqual([status.profile, status.expiresAt], ["memory:b", logins.stored("b").expires]);
    assert.equal(status.lastError, undefined);
    assert.match((await plugin.status(logins.config("a"))).lastError?.message ?? "", /not saved yet/);
    assert.equal(await plugin.accessToken(logins.config("a")), token);

    await tracer.detach();
    const other = await logins.plugin();
    assert.equal(await other.accessToken(logins.config("a")), token);
    assert.equal((await logins.refreshes()).length, 1);
  });

  test("the other, ended, is never answered with it", async (t) => {
    const logins = await TwoLogins.create(t);
    const plugin = await logins.plugin();
    const { tracer, token } = await unsaved(t, logins, plugin);
    const outcome = await plugin.accessToken(logins.config("b", { lockTimeoutMs: 300 })).catch((error) => error.code);
    assert.notEqual(outcome, token);
    await tracer.detach();
    const fresh = await plugin.accessToken(logins.config("b"));
    assert.equal(fresh, logins.stored("b").access);
    assert.notEqual(fresh, token);
    assert.equal(await plugin.accessToken(logins.config("a")), token);
  });
});

describe("one that is killed while it is refreshed", { concurrency: 3, skip }, () => {
  test("at the rename: the other's refresh leaves what was received, and it lives on without a login", async (t) => {
    const logins = await TwoLogins.create(t);
    await killed(t, logins, { calls: "/^rename", path: dirname(logins.path) });
    const plugin = await logins.plugin();
    assert.equal(await plugin.accessToken(logins.config("b")), logins.stored("b").access);
    assert.equal(await plugin.accessToken(logins.config("a")), logins.stored("a").access);
    // One for each: the answer for login a was not thrown away.
    assert.equal((await logins.refreshes()).length, 2);
    // Nothing stays behind once each was held.
    await plugin.accessToken(logins.config("a"), { rejectedToken: logins.stored("a").access });
    assert.deepEqual(logins.leftovers(), []);
  });

  test("the other's login and logout leave it as well", async (t) => {
    const logins = await TwoLogins.create(t);
    await killed(t, logins, { calls: "/^rename", path: dirname(logins.path) });
    const plugin = await logins.plugin();
    await plugin.call("importToken", [logins.config("b"), { access: "imported" }]);
    await plugin.call("logout", [logins.config("b")]);
    assert.equal(await plugin.accessToken(logins.config("a")), logins.stored("a").access);
    assert.equal((await logins.refreshes()).length, 1);
    assert.deepEqual(logins.leftovers(), []);
  });

  test("both killed: each has its own back", async (t) => {
    const logins = await TwoLogins.create(t);
    for (const name of ["a", "b"] as const) {
      await killed(t, logins, { calls: "/^rename", path: dirname(logins.path) }, name);
    }
    const plugin = await logins.plugin();
    assert.equal(await plugin.accessToken(logins.config("b")), logins.stored("b").access);
    assert.equal(await plugin.accessToken(logins.config("a")), logins.stored("a").access);
    assert.equal((await logins.refreshes()).length, 2);
    assert.deepEqual(logins.leftovers(), []);
  });
});

for (const [what, text] of [
  ["damaged", "{ half"],
  ["missing", undefined],
] as const) {
  test(`a file that is ${what} for a while: what was received stays`, { skip }, async (t) => {
    const logins = await TwoLogins.create(t);
    await killed(t, logins, { calls: "/^rename", path: dirname(logins.path) });
    const whole = readFileSync(logins.path);
    rmSync(logins.path);
    if (text !== undefined) {
      writeFileSync(logins.path, text);
    }
    const plugin = await logins.plugin();
    for (const name of ["a", "b"] as const) {
      await assert.rejects(plugin.accessToken(logins.config(name)));
      await plugin.call("doctor", [logins.config(name), { fix: true }]);
    }
    writeFileSync(logins.path, whole);
    assert.equal(await plugin.accessToken(logins.config("a")), logins.stored("a").access);
    assert.equal((await logins.refreshes()).length, 1);
  });
}

test("what a newer version has received is neither thrown away nor is its predecessor spent", { skip }, async (t) => {
  const logins = await TwoLogins.create(t);
  await killed(t, logins, { calls: "/^rename", path: dirname(logins.path) });
  const journals = () =>
    logins
      .leftovers()
      .map((name) => join(dirname(logins.path), name))
      .filter((path) => readFileSync(path, "utf8").includes('"replaces"'));
  const [journal = ""] = journals();
  writeFileSync(journal, readFileSync(journal, "utf8").replace('"version": 1', '"version": 2'));
  const plugin = await logins.plugin();
  const refused = await plugin.accessToken(logins.config("a")).catch((error) => error);
  assert.equal(refused.code, "STORE_VERSION");
  assert.equal(await plugin.accessToken(logins.config("b")), logins.stored("b").access);
  await plugin.call("logout", [logins.config("b")]);
  assert.deepEqual(journals(), [journal]);
  assert.equal((await logins.refreshes()).length, 2);
});

async function unsaved(t: Lifetime, logins: TwoLogins, plugin: PluginProcess) {
  const held = await logins.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
  const { outcome } = plugin.begin("getValidAccessToken", [logins.config("a")]);
  await held.arrived;
  const tracer = await Tracer.attach(
    t,
    plugin.child.pid,
    { calls: "/^rename", path: dirname(logins.path) },
    { error: "EIO" },
  );
  await held.release();
  const token = await outcome;
  assert.notEqual(token, logins.stored("a").access, "it is not saved");
  return { tracer, token };
}

async function killed(t: Lifetime, logins: TwoLogins, calls: Calls, name: "a" | "b" = "a"): Promise<void> {
  const victim = await logins.plugin();
  const held = await logins.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const { outcome } = victim.begin("getValidAccessToken", [logins.config(name)]);
  outcome.catch(() => {});
  await held.arrived;
  const tracer = await Tracer.attach(t, victim.child.pid, calls, { kill: true });
  await held.remove();
  await victim.child.exit;
  await tracer.end;
  logins.passHalfAMinute();
}
