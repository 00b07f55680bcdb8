/** The places of credentials: links, umasks, folders of other users, file systems without locks. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { AuthConfig } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { ExpiredLogin } from "./support/expired-login.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";
import { Tracer } from "./support/tracer.ts";

const notRoot = process.getuid?.() === 0 ? false : "only root may give files away";
const notUnix = process.platform === "win32";

test("the home folder is that of HOME; on Windows, where that is not set, that of USERPROFILE", async (t) => {
  const home = TempHome.create(t);
  const [first, second] = [join(home.path, "first"), join(home.path, "second")];
  const config = { pluginId: "memory", clientId: "c", issuer: "https://auth.example.com" };
  const path = async (env: Record<string, string>) => {
    const { HOME: _, USERPROFILE: __, ...rest } = home.env();
    const plugin = await PluginProcess.start(t, { env: { ...rest, ...env } });
    return (await plugin.status(config)).path;
  };
  const below = (folder: string) => join(folder, ".openclaw", "credentials", "memory", "default.json");
  assert.equal(await path({ HOME: first, USERPROFILE: second }), below(first));
  if (notUnix) assert.equal(await path({ USERPROFILE: second }), below(second));
});

describe("symbolic links", { concurrency: 6, skip: notUnix }, () => {
  test("a state folder behind a link: one lock for both ways, one refresh, and the link stays", async (t) => {
    const login = await ExpiredLogin.create(t);
    const link = join(login.home.path, "state");
    symlinkSync(login.home.stateDir, link);
    await oneRefresh(login, { ...login.config, stateDir: link });
    assert.equal(readlinkSync(link), login.home.stateDir);
  });

  test("a plugin's folder that was moved to another place behind a link: the same", async (t) => {
    const login = await ExpiredLogin.create(t);
    const elsewhere = join(login.home.path, "elsewhere");
    renameSync(login.folder, elsewhere);
    symlinkSync("../../elsewhere", login.folder);
    await oneRefresh(login, { ...login.config, stateDir: login.home.stateDir });
    assert.ok(lstatSync(login.folder).isSymbolicLink());
  });

  test("a file behind two links: locked, read and replaced where it is", async (t) => {
    const login = await ExpiredLogin.create(t);
    const { stateDir: _, ...config } = login.config;
    const [first, second] = [join(login.home.path, "first.json"), join(login.home.path, "links", "second.json")];
    symlinkSync("links/second.json", first);
    mkdirSync(dirname(second));
    symlinkSync(login.path, second);
    await oneRefresh(login, { ...config, credentialsPath: first });
    assert.ok(lstatSync(first).isSymbolicLink());
    assert.ok(lstatSync(second).isSymbolicLink());
    assert.ok(lstatSync(login.path).isFile());
  });

  test("a link of another user is refused, and what it leads to is left alone", { skip: notRoot }, async (t) => {
    const login = await ExpiredLogin.create(t);
    const real = join(login.home.path, "real.json");
    renameSync(login.path, real);
    symlinkSync(real, login.path);
    lchownSync(login.path, 65_534, 65_534);
    const before = statSync(real);
    await refused(login, /symbolic link .* belongs to another user \(uid 65534\)/);
    assert.equal(statSync(real).mtimeMs, before.mtimeMs);
  });

  test("links in a circle are an error and no hang", async (t) => {
    const login = await ExpiredLogin.create(t);
    const other = join(login.home.path, "other.json");
    renameSync(login.path, join(login.home.path, "kept.json"));
    symlinkSync(other, login.path);
    symlinkSync(login.path, other);
    await refused(login, /symbolic links lead in a circle/);
  });
});

describe("umask", { concurrency: 2, skip: notUnix }, () => {
  for (const umask of ["000", "077", "0777"]) {
    test(`${umask}: folders 0700, files 0600, from the login on and after each refresh`, async (t) => {
      const server = await AuthorizationServer.start(t);
      const home = TempHome.create(t);
      const config = configFor(server, home.stateDir);
      const launcher = ["sh", "-c", `umask ${umask}; exec "$@"`, "sh"];
      const plugin = await PluginProcess.start(t, { env: home.env(), launcher });
      const done = plugin.login(config);
      await new Person().approve(complete(await plugin.verification()));
      await done;
      const path = home.credentialPath("memory");
      for (const refreshed of [false, true]) {
        if (refreshed) {
          await plugin.accessToken(config, { rejectedToken: await plugin.accessToken(config) });
        }
        assert.equal(mode(path), 0o600);
        assert.equal(mode(`${path}.lock`), 0o600);
        for (let folder = dirname(path); folder !== home.path; folder = dirname(folder)) {
          assert.equal(mode(folder), 0o700, folder);
        }
      }
      // Another process with the usual umask goes on with it.
      const other = await PluginProcess.start(t, { env: home.env() });
      assert.equal(await other.accessToken(config), await plugin.accessToken(config));
    });
  }
});

describe("what belongs to another user", { concurrency: 6, skip: notRoot }, () => {
  for (const [what, owned] of [
    ["the file", (login: ExpiredLogin) => login.path],
    ["the plugin's folder", (login: ExpiredLogin) => login.folder],
    ["the lock file", (login: ExpiredLogin) => `${login.path}.lock`],
  ] as const) {
    test(`${what} is refused with both users named, and nothing is spent`, async (t) => {
      const login = await ExpiredLogin.create(t);
      chownSync(owned(login), 65_534, 65_534);
      await refused(login, /belongs to another user \(uid 65534\), and this process runs as uid 0/);
      chownSync(owned(login), 0, 0);
      const plugin = await login.plugin();
      assert.equal(await plugin.accessToken(login.config), login.stored().access);
    });
  }

  for (const [what, owned] of [
    ["the credential file", ({ path }: ExpiredLogin) => [path]],
    ["the lock file", ({ path }: ExpiredLogin) => [`${path}.lock`]],
    ["the plugin's folder", ({ folder }: ExpiredLogin) => [folder]],
    ["the state folder", ({ home }: ExpiredLogin) => [home.stateDir]],
  ] as const) {
    test(`${what} that a command left behind that ran by sudo: how to give it back`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const user = 54_300;
      const { path: home } = login.home;
      const all = readdirSync(home, { recursive: true, encoding: "utf8" }).map((name) => join(home, name));
      for (const path of [home, ...all]) chownSync(path, user, user);
      for (const path of owned(login)) chownSync(path, 0, 0);
      const program = `require(${JSON.stringify(fileURLToPath(new URL("..", import.meta.url)))}).login(
        ${JSON.stringify(login.config)}, { onVerification() {} }).catch(({ code, message }) => console.log(code, message));`;
      const { stdout } = spawnSync(process.execPath, ["-e", program], { encoding: "utf8", uid: user, gid: user });
      const advice =
        /^STORE_IO .*\(uid 0\), and this process runs as uid 54300\. .*as root \(chown -R 54300 (\S+)\)/.exec(stdout);
      assert.ok(advice, stdout);
      assert.ok(String(advice[1]).startsWith(home), stdout);
      for (const path of owned(login)) assert.ok(path.startsWith(String(advice[1])), stdout);
    });
  }

  test("a state folder of another user that lets us in is used", async (t) => {
    const login = await ExpiredLogin.create(t);
    chownSync(login.home.stateDir, 65_534, 65_534);
    const plugin = await login.plugin();
    assert.equal(await plugin.accessToken(login.config), login.stored().access);
    assert.equal(statSync(login.home.stateDir).uid, 65_534);
  });
});

describe("a file system without locks", { concurrency: 2, skip: await Tracer.unavailable() }, () => {
  for (const error of ["ENOLCK", "EOPNOTSUPP"]) {
    test(`${error}: a lock in the temp folder serves, and two processes still cost one refresh`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const processes = await Promise.all([login.plugin(), login.plugin()]);
      await Promise.all(
        processes.map(({ child }) =>
          Tracer.attach(t, child.pid, { calls: "flock", path: `${login.path}.lock` }, { error }),
        ),
      );
      const held = await login.heldAnswer();
      const tokens = processes.map((process) => process.accessToken(login.config));
      await Promise.race([held.arrived, ...tokens]);
      await held.release();
      const [first, second] = await Promise.all(tokens);
      assert.equal(first, second);
      assert.equal((await login.refreshes()).length, 1);
      assert.equal(login.stored().access, first);
    });
  }
});

/** Two processes that come by different ways while the answer is held back. */
async function oneRefresh(login: ExpiredLogin, otherWay: AuthConfig): Promise<void> {
  const [direct, linked] = await Promise.all([login.plugin(), login.plugin()]);
  const held = await login.heldAnswer();
  const first = linked.accessToken(otherWay);
  await Promise.race([held.arrived, first]);
  const second = direct.accessToken(login.config);
  await assert.rejects(direct.call("logout", [{ ...login.config, lockTimeoutMs: 50 }]), { code: "STORE_LOCKED" });
  await held.release();
  assert.equal(await first, await second);
  assert.equal(login.stored().access, await first);
  assert.equal((await login.refreshes()).length, 1);
}

/** STORE_IO for every call that would write, before anything is sent. */
async function refused(login: ExpiredLogin, says: RegExp): Promise<void> {
  const plugin = await login.plugin();
  const requests = (await login.server.requests()).length;
  for (const call of ["getValidAccessToken", "login", "logout"]) {
    const error = await Promise.race([plugin.call(call, [login.config]), plugin.verification()]).then(
      () => assert.fail(`${call} did it`),
      (reason: ReportedError) => reason,
    );
    assert.equal(error.code, "STORE_IO", call);
    assert.match(error.message, says);
  }
  assert.equal((await login.server.requests()).length, requests);
}

function mode(path: string): number {
  return statSync(path).mode & 0o777;
}
