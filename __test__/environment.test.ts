/** A folder and an environment prepared by a stranger: a repository that was just cloned, its `.env`. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { AuthConfig } from "../index.js";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { PluginProcess, type ReportedError } from "./support/plugin-process.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const notUnix = process.platform === "win32";

describe("what others have prepared", { concurrency: 6 }, () => {
  test("a repository's files and variables change nothing for a config that names its server and state folder", async (t) => {
    const { home, config, stub } = await started(t);
    const hostile = await StubServer.start(t);
    const cwd = join(home.path, "cloned");
    const planted = join(cwd, ".openclaw", "credentials", "memory", "default.json");
    mkdirSync(join(planted, ".."), { recursive: true });
    writeFileSync(planted, JSON.stringify({ version: 1, access: "planted", tokenEndpoint: `${hostile.origin}/token` }));
    for (const name of [".env", ".npmrc", "clawdbot-plugin-auth.json", "openclaw.json"]) {
      writeFileSync(join(cwd, name), `issuer=${hostile.origin}\n`);
    }
    const before = readdirSync(cwd, { recursive: true }).sort();
    const plugin = await PluginProcess.start(t, {
      cwd,
      env: home.env({
        SSLKEYLOGFILE: join(cwd, "keys"),
        OPENCLAW_STATE_DIR: join(cwd, ".openclaw"),
        MOLTBOT_STATE_DIR: join(cwd, ".openclaw"),
        CLAWDBOT_STATE_DIR: join(cwd, ".openclaw"),
        OPENCLAW_HOME: cwd,
        XDG_CONFIG_HOME: cwd,
        HTTP_PROXY: hostile.origin,
        HTTPS_PROXY: hostile.origin,
        ALL_PROXY: hostile.origin,
        RUST_LOG: "trace",
      }),
    });
    assert.equal((await plugin.status(config)).state, "logged_out");
    assert.equal((await plugin.login(config)).state, "valid");
    assert.equal(await plugin.accessToken(config), "access");
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
    assert.deepEqual(readdirSync(cwd, { recursive: true }).sort(), before);
    assert.deepEqual(hostile.requests, []);
    assert.ok(stub.requests.length >= 5);
  });

  test("TLS keys are logged nowhere", async (t) => {
    const { home } = await started(t);
    const keys = join(home.path, "keys");
    // The handshake fails, by which time its first keys would have been written.
    const plugin = await PluginProcess.start(t, { env: home.env({ SSLKEYLOGFILE: keys }) });
    const authority = await CertificateAuthority.create(home.path);
    const server = await StubServer.start(t, { tls: await authority.issue(), host: "localhost" });
    server.describe();
    const config = { pluginId: "memory", clientId: "c", issuer: server.origin, stateDir: home.stateDir };
    await failure(plugin.login(config), "NETWORK");
    const trusting = await PluginProcess.start(t, {
      env: home.env({ SSLKEYLOGFILE: keys, NODE_EXTRA_CA_CERTS: authority.path }),
    });
    await failure(trusting.login(config), "DEVICE_FLOW_UNSUPPORTED");
    assert.ok(server.requests.length > 0, "a whole handshake");
    assert.equal(existsSync(keys), false);
  });

  test("without HOME only a config that names its folder works, and the error says so", async (t) => {
    const { home, config } = await started(t);
    const { HOME: _, USERPROFILE: __, ...env } = home.env();
    const plugin = await PluginProcess.start(t, { env });
    const { stateDir: ___, ...rest } = config;
    for (const call of ["status", "getValidAccessToken", "login", "logout", "listProfiles"]) {
      const error = await failure(plugin.call(call, [rest]), "INVALID_CONFIG");
      assert.match(error.message, /Set (HOME|USERPROFILE), or set stateDir to an absolute path/);
    }
    assert.equal((await plugin.login(config)).state, "valid");
    const moved = await PluginProcess.start(t, { env: { ...env, OPENCLAW_STATE_DIR: home.stateDir } });
    assert.equal((await moved.status(rest)).state, "valid");
  });

  test("a HOME that is not UTF-8 holds a login like any other", { skip: notUnix }, async (t) => {
    const { home, config } = await started(t);
    const { stateDir: _, ...rest } = config;
    // macOS has no such names.
    const launcher = ["sh", "-c", `HOME="$HOME/$(printf 'h\\377\\376')"; export HOME; mkdir "$HOME"; exec "$@"`, "sh"];
    const plugin = await PluginProcess.start(t, { env: home.env(), launcher }).catch(() => undefined);
    if (plugin === undefined && process.platform === "darwin") return;
    assert.equal((await plugin?.login(rest))?.state, "valid");
    assert.equal(await plugin?.accessToken(rest), "access");
    const [folder] = readdirSync(home.path, { encoding: "buffer" }).filter((name) => name.includes(0xff));
    const path = Buffer.concat([Buffer.from(`${home.path}/`), folder as Buffer]);
    const file = Buffer.concat([path, Buffer.from("/.openclaw/credentials/memory/default.json")]);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).access, "access");
  });

  test("a relative state folder is the working directory's", async (t) => {
    const { home, config } = await started(t);
    const plugin = await PluginProcess.start(t, { env: home.env(), cwd: home.path });
    const { path } = await plugin.login({ ...config, stateDir: "here/state" });
    assert.equal(path, join(home.path, "here", "state", "credentials", "memory", "default.json"));
    const absolute = { ...config, stateDir: join(home.path, "here", "state") };
    assert.equal((await plugin.status(absolute)).state, "valid");
  });

  test("names that no file system takes are refused in words", async (t) => {
    const { home, config } = await started(t);
    const plugin = await PluginProcess.start(t, { env: home.env() });
    for (const names of [
      { pluginId: "é".repeat(100) },
      { profile: "A".repeat(100) },
      { profile: "" },
      { pluginId: "\0" },
    ]) {
      await failure(plugin.login({ ...config, ...names }), "INVALID_CONFIG");
    }
    const deep = await failure(plugin.login({ ...config, stateDir: join(home.path, "d".repeat(300)) }), "STORE_IO");
    assert.match(deep.message, /too long/);
    const endless = await failure(plugin.login({ ...config, stateDir: `/${"d/".repeat(3000)}` }), "STORE_IO");
    assert.match(endless.message, /too long/);
    assert.ok(!existsSync(home.stateDir));
  });
});

async function failure(outcome: Promise<unknown>, code: string): Promise<ReportedError> {
  const error = await outcome.then(
    () => assert.fail(`it worked; ${code} was to be expected`),
    (reason: ReportedError) => reason,
  );
  assert.equal(error.code, code, error.message);
  return error;
}

async function started(t: Parameters<typeof TempHome.create>[0]) {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  stub.describe();
  stub.route("/device", {
    status: 200,
    body: { device_code: "d", user_code: "A", verification_uri: "https://example.com/", interval: 1 },
  });
  stub.route("/token", {
    status: 200,
    body: { access_token: "access", refresh_token: "refresh", token_type: "Bearer", expires_in: 3600 },
  });
  stub.route("/revoke", { status: 200 });
  const config: AuthConfig = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: home.stateDir };
  return { home, stub, config };
}
