/**
 * A process that is killed with SIGKILL at every step of writing into another program's file: the file is whole, the
 * locks are taken over, and the login lives on unless the server's answer died with the process.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { ForeignFile, type Format, layouts } from "./foreign-file.ts";
import type { Lifetime } from "./lifetime.ts";
import { complete } from "./login.ts";
import { Person } from "./person.ts";
import { type Calls, Tracer } from "./tracer.ts";

const skip = await Tracer.unavailable();

interface Step {
  name: string;
  at: (file: ForeignFile) => Calls;
  stored: "old" | "new";
}

/** The answer has arrived, the process dies at a step of saving it. */
const steps: Step[] = [
  { name: "the journal is written", stored: "old", at: () => ({ calls: "ftruncate", when: "1" }) },
  { name: "the new text is written", stored: "old", at: () => ({ calls: "ftruncate", when: "2" }) },
  { name: "the new text has its mode", stored: "old", at: () => ({ calls: "fchmod", when: "1" }) },
  { name: "it is about to be renamed", stored: "old", at: (file) => ({ calls: "/^rename", path: dirname(file.path) }) },
  {
    name: "renamed, the journal is about to go",
    stored: "new",
    at: (file) => ({ calls: "/^unlink", path: dirname(file.path) }),
  },
];

/** @param thorough at every step, else only where the table decides what happens. */
export function foreignKills(format: Format, thorough: boolean): void {
  const once = thorough ? test : () => {};
  describe(format, { concurrency: 3, skip }, () => {
    for (const { name, at, stored } of steps) {
      const always = name.startsWith("it is about to be renamed") ? test : once;
      always(`${name}: nothing is lost`, async (t) => {
        const file = await ForeignFile.create(t, format);
        const old = file.tokens().access;
        await killed(t, file, at(file));
        assert.equal(file.tokens().access === old ? "old" : "new", stored);
        assert.equal(file.text(), file.expected());
        await livesOn(file, 1);
      });
    }

    once("a note that is killed leaves nothing behind for good", async (t) => {
      const file = await ForeignFile.create(t, format);
      const notes = join(file.home.path, ".clawdbot/credentials/memory");
      mkdirSync(notes, { recursive: true, mode: 0o700 });
      await killed(t, file, { calls: "/^rename", path: notes });
      const temps = () => readdirSync(notes).filter((name) => name.endsWith(".tmp"));
      assert.equal(temps().length, 1);
      await livesOn(file, 1);
      assert.deepEqual(temps(), []);
    });

    once("what its program wrote after the kill is kept as well", async (t) => {
      const file = await ForeignFile.create(t, format);
      await killed(t, file, { calls: "/^rename", path: dirname(file.path) });
      file.write(file.tokens(), 9);
      file.outwaitLocks();
      const plugin = await file.plugin();
      const token = await plugin.accessToken(file.config);
      assert.equal(token, file.tokens().access);
      assert.equal(file.text(), file.expected(9));
      assert.equal((await file.refreshes()).length, 1);
    });

    once("a login that its program made after the kill stays", async (t) => {
      const file = await ForeignFile.create(t, format);
      await killed(t, file, { calls: "/^rename", path: dirname(file.path) });
      const theirs = ForeignFile.theirs();
      file.write(theirs, 9);
      file.outwaitLocks();
      const plugin = await file.plugin();
      assert.equal(await plugin.accessToken(file.config), theirs.access);
      // The next writer removes the leftovers.
      await plugin.call("importToken", [file.config, { access: "next" }]);
      assert.deepEqual(leftovers(file), []);
      assert.ok(!file.text().includes(theirs.access));
    });

    if (layouts[format].refusal) {
      test("its program was refused for the old token after the kill: that is no logout", async (t) => {
        const file = await ForeignFile.create(t, format);
        await killed(t, file, { calls: "/^rename", path: dirname(file.path) });
        if (layouts[format].refusal === "no file") {
          file.put(undefined);
        } else {
          file.write({ access: "", refresh: "", expires: 0 });
        }
        await livesOn(file, 1);
      });
    }

    once("before the request was sent: nothing was spent", async (t) => {
      const file = await ForeignFile.create(t, format);
      const before = file.text();
      const victim = await file.plugin();
      const tracer = await Tracer.attach(t, victim.child.pid, { calls: "connect" }, { kill: true });
      victim.begin("getValidAccessToken", [file.config]);
      await victim.child.exit;
      await tracer.end;
      assert.equal(file.text(), before);
      assert.deepEqual(await file.refreshes(), []);
      await livesOn(file, 1);
    });

    for (const what of ["what its program writes", "a login that its program makes"]) {
      once(`${what} in the last moment before the rename is kept`, async (t) => {
        const file = await ForeignFile.create(t, format);
        const old = file.tokens();
        const theirs = ForeignFile.theirs(2 * 3_600_000);
        const plugin = await file.plugin();
        const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
        const { outcome } = plugin.begin("getValidAccessToken", [file.config]);
        await held.arrived;
        // The new text is made, and about to take the file's place.
        const tracer = await Tracer.attach(t, plugin.child.pid, { calls: "fchmod", when: "1" }, { stop: true });
        await held.remove();
        await tracer.stopped();
        assert.equal(file.tokens().access, old.access);
        file.write(what.startsWith("a login") ? theirs : old, 9);
        await tracer.detach();
        plugin.child.signal("SIGCONT");
        const token = await outcome;
        assert.equal(token, file.tokens().access);
        assert.notEqual(token, old.access);
        assert.equal(token === theirs.access, what.startsWith("a login"));
        assert.equal(file.text(), file.expected(9));
        assert.deepEqual(leftovers(file), []);
      });
    }

    once("a login or logout that is killed before the file changes leaves the file as it was", async (t) => {
      const file = await ForeignFile.create(t, format, { lives: 3_000_000 });
      const before = file.text();
      for (const call of ["login", "logout"]) {
        const victim = await file.plugin();
        const removes = call === "logout" && layouts[format].logoutRemovesFile;
        const calls = { calls: removes ? "/^unlink" : "/^rename", path: dirname(file.path) };
        const tracer = await Tracer.attach(t, victim.child.pid, calls, { kill: true });
        victim.begin(call, [file.config]);
        if (call === "login") {
          await new Person().approve(complete(await victim.verification()));
        }
        await victim.child.exit;
        await tracer.end;
        assert.equal(file.text(), before);
        file.outwaitLocks();
      }
      const plugin = await file.plugin();
      assert.equal(await plugin.accessToken(file.config), file.tokens().access);
    });
  });
}

