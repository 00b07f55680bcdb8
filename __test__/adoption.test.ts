/** `adopt`: a login that the plugin kept before it used this package, in any place and form. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type AuthConfig, getValidAccessToken, importToken, listProfiles, login, logout, status } from "../index.js";
import { pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, clients } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

function elsewhere(t: Lifetime) {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", stateDir: home.stateDir };
  const write = (path: string, login: object) => {
    const file = join(home.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(login));
    return file;
  };
  return { home, config, write };
}

test("a path with ~, the second of several, is adopted, renamed, and never comes back after a logout", async (t) => {
  const { home, config, write } = elsewhere(t);
  const found = write(".config/memory/token.json", { tokens: { access_token: "old", expiry_date: 4102444800000 } });
  const process = await PluginProcess.start(t, { env: home.env() });
  const adopting = { ...config, adopt: ["~/.memory.json", "~/.config/memory/token.json"] };
  assert.equal((await process.status(adopting)).state, "valid");
  assert.ok(existsSync(found), "status changes nothing");
  assert.equal(await process.accessToken(adopting), "old");
  assert.ok(!existsSync(found) && existsSync(`${found}.adopted`));
  const { expiresAt, path } = await process.status(adopting);
  assert.equal(expiresAt, 4102444800000);
  assert.equal(path, home.credentialPath("memory"));

  await process.call("logout", [adopting]);
  write(".config/memory/token.json", { access_token: "older" });
  await assert.rejects(process.accessToken(adopting), { code: "LOGIN_REQUIRED" });
});

test("the usual folders of the hosts are searched, under any state folder", async (t) => {
  const { home, write } = elsewhere(t);
  const elsewhereStateDir = join(home.path, "state");
  const process = await PluginProcess.start(t, { env: home.env({ OPENCLAW_STATE_DIR: elsewhereStateDir }) });
  for (const [pluginId, folder] of Object.entries({ one: ".openclaw", two: ".clawdbot", three: ".moltbot" })) {
    write(`${folder}/extensions/${pluginId}/credentials.json`, { access: `of-${pluginId}` });
    assert.equal(await process.accessToken({ pluginId }), `of-${pluginId}`);
    assert.ok((await process.status({ pluginId })).path.startsWith(elsewhereStateDir));
    await assert.rejects(process.accessToken({ pluginId, profile: "work" }), { code: "LOGIN_REQUIRED" });
  }
});

test("a function: asked while nobody is logged in, once for all who wait, not after a login or a logout", async (t) => {
  const { config } = elsewhere(t);
  const asked: string[] = [];
  const adopt = async () => {
    asked.push("now");
    await new Promise(setImmediate);
    return { token: "known-to-the-plugin", expires_at: new Date(4102444800000), scope: "a b" };
  };
  const adopting: AuthConfig = { ...config, adopt };
  const tokens = await Promise.all(Array.from({ length: 8 }, () => getValidAccessToken({ ...config, adopt })));
  assert.deepEqual(new Set(tokens), new Set(["known-to-the-plugin"]));
  assert.deepEqual(asked, ["now"]);
  const { state, expiresAt, scopes } = await status(adopting);
  assert.deepEqual({ state, expiresAt, scopes }, { state: "valid", expiresAt: 4102444800000, scopes: ["a", "b"] });
  await logout(adopting);
  await rejection(getValidAccessToken(adopting), "LOGIN_REQUIRED");
  assert.equal((await status(adopting)).state, "logged_out");
  await importToken(adopting, { access: "pasted" });
  assert.equal(await getValidAccessToken(adopting), "pasted");
  assert.deepEqual(asked, ["now"]);
});

test("a function that knows nothing, or fails, leaves a login to be made, and says why it failed", async (t) => {
  const { config } = elsewhere(t);
  const warnings: string[] = [];
  const note = ({ message }: Error) => warnings.push(message);
  process.on("warning", note);
  t.after(() => process.off("warning", note));
  const missing = () => JSON.parse(readFileSync("/nowhere/login.json", "utf8"));
  for (const adopt of [
    () => undefined,
    () => null,
    () => ({}),
    async () => undefined,
    missing,
  ] as (() => undefined)[]) {
    await rejection(getValidAccessToken({ ...config, adopt }), "LOGIN_REQUIRED");
    assert.equal((await status({ ...config, adopt })).state, "logged_out");
    assert.deepEqual(await listProfiles({ ...config, adopt }), []);
  }
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  const adopt = () => Promise.reject(new Error("host.json is damaged"));
  await rejection(getValidAccessToken({ ...config, adopt }), "LOGIN_REQUIRED");
  assert.match((await warned).message, /`adopt` failed.*host\.json is damaged/);
  assert.equal(warnings.filter((message) => message.includes("`adopt` failed")).length, 1);
  // Another process afterwards gives the same result: the lock is free.
  assert.equal(await getValidAccessToken({ ...config, adopt: () => ({ access: "now" }) }), "now");
});

test("two processes ask their functions in turn: the second finds what the first has stored", async (t) => {
  const { home, config, write } = elsewhere(t);
  write("login.json", { access: "of-the-file" });
  const processes = await Promise.all([0, 1, 2].map(() => PluginProcess.start(t, { env: home.env() })));
  const tokens = await Promise.all(
    processes.map((process) => process.call("adopting", [config, join(home.path, "login.json")])),
  );
  assert.deepEqual(tokens, ["of-the-file", "of-the-file", "of-the-file"]);
  const times = readFileSync(join(home.path, "login.json.asked"), "utf8");
  assert.equal(times, "asked\n");
});

test("a refresh token alone is refreshed at once; its client is that of the next login as well", async (t) => {
  const server = await AuthorizationServer.start(t, { discovery: "both" });
  const home = TempHome.create(t);
  const { clientId, ...rest } = configFor(server, home.stateDir, clients.public);
  const { refresh } = await server.grant(clientId as string, rest.scopes as string[]);
  const adopting: AuthConfig = { ...rest, adopt: () => ({ refresh_token: refresh, client_id: clientId }) };
  assert.ok(await getValidAccessToken(adopting));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
  await logout(adopting);
  const person = new Person();
  const after = await login(adopting, {
    onVerification: (verification) => person.approve(verification.verificationUriComplete as string),
  });
  assert.equal(after.clientId, clientId);
  assert.equal((await server.requests({ endpoint: "registration" })).length, 0);
});

test("a login that nobody has used yet is ended by a logout, as status has it", async (t) => {
  const { home, config, write } = elsewhere(t);
  const old = write(".memory.json", { access: "old", refresh: "r" });
  const path: AuthConfig = { ...config, adopt: join(home.path, ".memory.json") };
  const told: AuthConfig = { ...config, profile: "told", adopt: () => ({ access: "told" }) };
  for (const adopting of [path, told]) {
    assert.equal((await status(adopting)).state, "valid");
    assert.equal((await logout(adopting)).removed, true);
    assert.equal((await status(adopting)).state, "logged_out");
    await rejection(getValidAccessToken(adopting), "LOGIN_REQUIRED");
    assert.equal((await logout(adopting)).removed, false);
  }
  assert.ok(existsSync(`${old}.adopted`));
});

test("what `adopt` cannot be is refused", async (t) => {
  const { config } = elsewhere(t);
  for (const adopt of ["", 7, [7], {}]) {
    await rejection(status({ ...config, adopt } as never), "INVALID_CONFIG");
  }
  await rejection(status({ ...config, adopt: "~/x", credentialsFormat: "codex" }), "INVALID_CONFIG");
});

test("the kit adopts for the account that is meant where none is named", async (t) => {
  const { home } = elsewhere(t);
  const adopt = () => ({ access: "known" });
  const { api } = new FakeHost({ stateDir: home.stateDir });
  const auth = pluginAuth(api, { issuer: "http://127.0.0.1:9", adopt });
  await assert.rejects(auth.account("work").getValidAccessToken(), { code: "LOGIN_REQUIRED" });
  assert.equal(await auth.getValidAccessToken(), "known");
});
