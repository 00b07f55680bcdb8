/** The plugin kit: accounts and their order, pasted tokens, the doctor and monitoring, as an operator calls them. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type DoctorReport, getValidAccessToken, importToken, profileOrder, status } from "../index.js";
import { type PluginAuthOptions, pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const pluginId = "my-memory";
const day = 24 * 60 * 60 * 1000;

/** A state folder without any server, for tokens that are pasted. */
function offline(t: Lifetime, more: Partial<PluginAuthOptions> = {}) {
  const home = TempHome.create(t);
  const config = (profile?: string) => ({
    pluginId,
    stateDir: home.stateDir,
    ...(profile !== undefined && { profile }),
  });
  const options = { ...more, stateDir: home.stateDir };
  const start = (...args: string[]) =>
    Child.start(t, "plugin-command.mjs", { args: [JSON.stringify(options), ...args], env: home.env() });
  return { home, config, start, run: (...args: string[]) => outcome(start(...args)) };
}

async function outcome(child: Child): Promise<{ code: number | null; stdout: string; stderr: string }> {
  child.endInput();
  const { code } = await child.exit;
  return { code, stdout: child.stdout, stderr: child.stderr };
}

test("accounts order: set, used, shown in the list, cleared", async (t) => {
  const { config, run } = offline(t);
  await importToken(config("home"), { access: "at-home" });
  assert.equal((await run("accounts", "order", "get")).stdout, "No order is set.\n");
  assert.equal((await run("accounts", "order", "set", "work", "my-memory:home")).stdout, "work\nhome\n");
  assert.deepEqual(await profileOrder(config()), ["work", "home"]);
  assert.equal((await run("accounts", "order", "get")).stdout, "work\nhome\n");
  assert.equal((await run("accounts")).stdout, "1  work  not logged in\n2  home  logged in\n");
  assert.deepEqual(
    JSON.parse((await run("accounts", "--json")).stdout).map(({ profile }: { profile: string }) => profile),
    ["work", "home"],
  );
  const routed = await run("status");
  assert.match(routed.stdout, /account {2}home\n.*skipped {2}Nobody is logged in to my-memory \(profile work\)/s);
  // Without a name it is the first; by name or id, that one.
  assert.match((await run("logout")).stdout, /^Nobody was logged in/);
  assert.match((await run("logout", "--account=my-memory:home")).stdout, /^Logged out/);
  assert.match((await run("status", "--check")).stdout, /Log in with: openclaw my-memory login\n/);

  const foreign = await run("accounts", "order", "set", "notes:work");
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /^[^\n]*no account of this plugin[^\n]*\n$/);
  assert.equal((await run("status", "--account=notes:work")).code, 1);
  assert.equal((await run("accounts", "order", "clear")).stdout, "No order is set.\n");
  assert.equal(await profileOrder(config()), null);
});

test("logout of a name that nobody has says who is logged in, and is no failure", async (t) => {
  const { config, run } = offline(t);
  await importToken(config("work"), { access: "at-work" });
  await importToken(config("home"), { access: "at-home" });
  const { code, stdout } = await run("logout", "--account=wrok");
  assert.equal(code, 0);
  assert.equal(
    stdout,
    "Nobody was logged in to My Memory.\n  Accounts with a login: home, work. For one of them give --account <name>.\n",
  );
  for (const account of ["work", "home"]) await run("logout", `--account=${account}`);
  assert.equal((await run("logout", "--account=work")).stdout, "Nobody was logged in to My Memory.\n");
});

test("login --token: piped in, for one account, and never an argument", async (t) => {
  const { config, start, run } = offline(t);
  const piped = start("login", "--token", "--account=work");
  piped.type("piped-token\n");
  const { code, stdout, stderr } = await outcome(piped);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^My Memory: logged in\n {2}account {2}work\n {2}token .*imported, cannot be renewed\n/);
  assert.doesNotMatch(stdout + stderr, /piped-token/);
  assert.equal(await getValidAccessToken(config("work")), "piped-token");

  const spaced = start("login", "--token");
  spaced.type("two words\n");
  const refused = await outcome(spaced);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /spaces/);
  assert.doesNotMatch(refused.stderr, /two words/);
  assert.equal((await run("login", "--token")).code, 1, "nothing was piped in");
});

