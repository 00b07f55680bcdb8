/** The credential file: adoption, damage, versions, permissions, logout. */
import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { getValidAccessToken, listProfiles, login, logout, status } from "../index.js";
import { AuthorizationServer, clients } from "./support/authorization-server.ts";
import { approvedLogin, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

test("logout revokes at the server, removes the credential and leaves nobody logged in", async (t) => {
  const { server, config, api, path } = await loggedIn(t);
  const token = await getValidAccessToken(config);
  assert.deepEqual(await logout(config), { revoked: true, removed: true });
  assert.equal((await api.call(token)).status, 401);
  assert.equal((await status(config)).state, "logged_out");
  assert.ok(!readFileSync(path, "utf8").includes(token));
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  assert.deepEqual(await listProfiles(config), []);
  assert.deepEqual(await logout(config), { revoked: false, removed: false });
  const revocations = await server.requests({ endpoint: "revocation" });
  assert.deepEqual(
    revocations.map(({ form }) => form?.token_type_hint),
    ["refresh_token", "access_token"],
  );
});

test("logout removes the credential even if the server fails", async (t) => {
  const { server, config } = await loggedIn(t);
  await server.intercept({ endpoint: "revocation" }, { respond: { status: 503 } });
  assert.deepEqual(await logout(config), { revoked: false, removed: true });
  assert.equal((await status(config)).state, "logged_out");
});

test("logout works while the server is down", async (t) => {
  const { server, config } = await loggedIn(t);
  await server.stop();
  assert.deepEqual(await logout(config), { revoked: false, removed: true });
  assert.equal((await status(config)).state, "logged_out");
});

test("a login written by hand is adopted without a new login, and refreshed from then on", async (t) => {
  const { server, config, home, path } = await loggedIn(t);
  const handwritten = movedToExtensions(home, path);
  const adopted = await getValidAccessToken(config);
  assert.ok(adopted);
  assert.ok(existsSync(`${handwritten}.adopted`));
  assert.ok(!existsSync(handwritten));
  assert.equal((await status(config)).state, "valid");
  await expireLogin(config);
  assert.notEqual(await getValidAccessToken(config), adopted);
  assert.ok((await server.requests({ grant: "refresh_token" })).length >= 1);
  // After a logout an old file does not bring the login back.
  await logout(config);
  writeFileSync(handwritten, readFileSync(`${handwritten}.adopted`));
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  assert.equal((await status(config)).state, "logged_out");
});

test("the client of a login written by hand is taken over where the config names none", async (t) => {
  const { server, config, home, path } = await loggedIn(t);
  const { clientId: client_id, ...withoutClient } = config;
  movedToExtensions(home, path, { client_id });
  assert.ok(await getValidAccessToken(withoutClient));
  await expireLogin(withoutClient);
  assert.ok(await getValidAccessToken(withoutClient));
  assert.equal((await server.requests({ endpoint: "registration" })).length, 0);
});

test("status reports a login written by hand, and changes nothing", async (t) => {
  const { config, home, path } = await loggedIn(t);
  const handwritten = movedToExtensions(home, path);
  assert.equal((await status(config)).state, "valid");
  assert.ok(existsSync(handwritten));
});

test("a login written by hand for another client is refused and left alone", async (t) => {
  const { config, home, path } = await loggedIn(t);
  const handwritten = movedToExtensions(home, path, { clientId: "somebody-else" });
  await rejection(getValidAccessToken(config), "ISSUER_MISMATCH");
  assert.ok(existsSync(handwritten));
});

test("members that we do not know survive a refresh", async (t) => {
  const { config, path } = await loggedIn(t);
  edit(path, (credential) => ({ ...credential, futureMember: { kept: [1, null, "x"] } }));
  await expireLogin(config);
  await getValidAccessToken(config);
  assert.deepEqual(JSON.parse(readFileSync(path, "utf8")).futureMember, { kept: [1, null, "x"] });
});

for (const [what, damage] of [
  ["truncated", (text: string) => text.slice(0, text.length / 2)],
  ["empty", () => ""],
  ["not JSON", () => "<html>"],
  ["of wrong types", () => '{"version":1,"access":7}'],
] as const) {
  test(`a credential file that is ${what} is STORE_CORRUPT and moved aside by the next login`, async (t) => {
    const { config, path } = await loggedIn(t);
    const damaged = damage(readFileSync(path, "utf8"));
    writeFileSync(path, damaged);
    const error = await rejection(getValidAccessToken(config), "STORE_CORRUPT");
    assert.equal(error.needsLogin, true);
    await rejection(status(config), "STORE_CORRUPT");
    assert.equal((await listProfiles(config))[0]?.lastError?.code, "STORE_CORRUPT");
    assert.equal(readFileSync(path, "utf8"), damaged, "left as it was");
    await approvedLogin(config);
    assert.ok(await getValidAccessToken(config));
    const aside = readdirSync(dirname(path)).filter((name) => name.includes(".corrupt-"));
    assert.equal(aside.length, 1);
    assert.equal(readFileSync(join(dirname(path), aside[0] ?? ""), "utf8"), damaged);
  });
}

test("a file of a newer version is STORE_VERSION for everybody, and untouched", async (t) => {
  const { server, config, path } = await loggedIn(t);
  edit(path, (credential) => ({ ...credential, version: 2 }));
  const before = readFileSync(path, "utf8");
  const asked = (await server.requests({ endpoint: "device_authorization" })).length;
  await rejection(getValidAccessToken(config), "STORE_VERSION");
  await rejection(status(config), "STORE_VERSION");
  await rejection(logout(config), "STORE_VERSION");
  // Found before a person is troubled.
  await rejection(login(config, { onVerification: () => {} }), "STORE_VERSION");
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, asked);
  assert.equal(readFileSync(path, "utf8"), before);
});

