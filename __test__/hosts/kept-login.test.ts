/** A login survives all that hosts do to their plugins and their state folder. */
import assert from "node:assert/strict";
import { cpSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { status } from "../../index.js";
import { configFor, grantedLogin } from "../support/login.ts";
import { Host, hosts } from "./support/host.ts";
import { installPlugin, plugin, stage } from "./support/life-of-a-login.ts";

for (const { id } of hosts.filter(({ host }) => host === "clawdbot")) {
  test(`${id}: a login outlives what the host does`, { timeout: 1_100_000 }, async (t) => {
    const on = await stage(t, id);
    const { host, server } = on;
    await installPlugin(t, on);
    await grantedLogin(configFor(server, host.stateDir, { pluginId: plugin, clientId: "public" }));
    const { path } = await status(on.login);
    const stored = readFileSync(path, "utf8");
    for (const [expected, ...command] of [
      [0, "plugins", "disable", plugin],
      [0, "plugins", "enable", plugin],
      // "plugin already exists"
      [1, "plugins", "install", plugin],
      [0, "doctor", "--fix", "--non-interactive"],
    ] as const) {
      const what = command.join(" ");
      assert.equal((await host.run([...command])).code, expected, what);
      assert.equal(readFileSync(path, "utf8"), stored, what);
      assert.equal((await status(on.login)).state, "valid", what);
    }
    // It has no backup of its own: copy its folder.
    const restored = await Host.create(t, id, on.registry.url);
    cpSync(host.stateDir, restored.stateDir, { recursive: true });
    assert.equal((await status({ ...on.login, stateDir: restored.stateDir })).state, "valid");
  });
}
