/**
 * Disks that are full, read-only or broken: found before the refresh token is spent where that is possible; where it is
 * not, the caller has its token, the new credential stays in memory and is saved as soon as the disk is well.
 */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import type { AuthConfig } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Bystander } from "./support/bystander.ts";
import { type CredentialFile, ExpiredLogin } from "./support/expired-login.ts";
import { ForeignFile } from "./support/foreign-file.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { PrivateMounts } from "./support/private-mounts.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

const cannotTrace = await Tracer.unavailable();
const cannotMount = PrivateMounts.unavailable();

describe("a disk that cannot take the result: found before the refresh token is spent", {
  concurrency: 6,
  skip: cannotTrace,
}, () => {
  const faults: { name: string; error: string; says: RegExp }[] = [
    { name: "no space", error: "ENOSPC", says: /^No space left on the disk/ },
    { name: "no quota left", error: "EDQUOT", says: /^The disk quota is used up/ },
    { name: "an input/output error", error: "EIO", says: /reports an input\/output error/ },
  ];
  for (const { name, error, says } of faults) {
    test(name, async (t) => {
      const login = await ExpiredLogin.create(t);
      const plugin = await login.plugin();
      const tracer = await Tracer.attach(t, plugin.child.pid, { calls: "fallocate" }, { error });
      const told = await failure(plugin.accessToken(login.config));
      assert.equal(told.code, "STORE_IO", tracer.log);
      assert.match(told.message, says);
      assert.equal(told.needsLogin, false);
      assert.deepEqual(await login.refreshes(), []);
      assert.deepEqual(login.stored(), login.old);
      assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
      assert.equal((await plugin.status(login.config)).state, "valid");

      // The disk is well again: no back-off, no login.
      await tracer.detach();
      const token = await plugin.accessToken(login.config);
      assert.equal(login.stored().access, token);
      assert.equal((await login.refreshes()).length, 1);
    });
  }
});

test("a folder without permission: found before the refresh token is spent", {
  skip: Bystander.unavailable(),
}, async (t) => {
  const login = await ExpiredLogin.create(t);
  const plugin = await login.plugin({ launcher: Bystander.launcher(login.home) });
  chmodSync(login.folder, 0o500);
  const told = await failure(plugin.accessToken(login.config));
  assert.equal(told.code, "STORE_IO");
  assert.match(told.message, /^No permission to write .*Give the user that runs this process/);
  assert.equal((await failure(refusedLogin(plugin, login.config))).code, "STORE_IO");
  assert.deepEqual(await login.refreshes(), []);
  assert.deepEqual(await login.server.requests({ endpoint: "device_authorization" }), []);
  chmodSync(login.folder, 0o700);
  assert.equal(await plugin.accessToken(login.config), login.stored().access);
});

