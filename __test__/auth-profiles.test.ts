/**
 * clawdbot's `auth-profiles.json`: which login is selected, the host's own lock, its older file, and the hosts that
 * have neither.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import lockfile from "proper-lockfile";
import {
  type AuthConfig,
  getValidAccessToken,
  importToken,
  listProfiles,
  login,
  logout,
  profileOrder,
  status,
} from "../index.js";
import { ForeignFile } from "./support/foreign-file.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

/** The options with which clawdbot locks the file. */
const hostLock = { stale: 30_000, retries: { retries: 50, minTimeout: 20, maxTimeout: 100 } };

const cannotTrace = await Tracer.unavailable();

const later = Date.now() + 10 * 3_600_000;

/** A state folder with these profiles. */
function hostWith(t: Lifetime, file: object, more: Partial<AuthConfig> = {}) {
  const home = TempHome.create(t);
  const stateDir = join(home.path, ".clawdbot");
  const path = join(stateDir, "agents/main/agent/auth-profiles.json");
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(file));
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: "https://auth.example.com",
    clientId: "public",
    stateDir,
    credentialsFormat: "auth-profiles",
    ...more,
  };
  return { home, stateDir, path, config, json: () => JSON.parse(readFileSync(path, "utf8")) };
}

const oauth = (access: string, provider = "memory") => ({
  type: "oauth",
  provider,
  access,
  refresh: "r",
  expires: later,
});

describe("which login is meant", () => {
  const profiles = {
    "memory:a": oauth("a"),
    "memory:b": { type: "token", provider: "memory", token: "b", expires: later },
    "memory:c": { type: "api_key", provider: "memory", key: "c" },
    "memory:ended": { type: "token", provider: "memory", token: "ended", expires: 1000 },
    "other:x": oauth("x", "other"),
  };
  for (const [what, file, more, expected] of [
    ["the only one of the provider", { profiles: { "memory:z": oauth("z"), "other:x": oauth("x", "other") } }, {}, "z"],
    ["the host's order", { profiles, order: { memory: ["memory:c", "memory:a"] } }, {}, "c"],
    ["what was good last", { profiles, lastGood: { memory: "memory:b" } }, {}, "b"],
    [
      "order goes before lastGood",
      { profiles, order: { memory: ["memory:b"] }, lastGood: { memory: "memory:c" } },
      {},
      "b",
    ],
    ["one that has ended is passed over", { profiles, order: { memory: ["memory:ended", "memory:c"] } }, {}, "c"],
    ["one that is not there is passed over", { profiles, order: { memory: ["memory:none", "memory:b"] } }, {}, "b"],
    ["a profileId", { profiles, order: { memory: ["memory:c"] } }, { profileId: "memory:b" }, "b"],
    ["a profile", { profiles, order: { memory: ["memory:c"] } }, { profile: "b" }, "b"],
    ["its id", { profiles, order: { memory: ["memory:c"] } }, { profile: "memory:b" }, "b"],
    ["another provider", { profiles }, { profileId: "other" }, "x"],
  ] as const) {
    test(what, async (t) => {
      const { config } = hostWith(t, { version: 1, ...file }, more);
      assert.equal(await getValidAccessToken(config), expected);
    });
  }

  test("status names it, and those that were passed over", async (t) => {
    const { config, path } = hostWith(t, { version: 1, profiles, order: { memory: ["memory:ended", "memory:c"] } });
    const { profile, path: shown, refreshable, skipped } = await status(config);
    assert.deepEqual({ profile, shown, refreshable }, { profile: "memory:c", shown: path, refreshable: false });
    assert.deepEqual(
      skipped?.map(({ profile, state }) => [profile, state]),
      [["memory:ended", "expired"]],
    );
    const listed = await listProfiles(config);
    assert.deepEqual(
      listed.map(({ profile, state }) => [profile, state]),
      [
        ["memory:a", "valid"],
        ["memory:b", "expiring"],
        ["memory:c", "valid"],
        ["memory:ended", "expired"],
      ],
    );
  });

  test("another agent has a file of its own", async (t) => {
    const { config, stateDir } = hostWith(t, { version: 1, profiles });
    const path = join(stateDir, "agents/work/agent/auth-profiles.json");
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify({ version: 1, profiles: { "memory:w": oauth("w") } }));
    assert.equal(await getValidAccessToken({ ...config, agentId: "work" }), "w");
    assert.equal(await getValidAccessToken(config), "a");
  });

  for (const [what, call] of [
    ["a token", getValidAccessToken],
    ["status", status],
    ["listProfiles", listProfiles],
    ["the order", (config) => profileOrder(config)],
  ] as [string, (config: AuthConfig) => Promise<unknown>][]) {
    test(`half a file is waited for where no profile is named: ${what}`, async (t) => {
      const { config, path } = hostWith(t, { version: 1, profiles });
      assert.equal(await getValidAccessToken(config), "a");
      const expected = await call(config);
      const whole = readFileSync(path, "utf8");
      writeFileSync(path, whole.slice(0, whole.length / 2));
      const outcome = call(config);
      setTimeout(() => writeFileSync(path, whole), 30);
      assert.deepEqual(await outcome, expected);
      writeFileSync(path, whole.slice(0, whole.length / 2));
      await rejection(call(config), "STORE_CORRUPT");
    });
  }

  test("the order is the host's to set", async (t) => {
    const { config, path } = hostWith(t, { version: 1, profiles });
    const before = readFileSync(path, "utf8");
    await rejection(profileOrder(config, ["memory:b"]), "INVALID_CONFIG");
    assert.deepEqual(await profileOrder(config), ["memory:a", "memory:b", "memory:c", "memory:ended"]);
    assert.equal(readFileSync(path, "utf8"), before);
  });

  test("a pasted token becomes the host's type for it, in place of any entry", async (t) => {
    const { config, json } = hostWith(t, { version: 1, profiles }, { profileId: "memory:a" });
    await importToken(config, { access: "pasted", expires: later });
    assert.deepEqual(json().profiles["memory:a"], {
      type: "token",
      provider: "memory",
      expires: later,
      token: "pasted",
    });
    await importToken(config, { access: "again", refresh: "r2", expires: later });
    assert.deepEqual(json().profiles["memory:a"], {
      type: "oauth",
      provider: "memory",
      expires: later,
      clientId: "public",
      access: "again",
      refresh: "r2",
    });
    await logout(config);
    assert.deepEqual(Object.keys(json().profiles), ["memory:b", "memory:c", "memory:ended", "other:x"]);
  });
});