test("a folder that cannot be written is found before a person is troubled", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  // A file where the folder should be: true for root as well.
  mkdirSync(home.stateDir);
  writeFileSync(join(home.stateDir, "credentials"), "");
  const config = configFor(server, home.stateDir);
  const error = await rejection(login(config, { onVerification: () => {} }), "STORE_IO");
  assert.ok(error.message.includes(home.stateDir), error.message);
  assert.equal((await server.requests()).length, 0);
});

test("a credential file of another user is refused", {
  skip: process.getuid?.() === 0 ? false : "only root may give files away",
}, async (t) => {
  const { config, path } = await loggedIn(t);
  chownSync(path, 65534, 65534);
  const error = await rejection(getValidAccessToken(config), "STORE_IO");
  assert.match(error.message, /another user|owned|belongs/);
});

test("permissions that were loosened are tightened at the next write, and only on our own files", async (t) => {
  const { config, path, home } = await loggedIn(t);
  const credentials = join(home.stateDir, "credentials");
  await expireLogin(config);
  chmodSync(credentials, 0o755);
  chmodSync(dirname(path), 0o755);
  chmodSync(path, 0o644);
  await getValidAccessToken(config);
  assert.equal(mode(path), 0o600);
  assert.equal(mode(dirname(path)), 0o700);
  assert.equal(mode(credentials), 0o755);
});

test("a symbolic link of the same user is followed and kept", async (t) => {
  const { config, path, home } = await loggedIn(t);
  const real = join(home.path, "real.json");
  renameSync(path, real);
  symlinkSync(real, path);
  await expireLogin(config);
  const token = await getValidAccessToken(config);
  assert.equal(JSON.parse(readFileSync(real, "utf8")).access, token);
  assert.equal(readFileSync(path, "utf8"), readFileSync(real, "utf8"));
});

