/** Loading: every Node, every module system, several copies, and nothing done before a function is called. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { approvedLogin, complete, configFor } from "./support/login.ts";
import { nodeMajors } from "./support/nodes.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";

for (const node of nodeMajors) {
  test(`Node ${node}: login, token, refresh, logout; from ESM and CommonJS`, async (t) => {
    const server = await AuthorizationServer.start(t, { accessTokenTtl: 1 });
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir);
    const modules = Child.start(t, "modules.mjs", { node, env: home.env() });
    assert.deepEqual((await modules.event("modules")).same, true);
    assert.deepEqual(await modules.exit, { code: 0, signal: null });

    const plugin = await PluginProcess.start(t, { node, env: home.env() });
    const loggedIn = plugin.login(config);
    await new Person().approve(complete(await plugin.verification()));
    const { expiresAt = 0 } = await loggedIn;
    const first = await plugin.accessToken(config);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiresAt - Date.now()) + 5));
    assert.notEqual(await plugin.accessToken(config), first);
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
    await assert.rejects(plugin.accessToken(config), { code: "LOGIN_REQUIRED", name: "AuthError" });
    await plugin.end();
    assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
  });
}

test("loading starts no thread, and neither does a fresh token", { skip: process.platform !== "linux" }, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await approvedLogin(config);
  const child = Child.start(t, "threads.mjs", { env: home.env(), args: [JSON.stringify(config)] });
  const { before, after, fresh, token } = await child.event("threads");
  assert.ok(token);
  assert.equal(after, before);
  assert.equal(fresh, before);
});

test("two copies in one process recognize each other's errors and share one refresh", async (t) => {
  const server = await AuthorizationServer.start(t, { accessTokenTtl: 1 });
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const { status } = await approvedLogin(config);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, (status.expiresAt ?? 0) - Date.now()) + 5));
  const child = Child.start(t, "two-copies.mjs", {
    env: home.env(),
    args: [copyOfThePackage(home, "one"), copyOfThePackage(home, "two"), JSON.stringify(config)],
  });
  const { images, recognized, tokens } = await child.event("copies");
  assert.equal(images, 2, "two images are mapped");
  assert.equal(recognized, true);
  assert.equal(new Set(tokens as string[]).size, 1);
  assert.equal((tokens as string[]).length, 20);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("a missing binary is one clear error", async (t) => {
  const home = TempHome.create(t);
  const folder = copyOfThePackage(home, "bare", (name) => !name.endsWith(".node"));
  const child = Child.start(t, join(folder, "index.js"), { env: home.env() });
  assert.equal((await child.exit).code, 1);
  assert.match(child.stderr, new RegExp(`no working binary for ${process.platform} ${process.arch}`));
  assert.match(child.stderr, /clawdbot-plugin-auth-.*is missing/);
});
