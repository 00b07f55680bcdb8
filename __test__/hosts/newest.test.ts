/** Features that only the newest host of the table has. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { getValidAccessToken, importToken, login, logout } from "../../index.js";
import { Person } from "../support/person.ts";
import { ProtectedApi } from "../support/protected-api.ts";
import { rejection } from "../support/rejection.ts";
import { Host, hosts, newest } from "./support/host.ts";
import { accessTokenSeconds, installPlugin, logIn, stage } from "./support/life-of-a-login.ts";
import { ModelServer } from "./support/model-server.ts";
import { pack } from "./support/packages.ts";

const skip = hosts.every(({ id }) => id !== newest);
// Shorter than that of the file, so that what was started is ended.
const options = { timeout: 600_000, skip };

test(`${newest}: an agent is told to ask for a login, and then uses the tools`, options, async (t) => {
  const on = await stage(t, newest);
  const model = await ModelServer.start(t);
  await installPlugin(t, on);
  on.host.configure(model.configuration);
  const turn = (tool: string, args: object) => {
    model.willCall(tool, args);
    return on.host.succeed(["agent", "--local", "--agent", "main", "--message", "What does ada like?"]);
  };

  await turn("team_memory_store", { text: "ada likes tea" });
  assert.match(
    model.toolResults.at(-1) ?? "",
    /Team Memory needs a login: send `\/team-memory login`.*, then try again\./,
  );
  await logIn(t, on);
  await turn("team_memory_store", { text: "ada likes tea" });
  const { stdout } = await turn("team_memory_search", { query: "tea" });
  assert.match(stdout, /The tool said: .*ada likes tea/s);
});

test(
  `${newest}: a provider logs in by a code; the host keeps the tokens and has them refreshed`,
  options,
  async (t) => {
    const { host, server, registry } = await stage(t, newest);
    const api = await ProtectedApi.start(t, server);
    const folder = fileURLToPath(new URL("./fixtures/model-provider", import.meta.url));
    await registry.publish(await pack(folder, host.home.path));
    await host.succeed(["plugins", "install", "my-model", ...(await host.consent())]);
    const config = { issuer: server.issuer, serviceUrl: `${api.origin}/memories` };
    host.configure({ plugins: { allow: ["my-model"], entries: { "my-model": { enabled: true, config } } } });

    const login = host.startOnTerminal(["models", "auth", "login", "--provider", "my-model"]);
    const code = await login.written(/\b[A-Z]{4}-[A-Z]{4}\b/);
    await new Person().approve(`${server.issuer}/device?user_code=${code}`);
    assert.equal((await login.exit).code, 0, login.stdout);
    assert.match(login.stdout, /Auth profile: my-model:default \(my-model\/oauth\)/);

    const gateway = await host.startGateway();
    const answered = async () => JSON.parse((await gateway.tool("my_model_check", {})).text).result?.content[0].text;
    assert.equal(await answered(), "The service answered 200.", gateway.output);
    await new Promise((resolve) => setTimeout(resolve, 1000 * accessTokenSeconds + 50));
    assert.equal(await answered(), "The service answered 200.", gateway.output);
    assert.notEqual((await server.requests({ grant: "refresh_token" })).length, 0);
    await gateway.stop();
  },
);

test(
  `${newest}: its logins lie in a database, and no auth-profiles.json is ever made beside it`,
  options,
  async (t) => {
    const host = await Host.create(t, newest, "http://127.0.0.1:9");
    await host.succeed(["models", "status", "--json"]);
    assert.equal(existsSync(join(host.stateDir, "state/openclaw.sqlite")), true);
    const config = {
      pluginId: "my-model",
      issuer: "https://auth.example.com",
      clientId: "public",
      stateDir: host.stateDir,
      credentialsFormat: "auth-profiles",
    } as const;
    for (const call of [
      () => getValidAccessToken(config),
      () => importToken(config, { access: "x" }),
      () => login(config, { onVerification: () => {} }),
      () => logout(config),
    ]) {
      const { message } = await rejection(call(), "INVALID_CONFIG");
      assert.match(message, /openclaw\.sqlite.*api\.registerProvider/);
    }
    const made = readdirSync(host.stateDir, { recursive: true }).map(String);
    assert.deepEqual(
      made.filter((path) => path.includes("auth-profiles")),
      [],
    );
    await host.succeed(["models", "status", "--json"]);
  },
);
