/** Ctrl-C, AbortSignal, exit and termination while a login polls: prompt, clean, nothing half-written, no hang. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { login, type Verification } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { approvedLogin, complete, configFor, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

test("an AbortSignal ends a login while it polls", async (t) => {
  const { server, home, config } = await started(t);
  const controller = new AbortController();
  const reason = new Error("closed");
  let shown: Verification | undefined;
  const ended = login(config, {
    onVerification: (verification) => {
      shown = verification;
      controller.abort(reason);
    },
    signal: controller.signal,
  });
  const error = await rejection(ended, "ABORTED");
  assert.equal(error.cause, reason);
  assert.ok(!existsSync(home.credentialPath("memory")));
  // Approved after all: nobody asks for the token any more.
  await new Person().approve(complete(shown as Verification));
  assert.equal((await server.requests({ grant: "device_code" })).length, 0);
});

test("AbortSignal.timeout ends a login, with the timeout as cause", async (t) => {
  const { config } = await started(t);
  const error = await rejection(
    login(config, { onVerification: () => {}, signal: AbortSignal.timeout(100) }),
    "ABORTED",
  );
  assert.equal((error.cause as Error).name, "TimeoutError");
});

test("the listener on the signal is removed when the login has ended", async (t) => {
  const { config } = await started(t);
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  Object.assign(signal, {
    addEventListener: (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    },
    removeEventListener: (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    },
  });
  await login(config, { onVerification: (v) => new Person().approve(complete(v)), signal });
  assert.equal(listeners, 0);
});

for (const [name, end, expected] of [
  ["Ctrl-C", (plugin: PluginProcess) => plugin.child.signal("SIGINT"), { code: null, signal: "SIGINT" }],
  ["SIGTERM", (plugin: PluginProcess) => plugin.child.signal("SIGTERM"), { code: null, signal: "SIGTERM" }],
  ["process.exit", (plugin: PluginProcess) => plugin.child.send({ exit: 7 }), { code: 7, signal: null }],
] as const) {
  test(`${name} while a login polls ends the process and leaves no half-written state`, async (t) => {
    const { home, config } = await started(t);
    await grantedLogin({ ...config, profile: "other" });
    const plugin = await PluginProcess.start(t, { env: home.env() });
    plugin.begin("login", [config]);
    await plugin.verification();
    end(plugin);
    assert.deepEqual(await plugin.child.exit, expected);
    const left = readdirSync(dirname(home.credentialPath("memory"))).sort();
    // The first is of the code that was shown: no secret, and of nobody once its process has ended.
    assert.deepEqual(left, [".default.json.login.lock", "default.json.lock", "other.json", "other.json.lock"]);
    // The locks are free at once.
    await approvedLogin(config);
  });
}

test("a process whose login has ended is not held by it", async (t) => {
  const { home, config } = await started(t);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const loggedIn = plugin.login(config);
  await new Person().approve(complete(await plugin.verification()));
  await loggedIn;
  await plugin.accessToken(config);
  await plugin.end();
  assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
});

test("a process stays alive while its login polls, with nothing else to do", async (t) => {
  const { home, config } = await started(t);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const loggedIn = plugin.login(config);
  const verification = await plugin.verification();
  plugin.child.endInput();
  await new Person().approve(complete(verification));
  assert.equal((await loggedIn).state, "valid");
  assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
});

test("a worker that is terminated while its login polls takes nothing with it", async (t) => {
  const { server, home, config } = await started(t);
  const child = Child.start(t, "terminated-worker.mjs", { env: home.env(), args: [JSON.stringify(config)] });
  await child.event("terminated");
  assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
  assert.ok(!existsSync(home.credentialPath("memory")));
  assert.ok((await server.requests({ endpoint: "device_authorization" })).length >= 1);
});

async function started(t: Parameters<typeof TempHome.create>[0]) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  return { server, home, config: configFor(server, home.stateDir) };
}