test("credentialsPath names the exact file", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const credentialsPath = join(home.path, "somewhere", "else.json");
  const { stateDir: _, ...config } = configFor(server, "", { credentialsPath });
  const { status: loggedIn } = await approvedLogin(config);
  assert.equal(loggedIn.path, credentialsPath);
  assert.ok(await getValidAccessToken(config));
  assert.equal(mode(credentialsPath), 0o600);
});

test("the state folder is found as the hosts find it", async (t) => {
  const server = await AuthorizationServer.start(t);
  const { stateDir: _, ...config } = configFor(server, "");
  for (const [given, folder, expected] of [
    [{}, undefined, ".openclaw"],
    [{}, ".clawdbot", ".clawdbot"],
    [{}, ".moltbot", ".moltbot"],
    [{ CLAWDBOT_STATE_DIR: "~/c" }, undefined, "c"],
    [{ MOLTBOT_STATE_DIR: "~/m", CLAWDBOT_STATE_DIR: "~/c" }, undefined, "m"],
    [{ OPENCLAW_STATE_DIR: "~/o", MOLTBOT_STATE_DIR: "~/m" }, undefined, "o"],
    [{ OPENCLAW_HOME: "~/h" }, ".clawdbot", "h/.openclaw"],
  ] as const) {
    const home = TempHome.create(t);
    if (folder !== undefined) mkdirSync(join(home.path, folder));
    const plugin = await PluginProcess.start(t, { env: home.env(given) });
    const { path } = await plugin.status(config);
    assert.equal(path, join(home.path, expected, "credentials", "memory", "default.json"));
    await plugin.end();
  }
});

test("names of plugins and profiles become one folder level, with any characters", async (t) => {
  const home = TempHome.create(t);
  const paths = new Set<string>();
  for (const pluginId of ["@scope/name", "..", ".", "CON", "a/../../b", "A", "a", "a.", "é", "a%2F", "-"]) {
    const { path } = await status({ pluginId, stateDir: home.stateDir });
    assert.equal(dirname(dirname(dirname(path))), home.stateDir, pluginId);
    paths.add(path.toLowerCase());
  }
  assert.equal(paths.size, 11);
  await rejection(status({ pluginId: "a".repeat(129), stateDir: home.stateDir }), "INVALID_CONFIG");
  await rejection(status({ pluginId: "a\0b", stateDir: home.stateDir }), "INVALID_CONFIG");
  assert.ok(!existsSync(home.stateDir), "status writes nothing");
});

test("an update that deletes the plugin's install folder leaves the login", async (t) => {
  const { config, home } = await loggedIn(t);
  const token = await getValidAccessToken(config);
  rmSync(join(home.stateDir, "extensions"), { recursive: true, force: true });
  assert.equal(await getValidAccessToken(config), token);
});

async function loggedIn(
  t: Parameters<typeof TempHome.create>[0],
  options: Parameters<typeof AuthorizationServer.start>[1] = {},
) {
  const server = await AuthorizationServer.start(t, options);
  const home = TempHome.create(t);
  const api = await ProtectedApi.start(t, server);
  const config = configFor(server, home.stateDir, clients.public);
  await grantedLogin(config);
  return { server, home, api, config, path: home.credentialPath("memory") };
}

/** The stored credential as a plugin's own code would have kept it. */
function movedToExtensions(home: TempHome, path: string, more: object = {}): string {
  const { access, refresh, expires } = JSON.parse(readFileSync(path, "utf8"));
  rmSync(dirname(path), { recursive: true });
  const folder = join(home.stateDir, "extensions", "memory");
  mkdirSync(folder, { recursive: true });
  const handwritten = join(folder, "credentials.json");
  writeFileSync(handwritten, JSON.stringify({ access, refresh, expires: Math.ceil(expires / 1000), ...more }));
  return handwritten;
}

function edit(path: string, change: (credential: Record<string, unknown>) => object): void {
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")))));
}

function mode(path: string): number {
  return statSync(path).mode & 0o777;
}