describe("a disk that fails after the refresh token was spent: the token is handed out and saved in the end", {
  concurrency: 6,
  skip: cannotTrace,
}, () => {
  const temp = (login: ExpiredLogin) => login.temp();
  const faults: { name: string; calls: string; error: string; path: typeof temp; says: RegExp; isWritten: boolean }[] =
    [
      {
        name: "no space",
        calls: "write,pwrite64",
        error: "ENOSPC",
        path: temp,
        says: /No space left/,
        isWritten: false,
      },
      {
        name: "no quota",
        calls: "write,pwrite64",
        error: "EDQUOT",
        path: temp,
        says: /quota is used/,
        isWritten: false,
      },
      {
        name: "write error",
        calls: "write,pwrite64",
        error: "EIO",
        path: temp,
        says: /input\/output/,
        isWritten: false,
      },
      { name: "truncate error", calls: "ftruncate", error: "EIO", path: temp, says: /input\/output/, isWritten: true },
      { name: "fsync error", calls: "fsync", error: "EIO", path: temp, says: /input\/output/, isWritten: true },
      {
        name: "rename, read-only",
        calls: "/^rename",
        error: "EROFS",
        path: ({ folder }: ExpiredLogin) => folder,
        says: /is read-only/,
        isWritten: true,
      },
      {
        name: "rename, mounted",
        calls: "/^rename",
        error: "EBUSY",
        path: ({ folder }: ExpiredLogin) => folder,
        says: /Mount its folder/,
        isWritten: true,
      },
      {
        name: "rename, forbidden",
        calls: "/^rename",
        error: "EACCES",
        path: ({ folder }: ExpiredLogin) => folder,
        says: /No permission/,
        isWritten: true,
      },
    ];
  for (const { name, calls, error, path, says } of faults) {
    test(`${name}, for a while`, async (t) => {
      const { login, holder, other, tracer, token } = await unsaved(t, calls, error, path);
      // This process goes on with the new token, without another request, and says that it is not saved.
      assert.equal(await holder.accessToken(login.config), token);
      const told = await holder.status(login.config);
      assert.equal(told.state, "valid");
      assert.match(
        told.lastError?.message ?? "",
        /^The refreshed login is not saved yet and lives in this process alone/,
      );
      assert.match(told.lastError?.message ?? "", says);
      // Other processes get the reason for it.
      const refused = await failure(other.accessToken({ ...login.config, lockTimeoutMs: 100 }));
      assert.equal(refused.code, "STORE_LOCKED");
      assert.ok(refused.message.includes(`process ${holder.child.pid}`), refused.message);
      assert.match(refused.message, says);
      assert.deepEqual(login.stored(), login.old);

      await tracer.detach();
      // A waiting process gets it as soon as the disk has taken it.
      assert.equal(await other.accessToken(login.config), token);
      assert.equal(login.stored().access, token);
      assert.equal((await login.refreshes()).length, 1);
      await saved(holder, login.config);
      assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
      assert.notEqual(await other.accessToken(login.config, { rejectedToken: token }), token);
    });
  }

  for (const { name, calls, error, path, isWritten } of faults.filter(({ name }) =>
    ["write error", "fsync error", "rename, mounted"].includes(name),
  )) {
    const outcome = isWritten ? "the next process finishes what was written" : "only then is the login lost";
    test(`${name}, and the process is killed: ${outcome}`, async (t) => {
      const { login, holder, other, token } = await unsaved(t, calls, error, path);
      holder.child.signal("SIGKILL");
      await holder.child.exit;
      if (isWritten) {
        assert.equal(await other.accessToken(login.config), token);
        assert.equal((await login.refreshes()).length, 1);
      } else {
        assert.equal((await failure(other.accessToken(login.config))).code, "LOGIN_REQUIRED");
        assert.equal((await login.refreshes()).length, 2);
      }
      assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
    });
  }

  test("a process that has nothing else to do stays until it is saved", async (t) => {
    const { login, holder, other, tracer, token } = await unsaved(t, "fsync", "EIO", temp);
    holder.child.endInput();
    const storedAtTheEnd = holder.child.event("leaving").then(() => login.stored().access);
    await tracer.detach();
    assert.equal(await storedAtTheEnd, token);
    assert.deepEqual(await holder.child.exit, { code: 0, signal: null });
    assert.equal(await other.accessToken(login.config), token);
    assert.equal((await login.refreshes()).length, 1);
  });

  test("a folder that cannot be synced is no reason to fail", async (t) => {
    const login = await ExpiredLogin.create(t);
    const plugin = await login.plugin();
    const tracer = await Tracer.attach(t, plugin.child.pid, { calls: "fsync", path: login.folder }, { error: "EIO" });
    const token = await plugin.accessToken(login.config);
    await tracer.injected();
    assert.equal(login.stored().access, token);
  });
});

