/**
 * A login that is begun in one call and ended in another: one per account, across copies and processes; a logout ends
 * it.
 */
import assert from "node:assert/strict";
import { readdirSync, watch } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { beginLogin, getValidAccessToken, login, logout, status, type Verification } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { browserConfig } from "./support/browser-login.ts";
import { approvedLogin, complete, configFor, grantedLogin } from "./support/login.ts";
import { MapStore } from "./support/map-store.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

/** The rejection of a call in another process. */
async function refusal(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  return promise.then(
    (value) => assert.fail(`Resolved to ${JSON.stringify(value)}`),
    (error) => error as { code: string; message: string },
  );
}

/** Resolves when there is a temp file in that folder. */
function temporaryFile(folder: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(folder, (_event, name) => {
      if (name?.endsWith(".tmp")) {
        watcher.close();
        resolve();
      }
    });
  });
}

test("an option of login that beginLogin would not use is refused by name", async (t) => {
  const { stateDir } = TempHome.create(t);
  const config = { pluginId: "memory", issuer: "https://auth.example.com", clientId: "public", stateDir };
  for (const name of ["onVerification", "onPaste", "remote"]) {
    const { message } = await rejection(beginLogin(config, { [name]: () => "" } as object), "INVALID_CONFIG");
    assert.match(message, new RegExp(`^.${name}. is an option of login\\. `));
  }
});

test("asked for twice, here or in another process, it is the same code; approved once, all are logged in", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const other = await PluginProcess.start(t, { env: home.env() });

  const first = await beginLogin(config);
  const second = await beginLogin({ ...config });
  const elsewhere = other.login(config);
  const there = await other.verification();
  let viaLogin: Verification | undefined;
  const third = login(config, {
    onVerification: (verification) => {
      viaLogin = verification;
    },
  });
  await new Person().approve(complete(there));
  const outcomes = await Promise.all([first.done, second.done, third, elsewhere]);
  assert.deepEqual(
    outcomes.map(({ state }) => state),
    ["valid", "valid", "valid", "valid"],
  );
  for (const verification of [second.verification, there, viaLogin]) {
    assert.equal(verification?.userCode, first.verification.userCode);
    assert.equal(verification?.expiresAt, first.verification.expiresAt);
  }
  assert.match(there.message, new RegExp(first.verification.userCode));
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 1);
  const folder = readdirSync(dirname((await status(config)).path)).sort();
  assert.deepEqual(folder, ["default.json", "default.json.lock"], "nothing of it stays");
  await other.end();
});

test("a logout ends it in any process, and the approval of its code logs nobody in", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  for (const isLoggedIn of [true, false]) {
    if (isLoggedIn) {
      await approvedLogin(config);
    }
    const [other, joined] = await Promise.all([
      PluginProcess.start(t, { env: home.env() }),
      PluginProcess.start(t, { env: home.env() }),
    ]);
    const refused = refusal(other.login(config));
    const { verificationUriComplete } = await other.verification();
    const joinedRefused = refusal(joined.login(config));
    assert.equal((await joined.verification()).verificationUriComplete, verificationUriComplete);
    // A process that is polling gets the tokens before it checks whether its login was ended.
    const canStop = process.platform !== "win32";
    if (canStop) process.kill(other.child.pid, "SIGSTOP");
    assert.equal((await logout(config)).removed, isLoggedIn);
    assert.equal((await joinedRefused).code, "ABORTED");
    await new Person().approve(String(verificationUriComplete));
    if (canStop) process.kill(other.child.pid, "SIGCONT");
    const { code, message } = await refused;
    assert.equal(code, "ABORTED");
    assert.match(message, /ended by a logout.*Nothing was stored/);
    assert.equal((await status(config)).state, "logged_out");
    await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    await Promise.all([other.end(), joined.end()]);
  }
});

test("a logout before a code was shown does not undo the approval of that code", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const { path } = (await grantedLogin(config)).status;
  const [first, second] = await Promise.all([
    PluginProcess.start(t, { env: home.env() }),
    PluginProcess.start(t, { env: home.env() }),
  ]);
  const held = await server.intercept({ endpoint: "discovery", nth: 1 }, { hold: "before" });
  const refused = refusal(first.login(config));
  await held.arrived;
  // It checks whether a login can be stored, and then waits for the first to show its code.
  const looked = temporaryFile(dirname(path));
  const done = second.login(config);
  await looked;
  assert.equal((await logout(config)).removed, true);
  await new Person().approve(complete(await second.verification()));
  assert.equal((await done).state, "valid");
  assert.equal((await status(config)).state, "valid");
  await held.release();
  assert.equal((await refused).code, "ABORTED");
});