describe("the file that clawdbot had before", () => {
  const legacy = (t: Lifetime) => {
    const home = TempHome.create(t);
    const stateDir = join(home.path, ".clawdbot");
    const path = join(stateDir, "credentials/oauth.json");
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(
      path,
      JSON.stringify({ memory: { access: "old", refresh: "r", expires: later }, anthropic: { access: "x" } }),
    );
    const config: AuthConfig = {
      pluginId: "memory",
      issuer: "https://auth.example.com",
      stateDir,
      credentialsFormat: "auth-profiles",
    };
    return { stateDir, path, config };
  };

  test("is read where the new one is absent, and written back there: the host brings all of it over later", async (t) => {
    const { config, path, stateDir } = legacy(t);
    assert.equal(await getValidAccessToken(config), "old");
    assert.equal((await status(config)).state, "valid");
    await importToken(config, { access: "new" });
    const { memory, anthropic } = JSON.parse(readFileSync(path, "utf8"));
    assert.deepEqual([memory.access, anthropic.access], ["new", "x"]);
    assert.equal(existsSync(join(stateDir, "agents/main/agent/auth-profiles.json")), false);
  });

  test("is not read once the new one is there", async (t) => {
    const { config, stateDir } = legacy(t);
    assert.equal(await getValidAccessToken(config), "old");
    const path = join(stateDir, "agents/main/agent/auth-profiles.json");
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify({ version: 1, profiles: { "memory:default": oauth("new") } }));
    // Another file than the one that is watched: seen within a second.
    await until(async () => (await getValidAccessToken(config)) === "new");
  });
});

test("a host that keeps its logins in a database gets no file, and an error that names its own way", async (t) => {
  const home = TempHome.create(t);
  const stateDir = join(home.path, ".openclaw");
  mkdirSync(join(stateDir, "state"), { recursive: true });
  writeFileSync(join(stateDir, "state/openclaw.sqlite"), "");
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: "https://auth.example.com",
    stateDir,
    credentialsFormat: "auth-profiles",
  };
  for (const call of [
    () => getValidAccessToken(config),
    () => login(config, { onVerification: () => {} }),
    () => importToken(config, { access: "x" }),
    () => logout(config),
    () => status(config),
    () => listProfiles(config),
  ]) {
    const error = await rejection(call(), "INVALID_CONFIG");
    assert.match(error.message, /registerProvider.*resolveApiKeyForProvider/);
  }
  assert.deepEqual(readdirSync(stateDir), ["state"]);
});