describe("a disk that fails under two logins in one file of another program", {
  concurrency: 4,
  skip: cannotTrace,
}, () => {
  for (const [format, what, calls, error, says] of [
    ["auth-profiles", "no space before the request", "fallocate", "ENOSPC", /^No space left on the disk/],
    ["auth-profiles", "no space for the journal", "write,pwrite64", "ENOSPC", /No space left/],
    ["auth-profiles", "a journal that cannot be synced", "fsync", "EIO", /input\/output/],
    ["auth-profiles", "a rename on a read-only disk", "/^rename", "EROFS", /is read-only/],
    ["pi", "a rename on a read-only disk", "/^rename", "EROFS", /is read-only/],
  ] as const) {
    test(`${format}, ${what}: neither is lost, and the other's token is its own`, async (t) => {
      const file = await ForeignFile.create(t, format);
      const { second } = file;
      const before = file.text();
      const [plugin, other] = await Promise.all([file.plugin(), file.plugin()]);
      const isSpent = calls !== "fallocate";
      const held = isSpent
        ? await file.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" })
        : undefined;
      const outcome = held && plugin.accessToken(file.config);
      await held?.arrived;
      const [journal] = file.temps();
      const path = calls === "/^rename" ? { path: dirname(file.path) } : journal && { path: journal };
      const tracer = await Tracer.attach(t, plugin.child.pid, { calls, ...path }, { error });
      await held?.release();
      const token = await outcome;
      if (isSpent) {
        await tracer.injected();
        assert.match((await plugin.status(file.config)).lastError?.message ?? "", says);
      } else {
        const told = await failure(plugin.accessToken(file.config));
        assert.equal(told.code, "STORE_IO", tracer.log);
        assert.match(told.message, says);
      }
      for (const process of [plugin, other]) {
        assert.equal(await process.accessToken(second.config), second.access);
        assert.equal((await process.status(second.config)).lastError, undefined);
      }
      assert.equal(file.text(), before);
      await tracer.detach();
      const fresh = await other.accessToken(file.config);
      assert.equal(fresh, token ?? file.tokens().access);
      assert.equal(file.text(), file.expected());
      assert.equal((await file.refreshes()).length, 1);
      await saved(plugin, file.config);
      assert.deepEqual(file.temps(), []);
    });
  }
});