test("login --token on a terminal: what is typed is not shown; Ctrl-C changes nothing", {
  skip: process.platform === "linux" ? false : "script(1) of util-linux is a terminal to its program",
}, async (t) => {
  const { home, config } = offline(t);
  const fixture = fileURLToPath(new URL("fixtures/plugin-command.mjs", import.meta.url));
  const options = JSON.stringify({ stateDir: home.stateDir });
  const typed = async (keys: string) => {
    const line = [process.execPath, fixture, options, "login", "--token"].map((word) => `'${word}'`).join(" ");
    const terminal = spawn("script", ["-qec", line, "/dev/null"], { env: home.env() });
    t.after(() => terminal.kill("SIGKILL"));
    let shown = "";
    terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
      // Typed when it is asked for, as a person does.
      if (!shown.includes("not shown") && (shown + text).includes("not shown")) {
        terminal.stdin.write(keys);
      }
      shown += text;
    });
    const [code] = await once(terminal, "close");
    return { code, shown };
  };
  const done = await typed("pastex\u007fd-\u001b[200~token\u001b[201~\r");
  assert.equal(done.code, 0, done.shown);
  assert.doesNotMatch(done.shown, /paste/);
  assert.equal(await getValidAccessToken(config()), "pasted-token");
  const given = await typed("other\u0003");
  assert.equal(given.code, 130);
  assert.match(given.shown, /Given up\. Nothing was changed\./);
  assert.equal(await getValidAccessToken(config()), "pasted-token");
});

test("status --check --all: the worst of all accounts", async (t) => {
  const { config, run } = offline(t);
  const check = async () => (await run("status", "--check", "--all")).code;
  assert.equal(await check(), 1, "nobody at all");
  await importToken(config("a"), { access: "a" });
  assert.equal(await check(), 0);
  await importToken(config("b"), { access: "b", expires: Date.now() + day + 60_000 });
  assert.equal(await check(), 0, "more than a day is left");
  await importToken(config("c"), { access: "c", expires: Date.now() + day - 60_000 });
  assert.equal(await check(), 2);
  const told = await run("status", "--all");
  assert.match(told.stdout, /account {2}a\n.*account {2}b\n.*ends soon\n.*account {2}c\n.*--account c\n$/s);
  assert.equal(JSON.parse((await run("status", "--all", "--json")).stdout).length, 3);
  await profileOrder(config(), ["a", "never"]);
  assert.equal(await check(), 1, "one of the order never logged in");
  assert.equal((await run("status", "--check")).code, 0, "but the one in use is well");
});

test("doctor: exit code, text, JSON, and --fix", { skip: process.platform === "win32" }, async (t) => {
  const { home, config, run } = offline(t);
  const none = await run("doctor");
  assert.equal(none.code, 1);
  assert.match(
    none.stdout,
    /^ok {7}place .*\nerror {4}login .*\n +→ Log in with: openclaw my-memory login\n.*Errors were found\.\n$/s,
  );
  await profileOrder(config(), ["work", "default"]);
  assert.match(
    (await run("doctor")).stdout,
    /→ Log in with: openclaw my-memory login\n.*→ Log in with: openclaw my-memory login --account default\n/s,
  );
  const order = join(home.stateDir, "credentials", pluginId, ".order.json");
  writeFileSync(order, "damaged");
  assert.match((await run("doctor")).stdout, /\nerror {4}order .*\.order\.json.*\nErrors were found\.\n$/s);
  rmSync(order);
  const { path } = await importToken(config(), { access: "canary" });
  chmodSync(path, 0o644);
  const loose = await run("doctor");
  assert.equal(loose.code, 0);
  assert.match(loose.stdout, /warning {2}file .*mode 644.*\n +→ chmod 600/);
  assert.match((await run("doctor", "--fix")).stdout, /fixed {4}file /);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const { ok, checks } = JSON.parse((await run("doctor", "--json")).stdout);
  assert.equal(ok, true);
  assert.ok(checks.length >= 7);
  assert.doesNotMatch(JSON.stringify(checks), /canary/);
});

test("doctor --json can be pasted: it names versions and what was found, but no person and no server", async (t) => {
  const { home, config, run } = offline(t, {
    issuer: "https://login.acme-corp.example",
    order: ["ada@acme.example", "work-of-ada"],
  });
  await importToken(config("work-of-ada"), { access: "canary" });
  const { stdout, stderr } = await run("doctor", "--json");
  assert.equal(stderr, "");
  const report = JSON.parse(stdout);
  assert.match(report.versions.package, /^\d+\.\d+\.\d+/);
  assert.equal(report.versions.node, process.versions.node);
  assert.match(report.versions.host, /^openclaw /);
  assert.match(report.platform, new RegExp(`^${process.platform}-${process.arch}`));
  assert.equal(report.storage, "file");
  assert.doesNotMatch(stdout, /acme|\bada\b|canary/i);
  assert.ok(!stdout.includes(home.path), "the home folder has a person's name");
  assert.match(stdout, /server-1/);
  const named = (await run("doctor", "--json", "--with-servers")).stdout;
  assert.match(named, /login\.acme-corp\.example/);
  assert.doesNotMatch(named, /\bada\b/i);
});

