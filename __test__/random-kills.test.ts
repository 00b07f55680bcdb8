/**
 * Processes that are killed with SIGKILL at random moments of a refresh, one after the other, each finding what the one
 * before has left. `npm run test:long` does it 40 times, `npm run soak:kills` 500 times.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { CredentialFile } from "./support/expired-login.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";

const randomKills = Number(process.env.PLUGIN_AUTH_KILLS ?? 15);

test(`${randomKills} kills at random moments: whole files, and no login lost that could be kept`, {
  timeout: 60_000 + randomKills * 2_000,
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const path = home.credentialPath("memory");
  const plugin = () => PluginProcess.start(t, { env: home.env() });
  const stored = (): CredentialFile => JSON.parse(readFileSync(path, "utf8"));
  const refreshes = () => server.requests({ grant: "refresh_token" });

  await grantedLogin(config);
  const met = { beforeRequest: 0, answerLost: 0, tempWhole: 0, renamed: 0, finished: 0 };
  let requests = 0;
  let logins = 1;
  // Follows the machine: where kills come too late, they come earlier.
  let longest = 100;
  let victim = await plugin();
  for (let round = 1; round <= randomKills; round += 1) {
    const { access: old = "" } = stored();
    const next = plugin();
    let isFinished = false;
    victim.begin("getValidAccessToken", [config], { rejectedToken: old }).outcome.then(
      () => {
        isFinished = true;
      },
      () => {},
    );
    await new Promise((resolve) => setTimeout(resolve, Math.random() * longest));
    victim.child.signal("SIGKILL");
    await victim.child.exit;
    longest *= isFinished ? 0.9 : 1.02;

    // All its requests are in the server's log once a later request is answered, and each has its answer.
    await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const spent = (await refreshes()).length - requests;
    assert.ok(spent <= 1, "a killed process has sent one request at most");
    for (let nth = requests + 1; nth <= requests + spent; nth += 1) {
      assert.equal((await server.request({ grant: "refresh_token" }, nth)).status, 200);
    }
    requests += spent;

    const isRenamed = stored().access !== old;
    const isWritten = leftovers(path).some(({ access }) => access !== undefined && access !== old);
    const isLost = spent === 1 && !isRenamed && !isWritten;
    if (isFinished) met.finished += 1;
    else if (isRenamed) met.renamed += 1;
    else if (isWritten) met.tempWhole += 1;
    else if (isLost) met.answerLost += 1;
    else met.beforeRequest += 1;

    victim = await next;
    if (isLost) {
      await assert.rejects(victim.accessToken(config, { rejectedToken: old }), { code: "LOGIN_REQUIRED" });
      await assert.rejects(victim.accessToken(config, { rejectedToken: old }), { code: "LOGIN_REQUIRED" });
      requests += 1;
      await grantedLogin(config);
      logins += 1;
    } else {
      const token = await victim.accessToken(config, { rejectedToken: old });
      requests += spent === 0 ? 1 : 0;
      assert.notEqual(token, old);
      assert.equal(stored().access, token);
    }
    assert.equal((await refreshes()).length, requests);
    assert.deepEqual(readdirSync(dirname(path)).sort(), ["default.json", "default.json.lock"]);
  }
  assert.equal(logins, 1 + met.answerLost);
  t.diagnostic(`${randomKills} kills, ${requests} refresh requests: ${JSON.stringify(met)}`);
});

/** The contents of complete temp files. */
function leftovers(path: string): CredentialFile[] {
  const folder = dirname(path);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".tmp"))
    .flatMap((name) => {
      try {
        return [JSON.parse(readFileSync(join(folder, name), "utf8").replace(/\0+$/, "")) as CredentialFile];
      } catch {
        return [];
      }
    });
}
