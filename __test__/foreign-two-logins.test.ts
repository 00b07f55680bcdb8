/** Two logins in one file of another program: neither is ever taken for the other, and neither is lost for the other's sake. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import type { Lifetime } from "./support/lifetime.ts";
import type { PluginProcess } from "./support/plugin-process.ts";
import { Tracer } from "./support/tracer.ts";
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