test("through the gateway the doctor reports a damaged order", async (t) => {
  const { home } = offline(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, { issuer: "https://auth.example.invalid" });
  mkdirSync(join(home.stateDir, "credentials", pluginId), { recursive: true, mode: 0o700 });
  writeFileSync(join(home.stateDir, "credentials", pluginId, ".order.json"), "damaged");
  const { checks } = (await host.call("my-memory.doctor")) as unknown as DoctorReport;
  assert.equal(checks.find(({ name }) => name === "order")?.level, "error");
});

test("through the gateway: ids, the first of an order, and the doctor", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  const { pluginId: _id, stateDir: _stateDir, ...options } = configFor(server, home.stateDir);
  const auth = pluginAuth(host.api, { ...options, order: ["work", "my-memory:home"] });
  assert.equal(auth.profile, "work");
  const advice = async () => {
    const { checks } = (await host.call("my-memory.doctor")) as unknown as DoctorReport;
    return checks.filter(({ name }) => name === "login").map(({ fix }) => fix);
  };
  const command = "Log in with: openclaw my-memory login";
  assert.deepEqual(await advice(), [command, `${command} --account home`]);
  await grantedLogin(configFor(server, home.stateDir, { pluginId, profile: "home" }));
  assert.ok(await auth.getValidAccessToken());
  assert.equal((await host.call("my-memory.status")).profile, "home");
  assert.equal((await host.call("my-memory.status", { account: "my-memory:work" })).profile, "work");
  await assert.rejects(host.call("my-memory.status", { account: "notes:work" }), { code: "INVALID_CONFIG" });

  const begun = await host.call("my-memory.login");
  assert.equal(begun.account, "work");
  const again = await host.call("my-memory.login", { profile: "my-memory:work" });
  assert.equal(again.userCode, begun.userCode, "one pending login, however the account is named");
  assert.equal((await host.call("my-memory.status")).loginPending, true);
  await new Person().approve(String(begun.verificationUriComplete));
  await server.request({ endpoint: "token", grant: "device_code" });
  while ((await host.call("my-memory.status")).profile !== "work") {
    await server.requests();
  }
  const report = await host.call("my-memory.doctor");
  assert.equal(report.ok, true, JSON.stringify(report));
  await host.call("my-memory.logout");
  assert.equal((await host.call("my-memory.status")).profile, "home");
});

