/**
 * Logins in the files of other programs (`credentialsFormat`): read, refreshed and written back there, and nothing
 * else.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { doctor, getValidAccessToken, importToken, listProfiles, logout, status } from "../../index.js";
import { ForeignFile, type Format, jwt, layouts } from "./foreign-file.ts";
import { approvedLogin } from "./login.ts";
import { rejection } from "./rejection.ts";

/** @param thorough in all that one code does for every program, else only in what the table decides. */
export function foreignFiles(format: Format, thorough: boolean): void {
  const once = thorough ? test : () => {};
  describe(format, { concurrency: 4 }, () => {
    test("refreshed and written back; every other byte, and the mode, stays", async (t) => {
      const file = await ForeignFile.create(t, format);
      const old = file.tokens();
      const token = await getValidAccessToken(file.config);
      const { access, refresh } = file.tokens();
      assert.equal(token, access);
      assert.notEqual(access, old.access);
      assert.notEqual(refresh, old.refresh);
      assert.equal(file.text(), file.expected());
      assert.equal(file.mode(), 0o640);
      // The server rotates and takes no token twice: the one in the file is the right one.
      const renewed = await getValidAccessToken(file.config, { rejectedToken: token });
      assert.equal(renewed, file.tokens().access);
      assert.equal(file.text(), file.expected());
      assert.equal((await file.refreshes()).length, 2);
      assert.deepEqual(others(file), [], "nothing is left beside it");
    });

    test("is left alone while its token lives", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      // Where no lock excludes the program, so late that our own files would be refreshed by now.
      if (file.locks("request").length === 0) {
        const soon = Date.now() + 20_000;
        file.write({ ...ForeignFile.theirs(20_000), expires: soon });
      }
      const before = file.text();
      assert.equal(await getValidAccessToken(file.config), file.tokens().access);
      assert.equal(file.text(), before);
      assert.deepEqual(await file.refreshes(), []);
    });

    once("several processes refresh once", async (t) => {
      const file = await ForeignFile.create(t, format);
      const plugins = await Promise.all([file.plugin(), file.plugin(), file.plugin()]);
      const tokens = await Promise.all(plugins.map((plugin) => plugin.accessToken(file.config)));
      assert.deepEqual(new Set(tokens), new Set([file.tokens().access]));
      assert.equal((await file.refreshes()).length, 1);
    });

    once("what its program writes is seen at the next call, in place or by rename", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      assert.equal(await getValidAccessToken(file.config), file.tokens().access);
      const theirs = ForeignFile.theirs();
      file.write(theirs);
      assert.equal(await getValidAccessToken(file.config), theirs.access);
      file.put(undefined);
      await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
    });

    once("what its program wrote while we refreshed is kept", async (t) => {
      const file = await ForeignFile.create(t, format);
      const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const token = getValidAccessToken(file.config);
      await held.arrived;
      file.write(file.tokens(), 7);
      await held.release();
      assert.equal(await token, file.tokens().access);
      assert.equal(file.text(), file.expected(7));
    });

    test("a login that its program made during a refresh stays, and the new tokens are revoked unless they may be of the same grant", async (t) => {
      const file = await ForeignFile.create(t, format);
      const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
      const token = getValidAccessToken(file.config);
      await held.arrived;
      const theirs = ForeignFile.theirs(2 * 3_600_000);
      file.write(theirs);
      await held.release();
      assert.equal(await token, theirs.access);
      assert.equal(file.tokens().refresh, theirs.refresh);
      if (format === "codex") {
        // No lock keeps Codex out, and its ID token says that it is the same person: it may be a login of the same
        // grant.
        assert.notEqual(await file.server.stored("RefreshToken"), 0);
        return;
      }
      await file.server.request({ endpoint: "revocation" });
      assert.equal(await file.server.stored("RefreshToken"), file.others);
    });

    once("half a file is waited for; a damaged one is an error, and nobody overwrites it", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      const whole = file.text();
      file.put(whole.slice(0, whole.length / 2));
      const token = getValidAccessToken(file.config);
      setTimeout(() => file.put(whole), 30);
      assert.equal(await token, file.tokens().access);
      for (const damaged of [whole.slice(0, whole.length / 2), "", "[]", "\u{feff}{}", "\0".repeat(100)]) {
        file.put(damaged);
        const error = await rejection(getValidAccessToken(file.config), "STORE_CORRUPT");
        assert.match(error.message, /left as it is/);
        await rejection(importToken(file.config, { access: "new" }), "STORE_CORRUPT");
        await rejection(logout(file.config), "STORE_CORRUPT");
        assert.equal(file.text(), damaged);
      }
    });

    test("wrong types are no login and no crash", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      const json = file.text();
      for (const [from, to] of [
        [/("(?:access|accessToken|access_token)": ?)"[^"]*"/, "$1{}"],
        [/("(?:refresh|refreshToken|refresh_token)": ?)"[^"]*"/, "$1[7]"],
      ] as const) {
        file.put(json.replace(from, to));
        const error = await rejection(getValidAccessToken(file.config), "STORE_CORRUPT");
        assert.doesNotMatch(error.message, /eyJ|canary/);
      }
    });

    test("logout takes the login out and leaves the rest", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      const { access } = file.tokens();
      assert.equal((await logout(file.config)).removed, true);
      if (layouts[format].logoutRemovesFile) {
        assert.equal(existsSync(file.path), false, "as the program's own logout");
      } else {
        const text = file.text();
        assert.ok(!text.includes(access));
        for (const kept of keptBy[format]) {
          assert.ok(text.includes(kept), kept);
        }
        assert.equal(file.mode(), 0o640);
      }
      assert.equal((await status(file.config)).state, "logged_out");
      await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
    });

    once("whose server a refresh has found out, a logout revokes at", async (t) => {
      const file = await ForeignFile.create(t, format);
      await getValidAccessToken(file.config);
      assert.deepEqual(await logout(file.config), { revoked: true, removed: true });
      assert.equal(await file.server.stored("RefreshToken"), file.others);
    });

    test("login, into a file that is there and into none", async (t) => {
      const file = await ForeignFile.create(t, format);
      const { status: first } = await approvedLogin(file.config);
      assert.equal(first.state, "valid");
      assert.equal(first.refreshable, true);
      assert.equal(first.path, file.path);
      assert.equal(file.text(), file.expected());
      await logout(file.config);
      if (existsSync(file.path)) file.put(undefined);
      await approvedLogin(file.config);
      assert.equal(file.mode(), 0o600);
      const { access } = file.tokens();
      assert.equal(await getValidAccessToken(file.config), access);
      assert.equal(await getValidAccessToken(file.config, { rejectedToken: access }), file.tokens().access);
    });

    test("a static token is never refreshed, and says so", async (t) => {
      const file = await ForeignFile.create(t, format);
      const expires = Date.now() + 3_600_000;
      const access = jwt({ exp: Math.floor(expires / 1000) });
      const imported = await importToken(file.config, { access, expires });
      assert.equal(imported.refreshable, false);
      assert.equal(imported.state, "expiring");
      assert.equal(await getValidAccessToken(file.config), access);
      await rejection(getValidAccessToken(file.config, { rejectedToken: access }), "LOGIN_REQUIRED");
      // It was refused, and is not handed out again.
      await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
      assert.deepEqual(await file.refreshes(), []);
      for (const kept of keptBy[format]) {
        assert.ok(file.text().includes(kept), kept);
      }
    });

    once("what a refresh taught is known to other processes, and is no part of the file", async (t) => {
      const file = await ForeignFile.create(t, format);
      const before = file.text();
      await file.server.intercept(
        { grant: "refresh_token" },
        { respond: { status: 400, body: { error: "invalid_grant" } } },
      );
      await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
      assert.equal(file.text(), before);
      const other = await file.plugin();
      await assert.rejects(other.accessToken(file.config), { code: "LOGIN_REQUIRED" });
      assert.equal((await file.refreshes()).length, 1);
      assert.equal((await status(file.config)).state, "login_required");
      // A login of the program itself ends it.
      const theirs = ForeignFile.theirs();
      file.write(theirs);
      assert.equal(await getValidAccessToken(file.config), theirs.access);
      assert.equal((await status(file.config)).state, "valid");
    });

    test("the note holds no token", async (t) => {
      const file = await ForeignFile.create(t, format);
      await getValidAccessToken(file.config);
      const { access, refresh } = file.tokens();
      const folder = join(file.home.path, ".clawdbot/credentials/memory");
      const names = readdirSync(folder);
      assert.ok(
        names.some((name) => name.startsWith(`.${format}-`) && name.endsWith(".json")),
        `${names}`,
      );
      for (const name of names) {
        const text = readFileSync(join(folder, name), "utf8");
        assert.ok(!text.includes(access) && !text.includes(refresh), name);
        assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
      }
    });

    once("a link is followed and stays", async (t) => {
      const file = await ForeignFile.create(t, format);
      const real = join(file.home.path, "real.json");
      writeFileSync(real, file.text());
      rmSync(file.path);
      symlinkSync(real, file.path);
      const token = await getValidAccessToken(file.config);
      assert.ok(readFileSync(real, "utf8").includes(token));
      assert.equal(file.text(), file.expected());
    });

    once("status, listProfiles and doctor know it", async (t) => {
      const file = await ForeignFile.create(t, format);
      const known = await status(file.config);
      assert.equal(known.state, "valid");
      assert.equal(known.refreshable, true);
      assert.equal(known.createdAt, undefined);
      const listed = await listProfiles(file.config);
      assert.deepEqual(
        listed.map(({ state, path }) => ({ state, path })),
        Array(1 + file.others).fill({ state: "valid", path: file.path }),
      );
      const { checks } = await doctor(file.config);
      assert.deepEqual(
        checks.filter(({ level }) => level === "error"),
        [],
      );
      const before = file.text();
      await doctor(file.config, { fix: true });
      assert.equal(file.text(), before);
      assert.equal(file.mode(), 0o640, "another program's mode is its own matter");
    });
  });
}

/** The members that every file of that format must keep, with or without a login. */
const keptBy = {
  "auth-profiles": [
    '{"type":"api_key", "provider":"anthropic", "key":"sk-other",   "weight": 1.50e+2}',
    '"lastUsed": 0',
  ],
  "claude-code": ['"mcpOAuth":{"plugin|0a":{"accessToken":"theirs","counter":0,"n":1e3}}'],
  codex: ['"ratio": 0.10'],
  "qwen-code": ['"resource_url": "portal.example.com\\/v1"', '"counter": 0'],
  pi: ['"anthropic": {"type": "api_key", "key": "sk-other"}'],
  "kimi-code": ['"counter": 0'],
  "mcp-remote": ['"requested_scope": "memory"', '"counter": 0'],
  "gemini-cli": ['"counter": 0'],
};

/** The other files in the folder, apart from this package's lock. */
function others(file: ForeignFile): string[] {
  const own = file.path.slice(dirname(file.path).length + 1);
  const expected = [own, `.${own}.plugin-auth.lock`, "auth.lock"];
  return readdirSync(dirname(file.path)).filter((name) => !expected.includes(name));
}