describe("a small disk of its own", { concurrency: 6, skip: cannotMount }, () => {
  test("full: STORE_IO without a request; valid tokens are still handed out; with space all is well", async (t) => {
    const disk = await SmallDisk.create(t);
    const valid = await disk.login({ profile: "valid" });
    const expired = await disk.login({ profile: "expired" }, 1);
    await disk.expiry(expired);
    disk.fill();
    const requests = (await disk.server.requests()).length;
    const before = disk.stored("expired");
    const told = await failure(disk.plugin.accessToken(expired));
    assert.equal(told.code, "STORE_IO");
    assert.match(told.message, /^No space left on the disk that holds .*Free some space there/);
    // A login is refused before a person is troubled.
    assert.equal((await failure(refusedLogin(disk.plugin, expired))).code, "STORE_IO");
    assert.equal((await failure(refusedLogin(disk.plugin, { ...valid, profile: "new" }))).code, "STORE_IO");
    assert.equal((await disk.server.requests({ grant: "refresh_token" })).length, 0);
    assert.equal((await disk.server.requests({ endpoint: "device_authorization" })).length, 2);
    assert.deepEqual(disk.stored("expired"), before);
    // Fresh, and due for an advisory refresh, which the disk forbids.
    const token = disk.stored("valid").access;
    assert.equal(await disk.plugin.accessToken(valid), token);
    assert.equal(await disk.plugin.accessToken({ ...valid, refreshBufferMs: 86_400_000 }), token);
    assert.equal((await disk.server.requests()).length, requests);
    // A logout works anyway.
    assert.deepEqual(await disk.plugin.call("logout", [valid]), { revoked: true, removed: true });
    assert.equal((await disk.plugin.status(valid)).state, "logged_out");
    disk.empty();
    assert.equal(await disk.plugin.accessToken(expired), disk.stored("expired").access);
  });

  test("no room for another file: found before the refresh token is spent", async (t) => {
    const disk = await SmallDisk.create(t);
    const config = await disk.login({}, 1);
    await disk.expiry(config);
    const files = disk.fillWithFiles();
    const told = await failure(disk.plugin.accessToken(config));
    assert.equal(told.code, "STORE_IO");
    assert.match(told.message, /^No space left on the disk/);
    assert.equal((await disk.server.requests({ grant: "refresh_token" })).length, 0);
    for (const file of files) {
      rmSync(file);
    }
    assert.equal(await disk.plugin.accessToken(config), disk.stored().access);
  });

  test("filled up while the request is under way: the space was taken before, so it is saved", async (t) => {
    const disk = await SmallDisk.create(t);
    const config = await disk.login({}, 1);
    await disk.expiry(config);
    const held = await disk.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
    const outcome = disk.plugin.accessToken(config);
    await held.arrived;
    disk.fill();
    await held.release();
    const token = await outcome;
    assert.equal(disk.stored().access, token);
    assert.equal((await disk.plugin.status(config)).lastError, undefined);
  });

  test("read-only: valid tokens are handed out, an expired one says so without a request", async (t) => {
    const disk = await SmallDisk.create(t);
    const valid = await disk.login({ profile: "valid" });
    const expired = await disk.login({ profile: "expired" }, 1);
    await disk.expiry(expired);
    const requests = (await disk.server.requests()).length;
    disk.mounts.run("mount", "-o", "remount,ro", disk.path);
    assert.equal(await disk.plugin.accessToken(valid), disk.stored("valid").access);
    const due = { ...valid, refreshBufferMs: 86_400_000 };
    assert.equal(await disk.plugin.accessToken(due), disk.stored("valid").access);
    const calls = [
      disk.plugin.accessToken(expired),
      refusedLogin(disk.plugin, expired),
      disk.plugin.call("logout", [expired]),
    ];
    for (const told of await Promise.all(calls.map(failure))) {
      assert.equal(told.code, "STORE_IO");
      assert.match(told.message, /is read-only\. Make it writable/);
    }
    assert.equal((await disk.plugin.status(expired)).state, "valid");
    assert.equal((await disk.server.requests()).length, requests);
    disk.mounts.run("mount", "-o", "remount,rw", disk.path);
    assert.equal(await disk.plugin.accessToken(expired), disk.stored("expired").access);
  });

  test("remounted read-only while the request is under way: the token is handed out, and saved once it is writable", async (t) => {
    const disk = await SmallDisk.create(t);
    const config = await disk.login({}, 1);
    await disk.expiry(config);
    const other = await disk.process();
    const held = await disk.server.intercept({ grant: "refresh_token", nth: 1 }, { hold: "after" });
    const outcome = disk.plugin.accessToken(config);
    await held.arrived;
    // A file that is open for writing forbids `remount,ro`, so a read-only view is put over the folder.
    const before = disk.stored();
    disk.mounts.run(
      "sh",
      "-c",
      `mount --bind "${disk.path}" "${disk.path}" && mount -o remount,bind,ro "${disk.path}"`,
    );
    await held.release();
    const token = await outcome;
    assert.match((await disk.plugin.status(config)).lastError?.message ?? "", /not saved yet/);
    assert.deepEqual(disk.stored(), before);
    disk.mounts.run("umount", disk.path);
    assert.equal(await other.accessToken(config), token);
    assert.equal(disk.stored().access, token);
    assert.equal((await disk.server.requests({ grant: "refresh_token" })).length, 1);
  });

  test("a single file that is mounted: a login is refused with advice; a valid token is handed out", async (t) => {
    const disk = await SmallDisk.create(t);
    const config = await disk.login({}, 1);
    await disk.expiry(config);
    const valid = await disk.login({ profile: "valid" });
    const asked = (await disk.server.requests({ endpoint: "device_authorization" })).length;
    const bind = (profile: string) => {
      const path = join(disk.folder, `${profile}.json`);
      disk.mounts.run("mount", "--bind", path, path);
    };
    bind("default");
    bind("valid");
    for (const call of [refusedLogin(disk.plugin, config), disk.plugin.accessToken(config)]) {
      const told = await failure(call);
      assert.equal(told.code, "STORE_IO");
      assert.ok(told.message.includes(`Mount its folder ${disk.folder} instead`), told.message);
    }
    assert.equal(await disk.plugin.accessToken(valid), disk.stored("valid").access);
    assert.equal((await disk.server.requests({ endpoint: "device_authorization" })).length, asked);
    assert.equal((await disk.server.requests({ grant: "refresh_token" })).length, 0);
  });
});