test("where nothing says that a host reads the file, none is made: a later openclaw would not start beside it", async (t) => {
  const home = TempHome.create(t);
  const stateDir = join(home.path, ".openclaw");
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: "https://auth.example.com",
    stateDir,
    credentialsFormat: "auth-profiles",
  };
  for (const call of [
    () => login(config, { onVerification: () => {} }),
    () => importToken(config, { access: "x" }),
    () => getValidAccessToken(config),
  ]) {
    const error = await rejection(call(), "INVALID_CONFIG");
    assert.match(error.message, /nothing was written.*inside a host/);
  }
  assert.equal(existsSync(stateDir), false);
  mkdirSync(stateDir);
  writeFileSync(join(stateDir, "clawdbot.json"), "{}");
  await importToken(config, { access: "x" });
  assert.equal(await getValidAccessToken(config), "x");
});

describe("the host's lock, npm's proper-lockfile in another process", () => {
  test("while the host holds it, we neither refresh nor write", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles");
    const host = await Host.start(t, file.path);
    await host.say("lock");
    const before = file.text();
    const error = await rejection(getValidAccessToken({ ...file.config, lockTimeoutMs: 300 }), "STORE_LOCKED");
    assert.match(error.message, /auth-profiles\.json/);
    await rejection(logout({ ...file.config, lockTimeoutMs: 0 }), "STORE_LOCKED");
    assert.equal(file.text(), before);
    assert.deepEqual(await file.refreshes(), []);
    const token = getValidAccessToken(file.config);
    await host.say("unlock");
    assert.equal(await token, file.tokens().access);
  });

  test("what the host has refreshed meanwhile is used, and nothing is sent", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles");
    const host = await Host.start(t, file.path);
    await host.say("lock");
    const token = getValidAccessToken(file.config);
    const theirs = ForeignFile.theirs();
    file.write(theirs);
    await host.say("unlock");
    assert.equal(await token, theirs.access);
    assert.deepEqual(await file.refreshes(), []);
  });

  test("while we refresh, the host finds it locked, and gets it afterwards", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles");
    const host = await Host.start(t, file.path);
    const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
    const token = getValidAccessToken(file.config);
    await held.arrived;
    assert.equal(await host.say("check"), "true");
    assert.equal(await host.say("try"), "ELOCKED");
    await held.release();
    await token;
    assert.equal(await host.say("lock"), "locked");
    assert.equal(await host.say("unlock"), "unlocked");
    assert.equal(existsSync(`${file.path}.lock`), false);
  });

  test("a host that was killed with it is waited for no longer than it would wait itself", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles");
    const host = await Host.start(t, file.path);
    await host.say("lock");
    await host.kill();
    assert.equal(existsSync(`${file.path}.lock`), true);
    await rejection(getValidAccessToken({ ...file.config, lockTimeoutMs: 100 }), "STORE_LOCKED");
    const longAgo = new Date(Date.now() - 31_000);
    utimesSync(`${file.path}.lock`, longAgo, longAgo);
    assert.equal(await getValidAccessToken(file.config), file.tokens().access);
    assert.equal(existsSync(`${file.path}.lock`), false);
  });

  test("a plugin that was killed with it is taken over by the host", async (t) => {
    const file = await ForeignFile.create(t, "auth-profiles");
    const plugin = await file.plugin();
    const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "before" });
    plugin.begin("getValidAccessToken", [file.config]);
    await held.arrived;
    plugin.child.signal("SIGKILL");
    await plugin.child.exit;
    assert.equal(await lockfile.check(file.path, { stale: 30_000 }), true);
    const longAgo = new Date(Date.now() - 31_000);
    utimesSync(`${file.path}.lock`, longAgo, longAgo);
    const release = await lockfile.lock(file.path, { stale: 30_000 });
    await release();
  });

  describe("a save that fails lets go of it between tries", { skip: cannotTrace }, () => {
    test("the host writes its other logins; this one is saved once the disk and the lock allow it", async (t) => {
      const file = await ForeignFile.create(t, "auth-profiles");
      const { plugin, tracer, token } = await unsaved(t, file, dirname(file.path));
      const host = await Host.start(t, file.path);
      assert.equal(await host.say("count 1"), "counted");
      assert.notEqual(file.tokens().access, token);
      // This package's next try ends the host's wait.
      assert.equal(await host.say("lock"), "locked");
      await tracer.detach();
      await until(async () => /is locked by another/.test((await plugin.status(file.config)).lastError?.message ?? ""));
      assert.equal(await plugin.accessToken(file.config), token);
      assert.equal(await host.say("unlock"), "unlocked");
      await until(async () => (await plugin.status(file.config)).lastError === undefined);
      assert.equal(file.tokens().access, token);
      assert.equal(file.json().usageStats["host:count"].errorCount, 1);
      assert.equal((await file.refreshes()).length, 1);
      assert.equal(await host.say("try"), "locked");
    });

    test("the host moves its old file meanwhile: this login is saved in the new place", async (t) => {
      const file = await ForeignFile.create(t, "auth-profiles");
      const { access, refresh, expires } = file.tokens();
      const config = { ...file.config, profileId: "memory:default" };
      const legacy = join(file.home.path, ".clawdbot/credentials/oauth.json");
      mkdirSync(dirname(legacy), { recursive: true });
      writeFileSync(legacy, JSON.stringify({ memory: { access, refresh, expires } }));
      file.put(undefined);
      const { plugin, token } = await unsaved(t, file, dirname(legacy), config);
      const profiles = { "memory:default": { ...oauth(access), refresh, expires }, "other:x": oauth("x", "other") };
      file.put(JSON.stringify({ version: 1, profiles }));
      await until(async () => (await plugin.status(config)).lastError === undefined);
      assert.equal(file.json().profiles["memory:default"].access, token);
      assert.deepEqual(file.json().profiles["other:x"], profiles["other:x"]);
      assert.equal((await file.refreshes()).length, 1);
    });
  });

  test("host and plugins write at once, for many rounds: nothing that either wrote is lost", async (t) => {
    const rounds = 25;
    const file = await ForeignFile.create(t, "auth-profiles", { lives: 3_000_000 });
    const hosts = await Promise.all([Host.start(t, file.path), Host.start(t, file.path)]);
    const counting = hosts.map((host) => host.say(`count ${rounds}`));
    const importing = (async () => {
      for (let round = 1; round <= rounds; round += 1) {
        await importToken({ ...file.config, profileId: `memory:${round}` }, { access: `t${round}`, expires: later });
      }
    })();
    const refreshing = (async () => {
      for (let round = 1; round <= 10; round += 1) {
        const rejectedToken = await getValidAccessToken(file.config);
        await getValidAccessToken(file.config, { rejectedToken }).catch((error) => {
          // Forced at most three times a minute.
          assert.equal(error.code, "STORE_LOCKED");
        });
      }
    })();
    assert.deepEqual(await Promise.all(counting), ["counted", "counted"]);
    await Promise.all([importing, refreshing]);
    const { profiles, usageStats } = file.json();
    assert.equal(usageStats["host:count"].errorCount, 2 * rounds);
    for (let round = 1; round <= rounds; round += 1) {
      assert.equal(profiles[`memory:${round}`].token, `t${round}`);
    }
    assert.equal(await getValidAccessToken(file.config), file.tokens().access);
    assert.equal((await file.refreshes()).filter(({ status }) => status !== 200).length, 0);
    assert.equal(existsSync(`${file.path}.lock`), false);
  });
});

