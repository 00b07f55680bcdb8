/** Files that others replace, truncate or delete at any moment: noticed, without a crash, a hang or a restart. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { ExpiredLogin } from "./support/expired-login.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

test("a running process notices at its next call what others did to the file", {
  skip: process.platform === "win32",
}, async (t) => {
  const login = await ExpiredLogin.create(t);
  const { path, config } = login;
  const refreshing = await login.plugin();
  const token = await refreshing.accessToken(config);
  // It finds a fresh token, and could rely on its memory from now on.
  const plugin = await login.plugin();
  assert.equal(await plugin.accessToken(config), token);
  const text = readFileSync(path, "utf8");
  const other = text.replace(token, "the-token-of-somebody-else");
  const changes: [what: string, change: () => void, expected: string | { code: string }][] = [
    ["deleted", () => unlinkSync(path), { code: "LOGIN_REQUIRED" }],
    ["made anew", () => writeFileSync(path, text), token],
    ["truncated", () => truncateSync(path, 100), { code: "STORE_CORRUPT" }],
    ["truncated to nothing", () => truncateSync(path, 0), { code: "STORE_CORRUPT" }],
    ["written in place", () => writeFileSync(path, other), "the-token-of-somebody-else"],
    ["replaced", () => renamedOver(path, text), token],
    ["made a folder", () => replaced(path, () => mkdirSync(path)), { code: "STORE_IO" }],
    ["made a file again", () => replaced(path, () => writeFileSync(path, text)), token],
    ["made a pipe", () => replaced(path, () => execFileSync("mkfifo", [path])), { code: "STORE_IO" }],
    ["replaced once more", () => renamedOver(path, other), "the-token-of-somebody-else"],
    ["robbed of its lock", () => unlinkSync(`${path}.lock`), "the-token-of-somebody-else"],
    ["gone with its folder", () => rmSync(login.folder, { recursive: true }), { code: "LOGIN_REQUIRED" }],
  ];
  for (const [what, change, expected] of changes) {
    change();
    if (typeof expected === "string") {
      assert.equal(await plugin.accessToken(config), expected, what);
    } else {
      await assert.rejects(plugin.accessToken(config), expected, what);
    }
  }
  assert.equal((await login.refreshes()).length, 1);
  await approvedLogin(config);
  assert.equal(await plugin.accessToken(config), login.stored().access);
});

test("a pipe where the folder of the logins should be is refused at once", {
  skip: process.platform === "win32",
  timeout: 60_000,
}, async (t) => {
  const home = TempHome.create(t);
  const folder = dirname(home.credentialPath("demo"));
  mkdirSync(dirname(folder), { recursive: true });
  execFileSync("mkfifo", [folder]);
  // In another process: a thread that waits for a writer would hold up this one.
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const listed = plugin.call("listProfiles", [{ pluginId: "demo", stateDir: home.stateDir }]);
  await assert.rejects(listed, { code: "STORE_IO" });
});

describe("changed while a refresh is under way", { concurrency: 6 }, () => {
  for (const [what, change] of [
    ["truncated", (path: string) => truncateSync(path, 40)],
    ["overwritten with something else", (path: string) => writeFileSync(path, "<html>")],
  ] as const) {
    test(`${what}: the new token is better than damage, which is kept aside`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const { holder, other, outcome, release } = await underWay(login);
      change(login.path);
      const damaged = readFileSync(login.path, "utf8");
      await release();
      const token = await outcome;
      assert.equal(login.stored().access, token);
      assert.equal(await other.accessToken(login.config), token);
      assert.equal(await holder.accessToken(login.config), token);
      assert.equal((await login.refreshes()).length, 1);
      const aside = readdirSync(login.folder).filter((name) => name.includes(".corrupt-"));
      assert.equal(aside.length, 1);
      assert.equal(readFileSync(join(login.folder, aside[0] ?? ""), "utf8"), damaged);
    });
  }

  for (const [what, change] of [
    ["deleted", ({ path }: ExpiredLogin) => unlinkSync(path)],
    ["deleted with its folder", ({ folder }: ExpiredLogin) => rmSync(folder, { recursive: true })],
  ] as const) {
    test(`${what}: nobody is logged in, and the new tokens are revoked`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const { holder, other, outcome, release } = await underWay(login);
      change(login);
      await release();
      await assert.rejects(outcome, { code: "LOGIN_REQUIRED" });
      await assert.rejects(holder.accessToken(login.config), { code: "LOGIN_REQUIRED" });
      await assert.rejects(other.accessToken(login.config), { code: "LOGIN_REQUIRED" });
      assert.equal((await login.refreshes()).length, 1);
      await isRevoked(login);
      await approvedLogin(login.config);
      assert.equal(await other.accessToken(login.config), login.stored().access);
    });
  }

  test("replaced by another login: the file wins, and the new tokens are revoked", async (t) => {
    const login = await ExpiredLogin.create(t);
    const { holder, other, outcome, release } = await underWay(login);
    const copied = JSON.stringify({
      ...login.old,
      createdAt: Date.now(),
      access: "copied",
      refresh: "copied",
      expires: Date.now() + 3_600_000,
    });
    renamedOver(login.path, copied);
    await release();
    assert.equal(await outcome, "copied");
    assert.equal(await holder.accessToken(login.config), "copied");
    assert.equal(await other.accessToken(login.config), "copied");
    assert.equal(readFileSync(login.path, "utf8"), copied);
    assert.equal((await login.refreshes()).length, 1);
    await isRevoked(login);
  });

  for (const [what, change] of [
    ["its temp file is deleted", (login: ExpiredLogin) => unlinkSync(login.temp())],
    ["its temp file is truncated", (login: ExpiredLogin) => truncateSync(login.temp(), 0)],
    ["its temp file is filled", (login: ExpiredLogin) => writeFileSync(login.temp(), "x".repeat(60_000))],
    ["its lock file is deleted", (login: ExpiredLogin) => unlinkSync(`${login.path}.lock`)],
    ["a stranger's temp file appears", (login: ExpiredLogin) => writeFileSync(`${login.path}.tmp`, "{}")],
  ] as const) {
    test(`${what}: the token is saved all the same`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const { other, outcome, release } = await underWay(login);
      change(login);
      await release();
      const token = await outcome;
      assert.equal(await other.accessToken(login.config), token);
      assert.equal(login.stored().access, token);
      assert.equal((await login.refreshes()).length, 1);
      assert.notEqual(await other.accessToken(login.config, { rejectedToken: token }), token);
      assert.deepEqual(
        login.files().filter((name) => name.startsWith(".")),
        [],
      );
    });
  }
});

describe("changed between the last look and the rename", { concurrency: 6, skip: await Tracer.unavailable() }, () => {
  test("a network file system that renames twice: the save counts, nothing is revoked", async (t) => {
    const login = await ExpiredLogin.create(t);
    const { holder, tracer, outcome } = await stoppedBeforeRename(t, login);
    // NFS does this where the answer to a rename is lost and it is sent again: done, and ENOENT.
    renameSync(login.temp(), login.path);
    await tracer.detach();
    holder.child.signal("SIGCONT");
    const token = await outcome;
    assert.equal(login.stored().access, token);
    const other = await login.plugin();
    assert.equal(await other.accessToken(login.config), token);
    assert.deepEqual(await login.server.requests({ endpoint: "revocation" }), []);
    assert.equal((await login.refreshes()).length, 1);
    assert.notEqual(await other.accessToken(login.config, { rejectedToken: token }), token);
    assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
  });

  test("the temp file vanishes: a new one is made, and the token is saved", async (t) => {
    const login = await ExpiredLogin.create(t);
    const { holder, tracer, outcome } = await stoppedBeforeRename(t, login);
    unlinkSync(login.temp());
    await tracer.detach();
    holder.child.signal("SIGCONT");
    const token = await outcome;
    const other = await login.plugin();
    assert.equal(await other.accessToken(login.config), token);
    assert.equal(login.stored().access, token);
    assert.equal((await login.refreshes()).length, 1);
  });

  test("the file is deleted: the new credential takes its place", async (t) => {
    const login = await ExpiredLogin.create(t);
    const { holder, outcome } = await stoppedBeforeRename(t, login);
    unlinkSync(login.path);
    holder.child.signal("SIGCONT");
    assert.equal(await outcome, login.stored().access);
  });
});

/** A refresh with a delayed answer. */
async function underWay(login: ExpiredLogin) {
  const [holder, other] = await Promise.all([login.plugin(), login.plugin()]);
  const held = await login.heldAnswer();
  const { outcome } = holder.begin("getValidAccessToken", [login.config]);
  await held.arrived;
  return { holder, other, outcome: outcome as Promise<string>, release: held.release };
}

/** A refresh that is stopped after the file was read for the last time. */
async function stoppedBeforeRename(t: Lifetime, login: ExpiredLogin) {
  const { holder, outcome, release } = await underWay(login);
  const calls = { calls: "close", path: login.path, when: "1" };
  const tracer = await Tracer.attach(t, holder.child.pid, calls, { stop: true });
  await release();
  await tracer.stopped();
  return { holder, tracer, outcome };
}

/** Replaces a file like editors and rsync. */
function renamedOver(path: string, text: string): void {
  const copy = `${path}.new`;
  writeFileSync(copy, text);
  rmSync(path, { recursive: true, force: true });
  renameSync(copy, path);
}

function replaced(path: string, make: () => void): void {
  rmSync(path, { recursive: true });
  make();
}

/** The server knows no login any more; it is notified in the background. */
async function isRevoked({ server }: ExpiredLogin): Promise<void> {
  assert.equal((await server.request({ endpoint: "revocation" })).status, 200);
  assert.equal(await server.stored("RefreshToken"), 0);
}
