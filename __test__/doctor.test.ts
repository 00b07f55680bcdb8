/** The doctor's findings and fixes where something is really wrong. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  type AuthConfig,
  type DoctorCheck,
  type DoctorReport,
  doctor,
  getValidAccessToken,
  importToken,
} from "../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "./support/authorization-server.ts";
import { Bystander } from "./support/bystander.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";
import { WallClock } from "./support/wall-clock.ts";

const windows = process.platform === "win32";

async function patient(t: Lifetime, options: AuthorizationServerOptions = {}) {
  const server = await AuthorizationServer.start(t, options);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const { status } = await grantedLogin(config);
  return { server, home, config, path: status.path };
}

async function examined(config: AuthConfig, options?: { fix: boolean }) {
  const report = await doctor(config, options);
  return { ...report, of: (name: string) => found(report.checks, name) };
}

function found(checks: DoctorCheck[], name: string): DoctorCheck {
  return checks.find((check) => check.name === name) ?? assert.fail(`No check ${name}`);
}

test("a sound login: every check is ok, nothing is changed, and no token is in the report", async (t) => {
  const { server, config, path } = await patient(t);
  const before = [readFileSync(path, "utf8"), readdirSync(dirname(path)), statSync(path).mtimeMs];
  const report = await examined(config, { fix: true });
  assert.equal(report.ok, true);
  assert.deepEqual(
    report.checks.filter(({ level }) => level !== "ok"),
    [],
  );
  assert.match(report.of("server").message, /127\.0\.0\.1:\d+ answered without a proxy/);
  assert.match(report.of("clock").message, /^This clock is 0 s/);
  assert.match(report.of("place").message, /^stateDir decides/);
  assert.deepEqual([readFileSync(path, "utf8"), readdirSync(dirname(path)), statSync(path).mtimeMs], before);
  const { access, refresh = "" } = new StoredCredential(path).read();
  const told = JSON.stringify(report);
  assert.ok(!told.includes(access) && !told.includes(refresh));
  assert.deepEqual(await server.requests({ grant: "refresh_token" }), []);
  await rejection(doctor(config, { fixx: true } as never), "INVALID_CONFIG");
  await rejection(doctor(config, { fix: "yes" } as never), "INVALID_CONFIG");
});

test("loose permissions: reported, and tightened only when asked", { skip: windows }, async (t) => {
  const { config, path } = await patient(t);
  const modes = () => [path, dirname(path)].map((place) => statSync(place).mode & 0o777);
  chmodSync(path, 0o640);
  chmodSync(dirname(path), 0o755);
  const told = await examined(config);
  assert.equal(told.ok, true, "it works all the same");
  assert.match(told.of("file").message, /mode 640/);
  assert.match(told.of("folder").fix ?? "", /chmod 700/);
  assert.deepEqual(modes(), [0o640, 0o755]);
  const mended = await examined(config, { fix: true });
  assert.equal(mended.of("file").fixed, true);
  assert.equal(mended.of("folder").fixed, true);
  assert.deepEqual(modes(), [0o600, 0o700]);
  assert.equal((await examined(config)).of("file").level, "ok");
});

test("what a killed process left is finished or deleted under the lock, only when asked", async (t) => {
  const { server, home, config, path } = await patient(t);
  // Killed when the answer is there: its temp file is not whole yet.
  const victim = await PluginProcess.start(t, { env: home.env() });
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "before" });
  victim.begin("getValidAccessToken", [config], { rejectedToken: new StoredCredential(path).read().access });
  await held.arrived;
  const whileHeld = await examined(config);
  assert.match(whileHeld.of("lock").message, new RegExp(`Held by process ${victim.child.pid}`));
  assert.equal(whileHeld.of("leftovers").level, "ok", "of the living");
  victim.child.signal("SIGKILL");
  await victim.child.exit;
  await held.remove();
  const temporary = () => readdirSync(dirname(path)).filter((name) => name.endsWith(".tmp"));
  assert.equal(temporary().length, 1);
  const told = await examined(config);
  assert.equal(told.of("lock").level, "ok");
  assert.equal(told.of("leftovers").level, "warning");
  assert.equal(temporary().length, 1);
  const before = readFileSync(path, "utf8");
  assert.equal((await examined(config, { fix: true })).of("leftovers").fixed, true);
  assert.deepEqual(temporary(), []);
  assert.equal(readFileSync(path, "utf8"), before, "not a byte of the login");
});

test("a damaged file, a newer version, nobody: errors that say what to do", async (t) => {
  const { config, path } = await patient(t);
  for (const [text, words] of [
    ["{", /damaged/],
    ['{"version":7}', /newer version/],
  ] as const) {
    writeFileSync(path, text);
    const report = await examined(config, { fix: true });
    assert.equal(report.ok, false);
    assert.match(report.of("format").message, words);
    assert.equal(readFileSync(path, "utf8"), text);
  }
  const nobody = await examined({ ...config, profile: "nobody" });
  assert.equal(nobody.ok, false);
  assert.match(nobody.of("login").fix ?? "", /Log in/);
});

test("a folder that cannot be written to is an error before a refresh is lost", {
  skip: Bystander.unavailable(),
}, async (t) => {
  const { home, config, path } = await patient(t);
  const launcher = Bystander.launcher(home);
  chmodSync(dirname(path), 0o500);
  const plugin = await PluginProcess.start(t, { env: home.env(), launcher });
  const report = (await plugin.call("doctor", [config, { fix: true }])) as DoctorReport;
  assert.equal(report.ok, false);
  assert.match(found(report.checks, "folder").message, /cannot be written to/);
  // Nor can one be made in it, not even some levels below.
  const below = { ...config, stateDir: join(dirname(path), "a", "b") };
  const first = (await plugin.call("doctor", [below])) as DoctorReport;
  assert.equal(found(first.checks, "folder").level, "error");
  assert.ok(found(first.checks, "folder").message.includes(`, and ${dirname(path)} cannot be written to`));
  if (process.getuid?.() === 0) {
    // Root's own doctor sees the owner.
    assert.match((await examined(config)).of("folder").message, /belongs to another user/);
  }
});

test("the server: unreachable, without the device flow, of another name", async (t) => {
  const { server, config } = await patient(t);
  const renamed = await examined({ ...config, issuer: `${server.issuer}/` });
  assert.equal(renamed.ok, false);
  assert.match(renamed.of("metadata").message, /only the slash/i);
  const removed = await server.intercept({ endpoint: "discovery" }, { remove: ["device_authorization_endpoint"] });
  const lacking = await examined({ ...config, flow: "device_code" });
  assert.equal(lacking.of("metadata").level, "error");
  assert.match(lacking.of("metadata").fix ?? "", /device flow/);
  await removed.remove();
  const bound = await examined({ ...config, dpop: true });
  assert.deepEqual([bound.of("metadata").level, bound.ok], ["ok", true]);
  await server.intercept({ endpoint: "discovery" }, { remove: ["dpop_signing_alg_values_supported"] });
  const unbound = await examined({ ...config, dpop: true });
  assert.equal(unbound.of("metadata").level, "error");
  assert.match(unbound.of("metadata").message, /does not offer DPoP .* or leave `dpop` out/);
  await server.stop();
  const gone = await examined(config);
  assert.equal(gone.ok, false);
  assert.match(gone.of("server").message, /refused/);
  assert.equal(gone.of("login").level, "ok", "what is stored is still told");
});

test("no client and no registration: nobody could log in", async (t) => {
  const server = await AuthorizationServer.start(t, { registration: false });
  const home = TempHome.create(t);
  const { clientId: _id, ...config } = configFor(server, home.stateDir);
  const { level, fix } = (await examined(config)).of("client");
  assert.equal(level, "error");
  assert.match(fix ?? "", /clientId/);
});

test("a clock that is wrong by hours is reported in seconds", { skip: WallClock.missing }, async (t) => {
  const { home, config } = await patient(t);
  const clock = WallClock.create(home);
  clock.set("+7h");
  const plugin = await PluginProcess.start(t, { env: home.env(clock.env) });
  const { checks } = (await plugin.call("doctor", [config])) as { checks: DoctorCheck[] };
  const { level, message } = found(checks, "clock");
  assert.equal(level, "warning");
  const seconds = Number(/(\d+) s ahead of/.exec(message)?.[1]);
  assert.ok(Math.abs(seconds - 7 * 3600) < 60, message);
});

test("the proxy that is used is named, without its password", async (t) => {
  const home = TempHome.create(t);
  const env = home.env({ HTTPS_PROXY: "http://ada:canary@127.0.0.1:9" });
  const plugin = await PluginProcess.start(t, { env });
  const config = { pluginId: "memory", issuer: "https://auth.example.invalid", clientId: "public" };
  const report = (await plugin.call("doctor", [config])) as { checks: DoctorCheck[] };
  // Windows takes both for one name.
  const name = process.platform === "win32" ? "https_proxy" : "HTTPS_PROXY";
  assert.match(found(report.checks, "server").message, new RegExp(`through the proxy ${name}: 127\\.0\\.0\\.1:9`));
  assert.doesNotMatch(JSON.stringify(report), /canary/);
});

test("a login of the same plugin in another state folder is reported", async (t) => {
  const home = TempHome.create(t);
  const old = { pluginId: "memory", stateDir: join(home.path, ".clawdbot") };
  await importToken(old, { access: "from-before" });
  mkdirSync(home.stateDir);
  const plugin = await PluginProcess.start(t, { env: home.env() });
  const { checks } = (await plugin.call("doctor", [{ pluginId: "memory" }])) as { checks: DoctorCheck[] };
  const place = found(checks, "place");
  assert.equal(place.level, "warning");
  assert.match(place.message, /the home folder decides: .*\.openclaw.*\.clawdbot/);
  assert.equal(await getValidAccessToken(old), "from-before");
});