/** A plugin that has refreshed, on a disk that renames nothing in that folder. */
async function unsaved(t: Lifetime, file: ForeignFile, folder: string, config = file.config) {
  const plugin = await file.plugin();
  const held = await file.server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const outcome = plugin.accessToken(config);
  await held.arrived;
  const tracer = await Tracer.attach(t, plugin.child.pid, { calls: "/^rename", path: folder }, { error: "EIO" });
  await held.release();
  const token = await outcome;
  await tracer.injected();
  return { plugin, tracer, token };
}

/** A process that locks and writes the file as clawdbot does. */
class Host {
  readonly #child;
  readonly #lines;

  static async start(lifetime: Lifetime, path: string): Promise<Host> {
    const host = new Host(path);
    lifetime.after(() => host.kill());
    await host.#next();
    return host;
  }

  private constructor(path: string) {
    const program = fileURLToPath(new URL("fixtures/locking-host.mjs", import.meta.url));
    this.#child = spawn(process.execPath, [program, path, JSON.stringify(hostLock)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async say(command: string): Promise<string> {
    this.#child.stdin.write(`${command}\n`);
    return await this.#next();
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL");
      await once(this.#child, "exit");
    }
  }

  async #next(): Promise<string> {
    const { value } = await this.#lines.next();
    return value;
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