async function killed(t: Lifetime, file: ForeignFile, calls: Calls): Promise<void> {
  const victim = await file.plugin();
  const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const { outcome } = victim.begin("getValidAccessToken", [file.config]);
  outcome.catch(() => {});
  await held.arrived;
  const tracer = await Tracer.attach(t, victim.child.pid, calls, { kill: true });
  await held.remove();
  await victim.child.exit;
  await tracer.end;
}

/** The next process goes on with the same login, and leaves nothing behind. */
async function livesOn(file: ForeignFile, requests: number): Promise<void> {
  file.outwaitLocks();
  const plugin = await file.plugin();
  // The holder of the lock for the second login keeps the answer for the first.
  const more = await file.refreshSecond((...call) => plugin.accessToken(...call));
  const token = await plugin.accessToken(file.config);
  assert.equal(token, file.tokens().access);
  assert.equal((await file.refreshes()).length, requests + more);
  await plugin.accessToken(file.config, { rejectedToken: token });
  assert.equal(file.text(), file.expected());
  assert.deepEqual(leftovers(file), []);
}

function leftovers(file: ForeignFile): string[] {
  const locks = file.locks().filter(({ path, kind }) => kind !== "flock" && existsSync(path));
  return [...file.temps(), ...locks.map(({ path }) => path)];
}