test("when all of an order need a login, the command that is named logs the first in", async (t) => {
  const { home, config } = offline(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  const auth = pluginAuth(host.api, { issuer: "https://auth.example.com" });
  await profileOrder(config(), ["work", "home"]);
  const refused = await rejection(auth.getValidAccessToken(), "LOGIN_REQUIRED");
  assert.equal(
    refused.message,
    "My Memory needs a login: run `openclaw my-memory login` in a terminal, then try again.",
  );
  const { message } = await rejection(auth.account("my-memory:home").getValidAccessToken(), "LOGIN_REQUIRED");
  assert.match(message, /login --account my-memory:home`/);
  assert.equal((await status(config())).profile, "work");
});

test("the service asks nobody to log in while one account of the order is usable, and then the first", async (t) => {
  const { home, config } = offline(t);
  await profileOrder(config(), ["work", "home"]);
  const rounds = async () => {
    const host = new FakeHost({ stateDir: home.stateDir });
    pluginAuth(host.api, { issuer: "https://auth.example.com" });
    const [service] = host.services;
    service?.start();
    for (let round = 0; round < 3; round += 1) {
      t.mock.timers.tick(12 * 60_000);
      // The store answers on a thread of its own.
      for (let turn = 0; turn < 20; turn += 1) {
        await profileOrder(config());
      }
    }
    service?.stop?.();
    return host.log;
  };
  t.mock.timers.enable({ apis: ["setTimeout"] });
  assert.deepEqual(await rounds(), [
    "warning: My Memory (account work) needs a login: run `openclaw my-memory login` in a terminal.",
  ]);
  await importToken(config("home"), { access: "at-home" });
  assert.deepEqual(await rounds(), []);
});

const monitoring = readFileSync(new URL("../docs/operations/monitoring.md", import.meta.url), "utf8");
const blocks = (language: string) =>
  [...monitoring.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\n\`\`\``, "gs"))].map(([, text = ""]) => text);

test("docs/operations/monitoring.md: the cron lines say nothing while all is well, and what to do otherwise", {
  skip: process.platform === "win32",
}, async (t) => {
  const { home, config } = offline(t);
  // The commands of the host, and the phone's, found by the PATH of the line itself.
  const bin = join(home.path, ".local", "bin");
  mkdirSync(bin, { recursive: true });
  const program = (name: string, script: string) => writeFileSync(join(bin, name), script, { mode: 0o755 });
  const fixture = fileURLToPath(new URL("fixtures/plugin-command.mjs", import.meta.url));
  const options = JSON.stringify({ stateDir: home.stateDir });
  program("openclaw", `#!/bin/sh\nshift\nexec '${process.execPath}' '${fixture}' '${options}' "$@"\n`);
  program("proot-distro", '#!/bin/sh\nshift 3\nexec "$@"\n');
  program("termux-notification", '#!/bin/sh\necho "notified: $(cat)"\n');
  const [cron = "", termux = ""] = blocks("cron").map((line) => line.replace(/^(\S+ ){5}/, ""));
  const sh = (line: string) =>
    execFileSync("/bin/sh", ["-c", line], { env: home.env({ PATH: `${bin}:/usr/bin:/bin` }), encoding: "utf8" });

  await importToken(config(), { access: "a" });
  assert.equal(sh(cron), "");
  await importToken(config("work"), { access: "b", expires: Date.now() + 60_000 });
  assert.match(sh(cron), /ends soon.*Log in with: openclaw my-memory login --account work/s);
  assert.match(sh(termux), /^notified: .*ends soon/s);
});

const verifier = spawnSync("systemd-analyze", ["--version"]).status === 0;
test("docs/operations/monitoring.md: the units are what systemd takes", {
  skip: verifier ? false : "there is no systemd-analyze here",
}, (t) => {
  const home = TempHome.create(t);
  const names = [...monitoring.matchAll(/^`(my-memory-login\S*)`/gm)].map(([, name = ""]) => join(home.path, name));
  const units = blocks("ini");
  assert.equal(units.length, 3);
  units.forEach((unit, place) => {
    writeFileSync(names[place] ?? "", `${unit}\n`);
  });
  const { status, stderr } = spawnSync("systemd-analyze", ["--user", "--man=no", "verify", ...names], {
    env: home.env({ XDG_RUNTIME_DIR: home.path }),
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /my-memory-login/);
});

test("accounts of the host's own file: listed in its order, checked, logged out by name", async (t) => {
  const home = TempHome.create(t);
  const path = join(home.stateDir, "agents/main/agent/auth-profiles.json");
  mkdirSync(join(path, ".."), { recursive: true });
  const [soon, later] = [Date.now() + 3_600_000, Date.now() + 10 * day];
  const profiles = {
    "my-memory:work": { type: "oauth", provider: "my-memory", access: "w", refresh: "r", expires: later },
    "my-memory:pasted": { type: "token", provider: "my-memory", token: "p", expires: soon },
    "other:x": { type: "api_key", provider: "other", key: "k" },
  };
  writeFileSync(path, JSON.stringify({ version: 1, profiles, order: { "my-memory": ["my-memory:work"] } }));
  const options = {
    stateDir: home.stateDir,
    issuer: "https://auth.example.com",
    clientId: "public",
    credentialsFormat: "auth-profiles",
  };
  const run = (...args: string[]) =>
    outcome(Child.start(t, "plugin-command.mjs", { args: [JSON.stringify(options), ...args], env: home.env() }));
  assert.match((await run("accounts")).stdout, /^1 {2}my-memory:work +logged in.*\n {3}my-memory:pasted +/);
  assert.equal((await run("accounts", "order", "get")).stdout, "my-memory:work\n");
  assert.equal((await run("status", "--check")).code, 0);
  assert.equal((await run("status", "--check", "--all")).code, 2);
  assert.equal((await run("status", "--check", "--account=pasted")).code, 2);
  assert.match((await run("accounts", "order", "set", "pasted")).stderr, /models auth order set/);
  assert.match((await run("logout", "--account=my-memory:pasted")).stdout, /^Logged out/);
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, "utf8")).profiles), ["my-memory:work", "other:x"]);
  assert.equal((await run("status", "--check", "--all")).code, 0);
});

test("a login in the file of Codex: status, logout", async (t) => {
  const home = TempHome.create(t);
  const path = join(home.path, "auth.json");
  writeFileSync(path, JSON.stringify({ tokens: { access_token: "a" }, kept: 1 }));
  const options = { stateDir: home.stateDir, credentialsFormat: "codex", credentialsPath: path };
  const run = (...args: string[]) =>
    outcome(Child.start(t, "plugin-command.mjs", { args: [JSON.stringify(options), ...args], env: home.env() }));
  assert.equal((await run("status", "--check", "--all")).code, 0);
  assert.match((await run("accounts")).stdout, /^default +logged in/);
  assert.match((await run("logout")).stdout, /^Logged out/);
  assert.equal(existsSync(path), false, "as `codex logout` leaves it");
  assert.equal((await run("status", "--check")).code, 1);
});
