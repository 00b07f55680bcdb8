/** The life of a plugin with its user, on a real host: install, log in, use, log out, log in again, update. */
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type AuthConfig, logout, status } from "../../../index.js";
import manifest from "../../../package.json" with { type: "json" };
import { AuthorizationServer, clients } from "../../support/authorization-server.ts";
import { Child } from "../../support/child.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { serverNodeMajor } from "../../support/nodes.ts";
import { Person } from "../../support/person.ts";
import { PluginProcess } from "../../support/plugin-process.ts";
import { TempHome } from "../../support/temp-home.ts";
import { addTelegram } from "./chat-host.ts";
import { type Gateway, Host, type HostId, hosts } from "./host.ts";
import { logInFromChat } from "./login-from-chat.ts";
import { PackageRegistry } from "./package-registry.ts";
import { type Packages, packages } from "./packages.ts";

export const plugin = "team-memory";

/** Short, so that nobody waits long for a token to expire. */
export const accessTokenSeconds = 10;

/** What a host never answers takes no more than this of a run through all of them; ms. */
const stepLimit = 900_000;

/**
 * Findings that name every plugin: it was installed without a version, as users do; its tools are not limited by a
 * policy.
 */
const ofEveryPlugin = ["plugins.installs_unpinned_npm_specs", "plugins.tools_reachable_permissive_policy"];

export interface Stage {
  host: Host;
  server: AuthorizationServer;
  registry: PackageRegistry;
  packages: Packages;
  /** The login, as the store knows it. */
  login: AuthConfig;
}

/** An authorization server, the memory service, a registry with everything in it, and a host without plugins. */
export async function stage(lifetime: Lifetime, id: HostId): Promise<Stage> {
  const home = TempHome.create(lifetime);
  const packed = await packages(home.path);
  const registry = await PackageRegistry.start(lifetime);
  for (const archive of [...packed.library, packed.plugin]) {
    await registry.publish(archive);
  }
  const server = await AuthorizationServer.start(lifetime, { accessTokenTtl: accessTokenSeconds });
  const host = await Host.create(lifetime, id, registry.url);
  return { host, server, registry, packages: packed, login: { pluginId: plugin, stateDir: host.stateDir } };
}

export async function installPlugin(lifetime: Lifetime, { host, server }: Stage): Promise<void> {
  const service = Child.start(
    lifetime,
    fileURLToPath(new URL("../../../examples/memory-plugin/server/memory-api.mjs", import.meta.url)),
    {
      node: serverNodeMajor,
      nodeOptions: ["--disable-warning=ExperimentalWarning"],
      args: [JSON.stringify({ issuer: server.issuer, ...clients.api })],
      env: host.home.env(),
    },
  );
  const { url } = await service.event("ready");
  await host.succeed(["plugins", "install", plugin, ...(await host.consent())]);
  const config = { serviceUrl: url, issuer: server.issuer };
  host.configure({ plugins: { allow: [plugin], entries: { [plugin]: { enabled: true, config } } } });
}

