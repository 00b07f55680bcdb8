/** Hosts move folders: updates and reinstalls of a plugin, and doctor's move of ~/.clawdbot. The login survives. */
import assert from "node:assert/strict";
import { lstatSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { ExpiredLogin } from "./support/expired-login.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import type { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

const cannotTrace = await Tracer.unavailable();

describe("the plugin's own folder", { concurrency: 3 }, () => {
  test("an update deletes and replaces it while the plugin runs: old and new code share one login and one refresh", async (t) => {
    const login = await ExpiredLogin.create(t);
    const installed = install(login.home);
    const running = await login.plugin({ env: login.home.env({ PLUGIN_AUTH_COPY: join(installed, "index.js") }) });
    // As clawdbot's `plugins update`: the folder is deleted with all its contents, and installed again.
    rmSync(join(login.home.stateDir, "extensions"), { recursive: true });
    const updated = install(login.home);
    const restarted = await login.plugin({ env: login.home.env({ PLUGIN_AUTH_COPY: join(updated, "index.js") }) });
    const held = await login.heldAnswer();
    const tokens = [running, restarted].map((process) => process.accessToken(login.config));
    await held.arrived;
    await held.release();
    const [old, young] = await Promise.all(tokens);
    assert.equal(old, young);
    assert.equal(login.stored().access, old);
    assert.equal((await login.refreshes()).length, 1);
  });

  test("it is deleted in the middle of a refresh: the new credential is saved", async (t) => {
    const login = await ExpiredLogin.create(t);
    const installed = install(login.home);
    const running = await login.plugin({ env: login.home.env({ PLUGIN_AUTH_COPY: join(installed, "index.js") }) });
    const held = await login.heldAnswer();
    const token = running.accessToken(login.config);
    await held.arrived;
    rmSync(join(login.home.stateDir, "extensions"), { recursive: true });
    await held.release();
    assert.equal(await token, login.stored().access);
  });

  test("it is uninstalled, and installed again later: no new login", async (t) => {
    const login = await ExpiredLogin.create(t);
    const first = install(login.home);
    const before = await login.plugin({ env: login.home.env({ PLUGIN_AUTH_COPY: join(first, "index.js") }) });
    await before.accessToken(login.config);
    await before.end();
    rmSync(join(login.home.stateDir, "extensions"), { recursive: true });
    const second = install(login.home);
    const after = await login.plugin({ env: login.home.env({ PLUGIN_AUTH_COPY: join(second, "index.js") }) });
    assert.equal(await after.accessToken(login.config), login.stored().access);
    assert.equal((await login.refreshes()).length, 1);
  });
});

describe("doctor moves ~/.clawdbot to ~/.openclaw and leaves a link", { concurrency: 3 }, () => {
  const clawdbot = (home: TempHome) => join(home.path, ".clawdbot");

  test("a running process, a restarted one and one with the old folder in its config share the login", async (t) => {
    const login = await ExpiredLogin.create(t, { stateDir: clawdbot });
    const { stateDir: told, ...found } = login.config;
    const running = await login.plugin();
    // Knows the folder only from the environment, as a plugin that leaves stateDir out.
    assert.equal((await running.status(found)).path, login.path);
    moved(login.home);
    const restarted = await login.plugin();
    const held = await login.heldAnswer();
    const calls = [running.accessToken(found), running.accessToken(login.config), restarted.accessToken(found)];
    await held.arrived;
    await held.release();
    const [token = "", ...others] = await Promise.all(calls);
    assert.deepEqual(others, [token, token]);
    assert.equal((await login.refreshes()).length, 1);
    assert.equal(
      (await restarted.status(found)).path,
      join(login.home.stateDir, "credentials", "memory", "default.json"),
    );
    assert.equal(told, clawdbot(login.home));
    assert.equal(login.stored().access, token, "through the link");
    assert.ok(lstatSync(clawdbot(login.home)).isSymbolicLink());
    assert.notEqual(await restarted.accessToken(found, { rejectedToken: token }), token);
  });

  test("in the middle of a refresh: the new credential is saved where the folder is by then", async (t) => {
    const login = await ExpiredLogin.create(t, { stateDir: clawdbot });
    const running = await login.plugin();
    const held = await login.heldAnswer();
    const token = running.accessToken(login.config);
    await held.arrived;
    moved(login.home);
    await held.release();
    assert.equal(await token, login.stored().access);
    const { stateDir: _, ...found } = login.config;
    const restarted = await login.plugin();
    assert.equal(await restarted.accessToken(found), await token);
    assert.equal((await login.refreshes()).length, 1);
    assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
    assert.notEqual(await restarted.accessToken(found, { rejectedToken: await token }), await token);
  });

  test("in the moment between the move and the link: the save waits for the link", {
    skip: cannotTrace,
  }, async (t) => {
    const login = await ExpiredLogin.create(t, { stateDir: clawdbot });
    const running = await login.plugin();
    const held = await login.heldAnswer();
    const token = running.accessToken(login.config);
    await held.arrived;
    const tracer = await Tracer.attach(t, running.child.pid, { calls: "/stat", path: login.folder }, { none: true });
    renameSync(clawdbot(login.home), login.home.stateDir);
    await held.release();
    // The process looks for the file, and finds nothing.
    await tracer.failed("ENOENT");
    symlinkSync(login.home.stateDir, clawdbot(login.home));
    assert.equal(await token, login.stored().access);
    assert.equal((await login.refreshes()).length, 1);
    assert.deepEqual(await login.server.requests({ endpoint: "revocation" }), []);
    const restarted = await login.plugin();
    assert.equal(await restarted.accessToken(login.config), await token);
  });
});

/** A plugin with the package in its node_modules, where the hosts put it. */
function install(home: TempHome): string {
  const folder = join(".openclaw", "extensions", "memory", "node_modules", "clawdbot-plugin-auth");
  mkdirSync(dirname(join(home.path, folder)), { recursive: true });
  return copyOfThePackage(home, folder);
}

/** The move of `openclaw doctor --fix`. */
function moved(home: TempHome): void {
  const from = join(home.path, ".clawdbot");
  renameSync(from, home.stateDir);
  symlinkSync(home.stateDir, from);
}
