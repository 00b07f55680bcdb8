/** The host's own `auth-profiles.json`, used by the host and by a plugin at the same time. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type AuthConfig, importToken, status } from "../../../index.js";
import { AuthorizationServer } from "../../support/authorization-server.ts";
import { approvedLogin } from "../../support/login.ts";
import { PluginProcess } from "../../support/plugin-process.ts";
import { Host, type HostId } from "./host.ts";
import { ModelServer } from "./model-server.ts";

/** A provider with tokens that the host refreshes by itself, at a URL fixed in its program. */
const provider = "qwen-portal";
const providerUrl = "https://chat.qwen.ai/api/v1/oauth2/token";
const clientId = "f0304373b74a44d2b584a3fb70ca9e56";
const profileId = `${provider}:default`;

export async function sharedProfiles(t: TestContext, id: HostId): Promise<void> {
  const client = {
    client_id: clientId,
    token_endpoint_auth_method: "none",
    grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    redirect_uris: [],
    response_types: [],
  };
  const server = await AuthorizationServer.start(t, { clients: [client] });
  const model = await ModelServer.start(t);
  const host = await Host.create(t, id, "http://127.0.0.1:9");
  const metadata = await fetch(`${server.issuer}/.well-known/openid-configuration`);
  const { token_endpoint } = (await metadata.json()) as { token_endpoint: string };
  Object.assign(host.environment, {
    NODE_OPTIONS: `--import=${fileURLToPath(new URL("../fixtures/redirected-fetch.mjs", import.meta.url))}`,
    REDIRECTED_FROM: providerUrl,
    REDIRECTED_TO: token_endpoint,
  });
  host.configure(obedientAs(provider, model));
  const config: AuthConfig = {
    pluginId: provider,
    issuer: server.issuer,
    clientId,
    scopes: ["memory", "offline_access"],
    stateDir: host.stateDir,
    credentialsFormat: "auth-profiles",
    profileId,
  };
  const path = join(host.stateDir, "agents/main/agent/auth-profiles.json");
  const file = () => JSON.parse(readFileSync(path, "utf8"));
  const expire = () => {
    const store = file();
    store.profiles[profileId].expires = Date.now() - 1000;
    writeFileSync(path, JSON.stringify(store, null, 2));
  };
  const turn = () => host.succeed(["agent", "--local", "--agent", "main", "--message", "hi"]);
  const refreshes = async () => (await server.requests({ grant: "refresh_token" })).length;
  const plugin = await PluginProcess.start(t, { env: host.home.env() });

  await t.test(
    "what the plugin stored, the host uses and refreshes; what the host refreshed, the plugin uses",
    async () => {
      mkdirSync(dirname(path), { recursive: true });
      await approvedLogin(config);
      assert.equal((await status(config)).path, path);
      await turn();
      assert.equal(await refreshes(), 0);
      expire();
      await turn();
      assert.equal(await refreshes(), 1, "the host itself has refreshed");
      assert.equal(await plugin.accessToken(config), file().profiles[profileId].access);
      assert.equal(await refreshes(), 1);
    },
  );

  await t.test("both need it at once: one refresh, each time", async () => {
    for (let round = 1; round <= 3; round += 1) {
      const before = await refreshes();
      expire();
      // The first process waits for its answer as long as the other takes to start.
      const slow = await server.intercept({ grant: "refresh_token" }, { delay: 1500 });
      const asked = turn();
      await slow.arrived;
      const token = await plugin.accessToken(config);
      await asked;
      assert.equal(token, file().profiles[profileId].access);
      assert.equal(await refreshes(), before + 1, `round ${round}: the host was first`);
      expire();
      const again = plugin.accessToken(config);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await Promise.all([again, turn()]);
      assert.equal(await again, file().profiles[profileId].access);
      assert.equal(await refreshes(), before + 2, `round ${round}: the plugin was first`);
      await slow.remove();
    }
  });

  await t.test("both write at once: nothing that either wrote is lost", async () => {
    const order = ["models", "auth", "order", "set", "--provider", provider, profileId];
    const writing = Promise.all([host.succeed(order), turn(), host.succeed(order)]);
    for (let nth = 1; nth <= 20; nth += 1) {
      await importToken({ ...config, profileId: `team:${nth}` }, { access: `t${nth}` });
    }
    await writing;
    const { profiles, order: kept } = file();
    assert.deepEqual(kept[provider], [profileId]);
    for (let nth = 1; nth <= 20; nth += 1) assert.equal(profiles[`team:${nth}`].token, `t${nth}`);
    assert.equal(await plugin.accessToken(config), profiles[profileId].access);
    const { stdout } = await host.succeed(["models", "auth", "order", "get", "--provider", provider, "--json"]);
    assert.deepEqual(JSON.parse(stdout.slice(stdout.indexOf("{"))).order, [profileId]);
  });
  assert.equal((await server.requests({ grant: "refresh_token" })).filter((it) => it.status !== 200).length, 0);
}

/** The obedient model, behind a provider that wants a login. */
function obedientAs(name: string, model: ModelServer): object {
  const configuration = structuredClone(model.configuration) as {
    models: { providers: Record<string, Record<string, unknown>> };
    agents: { defaults: { model: { primary: string } } };
    tools?: unknown;
  };
  const { apiKey: _, ...obedient } = configuration.models.providers.obedient ?? {};
  configuration.models.providers = { [name]: obedient };
  configuration.agents.defaults.model.primary = `${name}/obedient-1`;
  delete configuration.tools;
  return configuration;
}
