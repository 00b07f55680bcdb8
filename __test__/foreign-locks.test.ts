/**
 * The locks of other programs: nothing is sent while they hold them, they are taken while a refresh token is spent,
 * and none stays.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { describe, test } from "node:test";
import { getValidAccessToken, status } from "../index.js";
import { ForeignFile, type Format, formats, type HostLock, layouts } from "./support/foreign-file.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { rejection } from "./support/rejection.ts";
import { Tracer } from "./support/tracer.ts";

const untraceable = await Tracer.unavailable();

/** No process has it: above what Linux gives. */
const nobody = 4_194_400;

for (const format of formats) {
  const locks = layouts[format].locks("/x/y/z").map((_, index) => index);
  const saveLocks = layouts[format].saveLocks?.("/x/y/z") ?? [];

  describe(format, { concurrency: 5 }, () => {
    for (const index of locks) {
      const named = locks.length > 1 ? `lock ${index + 1}: ` : "";

      test(`${named}while its program holds it nothing is sent; then once`, async (t) => {
        const { file, lock } = await withLock(t, format, index);
        ForeignFile.leave(lock, 0);
        const error = await rejection(getValidAccessToken({ ...file.config, lockTimeoutMs: 300 }), "STORE_LOCKED");
        assert.equal(error.retryable, true);
        assert.deepEqual(await file.refreshes(), []);
        assert.deepEqual(held(file), [lock.path], "none is kept while another is waited for");
        const token = getValidAccessToken(file.config);
        setTimeout(() => rmSync(lock.path, { recursive: true }), 100);
        assert.equal(await token, file.tokens().access);
        assert.equal((await file.refreshes()).length, 1);
        assert.deepEqual(held(file), []);
      });

      test(`${named}a program that was killed with it: after its own time, and not earlier`, async (t) => {
        const { file, lock } = await withLock(t, format, index);
        ForeignFile.leave(lock, lock.stale - 2);
        await rejection(getValidAccessToken({ ...file.config, lockTimeoutMs: 300 }), "STORE_LOCKED");
        assert.deepEqual(await file.refreshes(), []);
        ForeignFile.leave(lock, lock.stale + 1);
        assert.equal(await getValidAccessToken(file.config), file.tokens().access);
        assert.equal((await file.refreshes()).length, 1);
        assert.deepEqual(held(file), []);
      });

      test(`${named}removed by somebody while we refresh: saved all the same`, async (t) => {
        const { file, lock, outcome, release } = await underWay(t, format, index);
        rmSync(lock.path, { recursive: true });
        await release();
        assert.equal(await outcome, file.tokens().access);
        assert.equal((await file.refreshes()).length, 1);
        assert.deepEqual(held(file), []);
      });

      test(`${named}removed and taken by another while we refresh: its turn first`, async (t) => {
        const { file, lock, outcome, release } = await underWay(t, format, index);
        rmSync(lock.path, { recursive: true });
        ForeignFile.leave(lock, 0);
        await release();
        const token = await outcome;
        assert.notEqual(file.tokens().access, token, "it may be writing");
        rmSync(lock.path, { recursive: true });
        await until(() => file.tokens().access === token && held(file).length === 0);
      });
    }

    const [kind] = layouts[format].locks("/x/y/z").map(({ kind }) => kind);
    for (const [what, calls] of [
      ["time cannot be set", "/^utimens"],
      ...(kind === "folder" ? [] : ([["contents cannot be written", "/^p?write"]] as const)),
    ] as const) {
      if (locks.length === 0) continue;
      test(`a lock of which the ${what} is not left behind`, { skip: untraceable }, async (t) => {
        const { file, lock } = await withLock(t, format, 0);
        const plugin = await file.plugin();
        const tracer = await Tracer.attach(t, plugin.child.pid, { calls, path: lock.path }, { error: "EPERM" });
        const error = await plugin.accessToken({ ...file.config, lockTimeoutMs: 300 }).catch((error) => error);
        assert.match(error.code, /^STORE_(LOCKED|IO)$/);
        assert.deepEqual(held(file), []);
        assert.deepEqual(await file.refreshes(), []);
        await tracer.detach();
        assert.equal(await plugin.accessToken(file.config), file.tokens().access);
      });
    }

    if (locks.length > 0) {
      test("all are held while a refresh token is spent, and renewed", async (t) => {
        const { file, outcome, release } = await underWay(t, format, 0);
        const expected = file.locks("request").map(({ path }) => path);
        assert.deepEqual(held(file), expected);
        const shortest = Math.min(...file.locks("request").map(({ stale }) => stale));
        if (shortest <= 5) {
          const times = () => expected.map((path) => statSync(path).mtimeMs);
          const before = times();
          await until(() => times().every((time, index) => time > (before[index] ?? 0)));
        }
        await release();
        await outcome;
        assert.deepEqual(held(file), []);
      });

      test("ahead of need, since the program is excluded meanwhile", async (t) => {
        const file = await ForeignFile.create(t, format, { lives: 30_000 });
        const old = file.tokens().access;
        assert.notEqual(await getValidAccessToken(file.config), old);
        assert.equal((await file.refreshes()).length, 1);
      });
    }

    if (saveLocks.length > 0) {
      test("what is held for a rename is not held during the request, and waited for", async (t) => {
        const { file, outcome, release } = await underWay(t, format, 0);
        const [lock] = file.locks().slice(locks.length);
        assert.ok(lock);
        if (lock.kind === "flock") {
          return release();
        }
        assert.equal(existsSync(lock.path), false);
        ForeignFile.leave(lock, 0);
        await release();
        const token = await outcome;
        assert.notEqual(file.tokens().access, token);
        rmSync(lock.path, { recursive: true });
        await until(() => file.tokens().access === token && held(file).length === 0);
      });
    }

    if (layouts[format].refusal) {
      test("a refusal of the token that we have just replaced is no logout", async (t) => {
        const { file, outcome, release } = await underWay(t, format, 0);
        refuse(file, format);
        await release();
        assert.equal(await outcome, file.tokens().access);
        assert.equal(file.text(), file.expected());
        assert.deepEqual(await file.server.requests({ endpoint: "revocation" }), []);
        assert.equal(await getValidAccessToken(file.config), file.tokens().access);
      });

      test("a refused login is none, until the next", async (t) => {
        const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
        refuse(file, format);
        await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
        const theirs = ForeignFile.theirs();
        file.write(theirs);
        assert.equal(await getValidAccessToken(file.config), theirs.access);
      });
    }

    if (layouts[format].refusal !== "no file") {
      test("a logout while we refresh stays one, and what came is not revoked", async (t) => {
        const { file, outcome, release } = await underWay(t, format, 0);
        if (layouts[format].logoutRemovesFile) {
          file.put(undefined);
        } else {
          file.put("{}");
        }
        await release();
        await assert.rejects(outcome, { code: "LOGIN_REQUIRED" });
        assert.equal((await status(file.config)).state, "logged_out");
        assert.deepEqual(await file.server.requests({ endpoint: "revocation" }), []);
      });
    }
  });
}