test("where a store has no place for it, the logout's mark wins over the tokens, which are revoked", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const map = new MapStore();
  const view = () => ({
    read: map.read.bind(map),
    write: map.write.bind(map),
    withLock: map.withLock.bind(map),
  });
  const config = configFor(server, home.stateDir, { store: view() });
  const elsewhere = { ...config, store: view() };
  for (const isLoggedIn of [true, false]) {
    if (isLoggedIn) {
      await approvedLogin(config);
    }
    const pending = await beginLogin(config);
    const before = (await server.requests({ endpoint: "revocation" })).length;
    assert.equal((await logout(elsewhere)).removed, isLoggedIn);
    await new Person().approve(complete(pending.verification));
    await rejection(pending.done, "ABORTED");
    assert.equal((await status(config)).state, "logged_out");
    const revoked = (await server.requests({ endpoint: "revocation" })).length - before;
    assert.ok(revoked > (isLoggedIn ? 2 : 0), "what nobody will use is revoked");
  }
});

test("one that was killed blocks nobody: the next starts again, nothing is half-stored", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const other = await PluginProcess.start(t, { env: home.env() });
  other.login(config).catch(() => {});
  const { userCode } = await other.verification();
  const joined = await beginLogin(config);
  assert.equal(joined.verification.userCode, userCode);
  other.child.signal("SIGKILL");
  const { message } = await rejection(joined.done, "ABORTED");
  assert.match(message, /its process ended\. Log in again\./);
  assert.equal((await status(config)).state, "logged_out");
  const next = await beginLogin(config);
  assert.notEqual(next.verification.userCode, userCode);
  await new Person().approve(complete(next.verification));
  assert.equal((await next.done).state, "valid");
});

test("another scope takes another code: the earlier login is ended, and stores nothing", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const other = await PluginProcess.start(t, { env: home.env() });
  const refused = refusal(other.login(config));
  await other.verification();
  const wider = await beginLogin({ ...config, scopes: ["memory", "profile", "offline_access"] });
  const wanted = await beginLogin(config);
  await rejection(wider.done, "ABORTED");
  assert.match((await refused).message, /another login of the same account/);
  wanted.cancel();
  await rejection(wanted.done, "ABORTED");
  await other.end();
});

test("a signal ends it for its caller alone, cancel() for all; both leave what was stored", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await approvedLogin(config);
  const stop = new AbortController();
  const first = await beginLogin(config, { signal: stop.signal });
  const second = await beginLogin(config);
  stop.abort("enough");
  assert.equal((await rejection(first.done, "ABORTED")).cause, "enough");
  await rejection(beginLogin(config, { signal: stop.signal }), "ABORTED");
  const polls = await server.requests({ grant: "device_code" });
  await server.request({ endpoint: "token", grant: "device_code" }, polls.length + 1);
  const refused = rejection(second.done, "ABORTED");
  const third = await beginLogin(config);
  assert.equal(third.verification.userCode, first.verification.userCode, "it goes on for the others");
  third.cancel();
  await refused;
  assert.equal((await status(config)).state, "valid");

  const alone = new AbortController();
  const last = await beginLogin(config, { signal: alone.signal });
  assert.notEqual(last.verification.userCode, first.verification.userCode);
  alone.abort();
  await rejection(last.done, "ABORTED");
  const other = await beginLogin(config);
  assert.notEqual(other.verification.userCode, last.verification.userCode, "nobody waits for that one any more");
  other.cancel();
});

test("through the browser: what the last page shows is pasted, and what is none is said", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = browserConfig(server, home.stateDir);
  const pending = await beginLogin(config);
  assert.equal(pending.verification.userCode, "");
  // At once, and each is answered.
  for (const wrong of await Promise.all(
    ["nonsense#of another login", "more#of it"].map((text) => rejection(pending.paste(text), "INVALID_RESPONSE")),
  )) {
    assert.equal(wrong.retryable, true);
  }
  const last = await new Person().authorize(pending.verification.verificationUri);
  await pending.paste(last.href);
  assert.equal((await pending.done).state, "valid");

  const device = await beginLogin(configFor(server, home.stateDir, { profile: "device" }));
  await rejection(device.paste("ABCD"), "INVALID_RESPONSE");
  device.cancel();
});

test("what is no config or no option is refused as by login", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", issuer: "https://auth.example.com", stateDir: home.stateDir };
  await rejection(beginLogin({} as never), "INVALID_CONFIG");
  await rejection(beginLogin(undefined as never), "INVALID_CONFIG");
  const { message } = await rejection(beginLogin(config, { onProgres: () => {} } as never), "INVALID_CONFIG");
  assert.match(message, /onProgress/);
});

test("the service's stop() ends what waits: a copy of the plugin that is gone logs nobody in", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  const { pluginId: _, ...options } = configFor(server, home.stateDir);
  for (const keepFresh of [true, false]) {
    host.services.length = 0;
    pluginAuth(host.api, { ...options, keepFresh });
    const { verificationUriComplete } = await host.call("my-memory.login");
    const polls = await server.requests({ grant: "device_code" });
    await server.request({ endpoint: "token", grant: "device_code" }, polls.length + 1);
    await host.services.at(-1)?.stop?.();
    await new Person().approve(String(verificationUriComplete));
    const { state, loginPending } = await host.call("my-memory.status");
    assert.deepEqual({ state, loginPending }, { state: "logged_out", loginPending: false });
  }
});