/** Through the host: its command line, or the gateway where plugins have no commands. */
export async function logIn(lifetime: Lifetime, { host, login }: Stage): Promise<void> {
  if (!host.hasCommands) {
    const verification = await host.gatewayCall(`${plugin}.login`);
    assert.match(String(verification.message), new RegExp(String(verification.userCode)));
    await new Person().approve(String(verification.verificationUriComplete));
    while ((await status(login)).state !== "valid") {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { state, loginPending } = await host.gatewayCall(`${plugin}.status`);
    assert.deepEqual({ state, loginPending }, { state: "valid", loginPending: false });
    assert.deepEqual(await checkedWithoutHost(lifetime, host), { code: 0, stderr: "" });
    return;
  }
  const command = host.start([plugin, "login"]);
  await new Person().approve(await command.written(/\S+\?user_code=\S+/));
  assert.deepEqual(await command.exit, { code: 0, signal: null }, command.stderr);
  assert.match(command.stdout, /✓ Logged in to Team Memory, for .*memory/);
  const { code, stdout } = await host.run([plugin, "status", "--json", "--check"]);
  assert.equal(code, 0);
  assert.equal(JSON.parse(stdout).state, "valid");
}

/** On a terminal, and given up. */
export async function giveUpLogIn({ host, login }: Stage): Promise<void> {
  const command = host.startOnTerminal([plugin, "login"]);
  await command.written(/ \d:\d\d left, Ctrl-C gives up/);
  assert.match(command.stdout, /Code .*[A-Z]{4}-[A-Z]{4}/);
  assert.match(command.stdout, /█▀/, "the QR code");
  command.signal("SIGINT");
  assert.equal((await command.exit).code, 130, command.stderr);
  assert.match(command.stdout, /Given up\. Nothing was changed\./);
  assert.equal((await status(login)).state, "logged_out");
}

/** In a process that is not the gateway. */
export async function logOut(lifetime: Lifetime, { host, login }: Stage): Promise<void> {
  if (!host.hasCommands) {
    const other = await PluginProcess.start(lifetime, { env: host.home.env() });
    assert.deepEqual(await other.call("logout", [login]), { revoked: true, removed: true });
    await other.end();
    assert.deepEqual(await checkedWithoutHost(lifetime, host), { code: 1, stderr: `${plugin}: not logged in\n` });
    return;
  }
  const { stdout } = await host.succeed([plugin, "logout"]);
  assert.match(stdout, /Logged out of Team Memory; the server has revoked the tokens\./);
  // docs/hosts.md 8: alone it moves no state folder, so no command for a person contains it.
  host.environment.OPENCLAW_PROFILE = "work";
  const { code, stdout: shown, stderr } = await host.run([plugin, "status", "--check"]);
  delete host.environment.OPENCLAW_PROFILE;
  assert.equal(code, 1);
  assert.match(stderr, /^Team Memory: not logged in$/m);
  assert.match(shown, new RegExp(`Log in with: ${host.name} ${plugin} login$`, "m"));
}

/** The check of a timer where the host's command line knows no plugins: docs/operations/monitoring.md. */
async function checkedWithoutHost(
  lifetime: Lifetime,
  { home }: Host,
): Promise<{ code: number | null; stderr: string }> {
  const script = fileURLToPath(new URL(`../../../${manifest.bin["clawdbot-plugin-auth"]}`, import.meta.url));
  const child = Child.start(lifetime, script, { env: home.env(), args: ["status", plugin, "--check", "--all"] });
  const { code } = await child.exit;
  return { code, stderr: child.stderr };
}

function loginNeeded({ host }: Stage): string {
  const command = host.hasCommands ? `${host.name} ${plugin} login` : `${host.name} gateway call ${plugin}.login`;
  return `Team Memory needs a login: run \`${command}\` in a terminal`;
}

/** By the service, which looks a few seconds after the gateway's start, in its log. */
export async function assertWarnedOnce(on: Stage, gateway: Gateway): Promise<void> {
  const warning = `${loginNeeded(on)}.`;
  await gateway.child.written(new RegExp(warning.replace(/[.`]/g, "\\$&")));
  assert.equal(gateway.output.split(warning).length - 1, 1, gateway.output);
}

export async function assertLoginIsAskedFor(on: Stage, gateway: Gateway): Promise<void> {
  const terminal = loginNeeded(on).replace("Team Memory needs a login: ", "");
  const sentence = `Team Memory needs a login: send \`/${plugin} login\` in a private chat, or ${terminal}, then try again.`;
  await gateway.failingTool("team_memory_search", { query: "tea" }, sentence);
}

export async function assertToolsWork(gateway: Gateway, memory: string): Promise<void> {
  const stored = await gateway.tool("team_memory_store", { text: memory });
  assert.equal(stored.status, 200, stored.text);
  const found = await gateway.tool("team_memory_search", { query: memory.toUpperCase() });
  assert.equal(found.status, 200, found.text);
  const [{ text }] = JSON.parse(found.text).result.content;
  assert.deepEqual(
    JSON.parse(text).memories.map((it: { text: string }) => it.text),
    [memory],
  );
}

async function installedVersion({ host }: Stage): Promise<string | undefined> {
  const { stdout } = await host.succeed(["plugins", "list", "--json"]);
  const { plugins } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { plugins: { id: string; version: string }[] };
  return plugins.find(({ id: found }) => found === plugin)?.version;
}

/** Where the host calls every new version a drift, a person has to say yes on a terminal. */
export async function updatePlugin(on: Stage): Promise<void> {
  const { host } = on;
  const args = ["plugins", "update", plugin, ...(await host.consent()).slice(1)];
  const { stdout, stderr } = await host.succeed(args);
  if (/drift/i.test(stdout + stderr) && (await installedVersion(on)) !== "1.0.1") {
    const asked = host.startOnTerminal(args);
    await asked.written(/drift[\s\S]*\?/i);
    asked.type("y\r");
    assert.equal((await asked.exit).code, 0, asked.stdout);
  }
}

/** How far it came. */
interface Progress {
  host?: Host;
  passed: number;
  /** The present step. */
  now: string;
}

/** All of it, one subtest after the other; how it went is a line of the results. */
export async function lifeOfALogin(t: TestContext, id: HostId): Promise<void> {
  const started = Date.now();
  const progress: Progress = { passed: 0, now: "the plugin's installation" };
  let failure: { failed: string; because: string } | undefined;
  try {
    await live(t, id, progress);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    failure = { failed: progress.now, because: because.replace(/\s+/g, " ").slice(0, 300) };
    throw error;
  } finally {
    const row = hosts.find((one) => one.id === id);
    if (process.env.PLUGIN_AUTH_RESULTS !== undefined && !row?.brief) {
      const { passed: steps, host } = progress;
      const seconds = Math.round((Date.now() - started) / 1000);
      const date = new Date().toISOString().slice(0, 10);
      const result = { id, node: row?.node, steps, ...failure, commands: host?.hasCommands, seconds, date };
      appendFileSync(process.env.PLUGIN_AUTH_RESULTS, `${JSON.stringify(result)}\n`);
    }
  }
}

async function live(t: TestContext, id: HostId, progress: Progress): Promise<void> {
  const on = await stage(t, id);
  const { host, server, login } = on;
  progress.host = host;
  const refreshes = async () => (await server.requests({ grant: "refresh_token" })).length;
  const devices = async () => (await server.requests({ endpoint: "device_authorization" })).length;
  let gateway: Gateway | undefined;
  /** Subtests do not end their parent: after one that failed the others would only fail as well. */
  const step = async (name: string, run: (gateway: Gateway) => Promise<void>) => {
    const before = progress.passed;
    let failure: unknown = new Error(`Not done within ${stepLimit / 60_000} minutes`);
    progress.now = name;
    await t.test(name, { timeout: stepLimit }, async () => {
      try {
        gateway ??= await host.startGateway();
        await run(gateway);
        progress.passed += 1;
      } catch (error) {
        failure = error;
        throw error;
      }
    });
    if (progress.passed === before) {
      t.diagnostic(`gateway of ${id}:\n${gateway?.output ?? "not started"}`);
      throw failure;
    }
  };

  const wholly: typeof step = async (name, run) => {
    if (!host.row.brief) await step(name, run);
  };

  await installPlugin(t, on);
  const telegram = host.row.chat && !host.row.brief ? await addTelegram(t, host, plugin) : undefined;
  await step("without a login the tools ask for one, by its exact command", (at) => assertLoginIsAskedFor(on, at));
  await wholly("without a login the gateway warns of it in its log", (at) => assertWarnedOnce(on, at));
  if (host.hasCommands && process.platform === "linux") {
    await wholly("a login on a terminal is given up with Ctrl-C", () => giveUpLogIn(on));
  }
  await step("log in through the host while the gateway runs, and use both tools", async (at) => {
    await logIn(t, on);
    await assertToolsWork(at, "ada likes tea");
  });
  await wholly("an expired token costs one refresh", async (at) => {
    const before = await refreshes();
    const { expiresAt = 0 } = await status(login);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiresAt - Date.now()) + 50));
    await Promise.all([1, 2, 3, 4].map((number) => at.tool("team_memory_search", { query: `${number}` })));
    assert.equal(await refreshes(), before + 1);
  });
  await step("a token that the service rejects costs one refresh", async (at) => {
    await server.revokeAccessTokens();
    const before = await refreshes();
    await assertToolsWork(at, "ada likes scones");
    assert.equal(await refreshes(), before + 1);
  });
  await step("log out in another process: the tools ask for a login", async (at) => {
    await logOut(t, on);
    await assertLoginIsAskedFor(on, at);
  });
  await wholly("log in again: the tools work", async (at) => {
    await logIn(t, on);
    await assertToolsWork(at, "ada likes jam");
  });
  if (telegram !== undefined) {
    await step("log out, and log in from a private chat in Telegram: the tools work", async (at) => {
      await logout(login);
      await logInFromChat({ ...on, telegram }, "Team Memory");
      await assertToolsWork(at, "ada likes marmalade");
    });
  }
  if (host.hasCommands) {
    await wholly("--profile behind a command touches no other account", async () => {
      const { path } = await status(login);
      const before = readFileSync(path, "utf8");
      const { code, stdout, stderr } = await host.run([plugin, "logout", "--profile", "work"]);
      assert.equal(readFileSync(path, "utf8"), before);
      assert.notEqual(code, 0);
      const isOurs = /--account work/.test(stderr);
      t.diagnostic(`${id} ${isOurs ? "leaves `--profile` behind a command alone" : "takes `--profile` for its own"}`);
      // Where the host takes it, it means another state folder, which has no such plugin.
      assert.ok(isOurs || !/Team Memory/.test(stdout + stderr), stdout + stderr);
    });
  }
  await wholly("the gateway has not warned again, however often it has loaded the plugin", (at) =>
    assertWarnedOnce(on, at),
  );
  await wholly("doctor and security audit show nothing against the plugin; no log holds a token", async (at) => {
    const doctor = await host.succeed(["plugins", "doctor"]);
    assert.doesNotMatch(doctor.stdout + doctor.stderr, new RegExp(plugin));
    const { stdout } = await host.succeed(["security", "audit", "--deep", "--json"]);
    const { findings } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { findings: { checkId: string }[] };
    const against = findings.filter((finding) => JSON.stringify(finding).includes(plugin));
    assert.deepEqual(
      against.filter(({ checkId }) => !ofEveryPlugin.includes(checkId)),
      [],
    );
    const { path } = await status(login);
    const { access, refresh } = JSON.parse(readFileSync(path, "utf8"));
    const log = /log file: (\S+)/.exec(at.output)?.[1];
    assert.ok(log, "the gateway names its log file");
    for (const text of [at.output, readFileSync(log, "utf8")]) {
      assert.equal(text.includes(access) || text.includes(refresh), false);
    }
  });
  await wholly("the login survives an update of the plugin", async (at) => {
    const before = await devices();
    await on.registry.publish(on.packages.newerPlugin);
    await updatePlugin(on);
    await at.stop();
    gateway = await host.startGateway();
    assert.equal(await installedVersion(on), "1.0.1");
    await assertToolsWork(gateway, "ada likes honey");
    assert.equal(await devices(), before);
  });
  await gateway?.stop();
  // docs/hosts.md 8: versions that are no row may ask for what their own channels and tools need.
  if (host.row.folder === undefined) {
    progress.now = "everything that was installed came from here";
    // npm looks up the clients of the shared stores, which are optional peers, and installs none.
    const optional = ["/etcd3", "/pg", "/redis"];
    const missing = on.registry.missing().filter((path) => !optional.includes(path));
    assert.deepEqual(missing, [], progress.now);
  }
}
