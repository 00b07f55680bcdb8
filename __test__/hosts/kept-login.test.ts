/**
 * A login survives all that hosts do to their plugins and their state folder, and the plugin goes on with it. Run in
 * the oldest and the newest of the chosen hosts.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { status } from "../../index.js";
import { configFor, grantedLogin } from "../support/login.ts";
import { type Gateway, Host, hosts } from "./support/host.ts";
import { assertToolsWork, installPlugin, plugin, type Stage, stage, updatePlugin } from "./support/life-of-a-login.ts";

for (const { id } of new Set([hosts[0], hosts.at(-1)].filter((row) => row !== undefined))) {
  test(`${id}: a login outlives what the host does`, { timeout: 1_800_000 }, async (t) => {
    const on = await stage(t, id);
    const { host, server } = on;
    await installPlugin(t, on);
    host.configure({ plugins: { entries: { [plugin]: { config: { clientId: "public" } } } } });
    const login = configFor(server, host.stateDir, { pluginId: plugin, clientId: "public" });
    await grantedLogin(login);
    const { path } = await status(login);
    const stored = readFileSync(path, "utf8");
    const isKept = async (what: string) => {
      assert.equal(readFileSync(path, "utf8"), stored, what);
      assert.equal((await status(login)).state, "valid", what);
    };
    const done = async (...args: string[]) => {
      await host.succeed(args);
      await isKept(args.join(" "));
    };
    const can = await commandsOf(host);
    t.diagnostic(`${id} knows ${[...can].join(", ")}`);

    await done("plugins", "disable", plugin);
    await done("plugins", "enable", plugin);
    if ((await host.consent()).length > 0) {
      await done("plugins", "install", plugin, ...(await host.consent()));
    } else {
      // "plugin already exists"
      assert.equal((await host.run(["plugins", "install", plugin])).code, 1);
      await isKept("a second installation");
    }
    await on.registry.publish(on.packages.newerPlugin);
    await updatePlugin(on);
    await isKept("plugins update");
    await done("doctor", "--fix", "--non-interactive");
    if (can.has("plugins uninstall")) {
      const { plugins } = JSON.parse(readFileSync(host.configPath, "utf8"));
      await done("plugins", "uninstall", plugin, "--force");
      await done("plugins", "install", plugin, ...(await host.consent()));
      host.configure({ plugins: { allow: plugins.allow, entries: { [plugin]: plugins.entries[plugin] } } });
    }

    await t.test("a copy of its state, or what its own backup restores, is logged in", async () => {
      const restored = await restoredFrom(t, on, can);
      const gateway = await restored.startGateway();
      await goesOn({ ...on, host: restored }, gateway, "ada likes scones");
      await gateway.stop();
    });
    // The restored host has used the refresh token.
    await grantedLogin(login);
    await t.test("a reload", async () => {
      const gateway = await host.startGateway();
      await goesOn(on, gateway, "ada likes tea");
      await reload(on, gateway, can);
      await goesOn(on, gateway, "ada likes jam");
      await gateway.stop();
    });
  });
}

/** Asserts that the plugin works, and that nobody was asked to log in. */
async function goesOn({ server }: Stage, gateway: Gateway, memory: string): Promise<void> {
  await assertToolsWork(gateway, memory);
  assert.deepEqual(await server.requests({ endpoint: "device_authorization" }), []);
}

/** Commands that not all hosts have, as its own help names them. */
async function commandsOf(host: Host): Promise<Set<string>> {
  const found = new Set<string>();
  for (const [group, ...names] of [
    ["plugins", "uninstall", "reload"],
    ["backup", "create", "restore"],
  ] as const) {
    const { stdout } = await host.run([group, "--help"]);
    for (const name of names.filter((name) => new RegExp(`^ +${name}\\b`, "m").test(stdout))) {
      found.add(`${group} ${name}`);
    }
  }
  return found;
}

/** Makes another machine with the state of this one. */
async function restoredFrom(t: TestContext, { host, registry, login }: Stage, can: Set<string>): Promise<Host> {
  const restored = await Host.create(t, host.id, registry.url);
  if (!can.has("backup create")) {
    cpSync(host.stateDir, restored.stateDir, { recursive: true });
  } else {
    const archives = join(host.home.path, "archives");
    mkdirSync(archives);
    await host.succeed(["backup", "create", "--output", archives, "--no-include-workspace"]);
    const [archive = ""] = readdirSync(archives);
    let target = join(host.home.path, "unpacked");
    mkdirSync(target);
    if (can.has("backup restore")) {
      await host.succeed(["backup", "restore", join(archives, archive), "--target", target]);
    } else {
      await promisify(execFile)("tar", ["-xzf", join(archives, archive), "-C", target]);
    }
    target = join(target, ...readdirSync(target), "payload", "posix");
    cpSync(join(target, realpathSync(host.stateDir)), restored.stateDir, { recursive: true });
    // The archive holds the whole plugin but `node_modules`; where the host takes that for installed, it asks for --force.
    const install = ["plugins", "install", plugin, ...(await host.consent())];
    if ((await restored.run(install)).code !== 0) {
      await restored.succeed([...install, "--force"]);
    }
  }
  restored.configure({ gateway: { port: restored.port } });
  const { state } = await status({ ...login, stateDir: restored.stateDir });
  assert.equal(state, "valid");
  return restored;
}

/**
 * Reloads by the host's command; where it has none, by a change of its configuration, after which it starts itself
 * again.
 */
async function reload({ host }: Stage, gateway: Gateway, can: Set<string>): Promise<void> {
  if (can.has("plugins reload")) {
    await host.succeed(["plugins", "reload", plugin]);
    return;
  }
  const before = gateway.child.mark;
  host.configure({ plugins: { deny: ["discord"] } });
  await gateway.child.written(/listening/, before);
  await gateway.ready();
}