describe("a lease of mcp-remote", () => {
  test("ends with its process, at any age", async (t) => {
    const { file, lock } = await withLock(t, "mcp-remote", 0);
    ForeignFile.leave(lock, 0, nobody);
    assert.equal(await getValidAccessToken(file.config), file.tokens().access);
  });

  test("is written as mcp-remote writes it", async (t) => {
    const { lock, outcome, release } = await underWay(t, "mcp-remote", 0);
    const { pid, nonce, at } = JSON.parse(readFileSync(lock.path, "utf8"));
    assert.equal(pid, process.pid);
    assert.equal(typeof nonce, "string");
    assert.ok(Math.abs(Date.now() - at) < 30_000);
    await release();
    await outcome;
  });
});

async function withLock(t: Lifetime, format: Format, index: number) {
  const file = await ForeignFile.create(t, format);
  const lock = file.locks("request")[index] as HostLock;
  return { file, lock };
}

/** A refresh that the server has done and not yet answered. */
async function underWay(t: Lifetime, format: Format, index: number) {
  const { file, lock } = await withLock(t, format, index);
  const answer = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const outcome = getValidAccessToken(file.config);
  outcome.catch(() => {});
  await answer.arrived;
  return { file, lock, outcome, release: () => answer.release() };
}

/** The locks that are held. */
function held(file: ForeignFile): string[] {
  return file
    .locks()
    .filter(({ path, kind }) => kind !== "flock" && existsSync(path))
    .map(({ path }) => path);
}

/** Leaves the mark of its program after a server has refused the refresh token of the file. */
function refuse(file: ForeignFile, format: Format): void {
  if (layouts[format].refusal === "no file") {
    file.put(undefined);
  } else {
    file.write({ access: "", refresh: "", expires: 0 });
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