/** A state folder on a tmpfs of 128 KiB, and a plugin's process that sees it. */
class SmallDisk {
  readonly server: AuthorizationServer;
  readonly home: TempHome;
  readonly mounts: PrivateMounts;
  plugin!: PluginProcess;
  readonly #lifetime: Lifetime;

  static async create(lifetime: Lifetime): Promise<SmallDisk> {
    const [server, mounts] = await Promise.all([AuthorizationServer.start(lifetime), PrivateMounts.create(lifetime)]);
    const disk = new SmallDisk(lifetime, server, TempHome.create(lifetime), mounts);
    mounts.run("mkdir", disk.path);
    mounts.run("mount", "-t", "tmpfs", "-o", "size=128k,nr_inodes=32,mode=700", "tmpfs", disk.path);
    disk.plugin = await disk.process();
    return disk;
  }

  private constructor(lifetime: Lifetime, server: AuthorizationServer, home: TempHome, mounts: PrivateMounts) {
    this.#lifetime = lifetime;
    this.server = server;
    this.home = home;
    this.mounts = mounts;
  }

  get path(): string {
    return this.home.stateDir;
  }

  get folder(): string {
    return dirname(this.home.credentialPath("memory"));
  }

  process(): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.home.env(), launcher: this.mounts.launcher });
  }

  /** Logs in, with an access token that lives that many seconds. */
  async login(more: Partial<AuthConfig>, seconds = 3600): Promise<AuthConfig> {
    const config = configFor(this.server, this.path, more);
    const lifetime = await this.server.intercept({ grant: "device_code" }, { edit: { expires_in: seconds } });
    const done = this.plugin.login(config);
    await new Person().approve(complete(await this.plugin.verification()));
    await done;
    await lifetime.remove();
    return config;
  }

  async expiry(config: AuthConfig): Promise<void> {
    const { expiresAt = 0 } = await this.plugin.status(config);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiresAt - Date.now()) + 5));
  }

  stored(profile = "default"): CredentialFile {
    return JSON.parse(readFileSync(this.mounts.outside(this.home.credentialPath("memory", profile)), "utf8"));
  }

  /** To the last byte. */
  fill(): void {
    const ballast = this.mounts.outside(join(this.path, "ballast"));
    for (;;) {
      try {
        writeFileSync(ballast, Buffer.alloc(4096), { flag: "a" });
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        return;
      }
    }
  }

  /** Until no file can be made any more; gives those that were. */
  fillWithFiles(): string[] {
    const files: string[] = [];
    for (;;) {
      const file = this.mounts.outside(join(this.path, `empty-${files.length}`));
      try {
        writeFileSync(file, "");
        files.push(file);
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        return files;
      }
    }
  }

  empty(): void {
    rmSync(this.mounts.outside(join(this.path, "ballast")));
  }
}

/** A refresh that was spent and could not be saved. */
async function unsaved(t: Lifetime, calls: string, error: string, path: (login: ExpiredLogin) => string) {
  const login = await ExpiredLogin.create(t);
  const [holder, other] = await Promise.all([login.plugin(), login.plugin()]);
  const held = await login.heldAnswer();
  const outcome = holder.accessToken(login.config);
  await held.arrived;
  const tracer = await Tracer.attach(t, holder.child.pid, { calls, path: path(login) }, { error });
  await held.release();
  const token = await outcome;
  await tracer.injected();
  assert.notEqual(token, login.old.access);
  return { login, holder, other, tracer, token };
}

/** Until `status` has nothing to complain about. */
async function saved(plugin: PluginProcess, config: AuthConfig): Promise<void> {
  while ((await plugin.status(config)).lastError !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A login that should fail before a person is asked for anything. */
function refusedLogin(plugin: PluginProcess, config: AuthConfig): Promise<unknown> {
  return Promise.race([plugin.login(config), plugin.verification()]);
}

async function failure(call: Promise<unknown>): Promise<ReportedError> {
  return call.then(
    (value) => assert.fail(`Resolved to ${JSON.stringify(value)}`),
    (error: ReportedError) => error,
  );
}
