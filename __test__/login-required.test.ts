/** After the server has refused a login, every process, restart and copy leaves it alone until there is a new login. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AuthConfig, getValidAccessToken, logout, status } from "../index.js";
import { AuthorizationServer, type LoggedRequest } from "./support/authorization-server.ts";
import { approvedLogin, configFor, grantedLogin } from "./support/login.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

const loginRequired = { code: "LOGIN_REQUIRED", needsLogin: true, retryable: false };

for (const [how, revoke] of [
  ["revoked", (server: AuthorizationServer) => server.revokeLogins()],
  ["spent by somebody else", spendElsewhere],
] as const) {
  test(`a login that was ${how}: one request from all processes, restarts and copies until the next login`, async (t) => {
    const { server, home, config, credential } = await loggedIn(t);
    const running = await Promise.all([1, 2, 3].map(() => PluginProcess.start(t, { env: home.env() })));
    await revoke(server, credential);
    credential.expire();
    const seen = (await refreshes(server)).length;
    await refused(running, config);
    assert.equal((await refreshes(server)).length, seen + 1);

    // Again, with a report of the rejected token, after a restart, in another copy, and hours later.
    const { access } = credential.read();
    await refused(running, config);
    await refused(running, config, { rejectedToken: access });
    const restarted = await PluginProcess.start(t, { env: home.env() });
    const copy = await PluginProcess.start(t, {
      env: home.env({ PLUGIN_AUTH_COPY: `${copyOfThePackage(home, "copy")}/index.js` }),
    });
    await refused([restarted, copy], config);
    credential.letPauseEnd(86_400);
    await refused([...running, restarted, copy], config);
    await refused([await PluginProcess.start(t, { env: home.env() })], config, { rejectedToken: access });
    assert.equal((await status(config)).state, "login_required");
    assert.equal((await refreshes(server)).length, seen + 1);

    // A login changes the file, and all of them go on without a restart, and without another refresh.
    await approvedLogin(config);
    const token = await getValidAccessToken(config);
    for (const process of [...running, restarted, copy]) {
      assert.equal(await process.accessToken(config), token);
    }
    assert.equal((await refreshes(server)).length, seen + 1);
    credential.expire();
    assert.notEqual(await running[0]?.accessToken(config), token);
  });
}

test("a login without a refresh token that has ended: no request at all", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await server.intercept({ grant: "device_code" }, { remove: ["refresh_token"] });
  const config = configFor(server, home.stateDir);
  await approvedLogin(config);
  const credential = new StoredCredential(home.credentialPath("memory"));
  credential.expire();
  const running = await Promise.all([1, 2].map(() => PluginProcess.start(t, { env: home.env() })));
  const { sequence } = await last(server);
  await refused(running, config);
  await refused(running, config, { rejectedToken: credential.read().access });
  await refused([await PluginProcess.start(t, { env: home.env() })], config);
  assert.equal((await last(server)).sequence, sequence);
});

test("nobody logged in, or logged out: no request at all", async (t) => {
  const { server, home, config } = await loggedIn(t);
  const running = await PluginProcess.start(t, { env: home.env() });
  await logout(config);
  const { sequence } = await last(server);
  await refused([running, await PluginProcess.start(t, { env: home.env() })], config);
  await refused([running], { ...config, profile: "never" });
  assert.equal((await last(server)).sequence, sequence);
});

test("one profile's refused login is no other's", async (t) => {
  const { server, home, config, credential } = await loggedIn(t);
  const work = { ...config, profile: "work" };
  await grantedLogin(work);
  await spendElsewhere(server, credential);
  credential.expire();
  new StoredCredential(home.credentialPath("memory", "work")).expire();
  const running = await PluginProcess.start(t, { env: home.env() });
  await refused([running], config);
  assert.ok(await running.accessToken(work));
});

/** Ten calls in each process, all of them LOGIN_REQUIRED. */
async function refused(processes: PluginProcess[], config: AuthConfig, options?: { rejectedToken: string }) {
  const calls = processes.flatMap((process) => Array.from({ length: 10 }, () => process.accessToken(config, options)));
  await Promise.all(calls.map((call) => assert.rejects(call, loginRequired)));
}

/** A stolen refresh token: at its second use the server revokes the login. */
async function spendElsewhere(server: AuthorizationServer, credential: StoredCredential): Promise<void> {
  const refresh_token = credential.read().refresh ?? "";
  const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token, client_id: "public" });
  assert.equal((await fetch(server.endpoints.tokenEndpoint, { method: "POST", body })).status, 200);
}

function refreshes(server: AuthorizationServer): Promise<LoggedRequest[]> {
  return server.requests({ grant: "refresh_token" });
}

async function last(server: AuthorizationServer): Promise<LoggedRequest> {
  return (await server.requests()).at(-1) ?? assert.fail("no request yet");
}

async function loggedIn(t: Test) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  return { server, home, config, credential: new StoredCredential(home.credentialPath("memory")) };
}
