/** The plugin kit: the service that keeps logins fresh, and the auth method for hosts that keep tokens themselves. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { getValidAccessToken, profileOrder, status } from "../index.js";
import {
  type DeviceCodeAuthOptions,
  deviceCodeAuthMethod,
  type HostCredential,
  pluginAuth,
  refreshOAuth,
} from "../plugin/index.ts";
import { dueIn } from "../plugin/keep-fresh.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { ForeignFile } from "./support/foreign-file.ts";
import { approvedLogin, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { MapStore } from "./support/map-store.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { Person } from "./support/person.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const minute = 60_000;

test("the service renews what is due", async (t) => {
  const server = await AuthorizationServer.start(t, { accessTokenTtl: 4 });
  const home = TempHome.create(t);
  const { pluginId: _id, stateDir: _stateDir, ...options } = configFor(server, home.stateDir);
  await grantedLogin({ ...configFor(server, home.stateDir), pluginId: "my-memory" });
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, options);
  const [service] = host.services;
  t.after(() => service?.stop?.());
  // Stopped and started again, it goes on once.
  service?.start();
  service?.stop?.();
  service?.start();
  const refresh = await server.request({ grant: "refresh_token" });
  assert.equal(refresh.status, 200);
  assert.deepEqual(host.log, []);
});

for (const kept of ["in a file", "in a given store"]) {
  test(`the service stops when the refresh that is under way is saved, ${kept}`, async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    const map = new MapStore();
    const config = {
      ...configFor(server, home.stateDir),
      pluginId: "my-memory",
      ...(kept !== "in a file" && { store: map }),
    };
    const expiring = await server.intercept({ grant: "device_code" }, { edit: { expires_in: 1 } });
    await approvedLogin(config);
    await expiring.remove();
    const { expiresAt = 0 } = await status(config);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiresAt - Date.now()) + 5));
    const host = new FakeHost({ stateDir: home.stateDir });
    const { pluginId: _id, ...options } = config;
    pluginAuth(host.api, options);
    const [service] = host.services;
    service?.start();
    const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    // Nobody waits for it any more: as in the last quarter of a token's life.
    const given = new AbortController();
    const call = getValidAccessToken(config, { signal: given.signal });
    await held.arrived;
    given.abort();
    await rejection(call, "ABORTED");
    const refresh = () =>
      kept === "in a file"
        ? JSON.parse(readFileSync(home.credentialPath("my-memory"), "utf8")).refresh
        : map.json("my-memory/default").refresh;
    const spent = refresh();
    const stopped = service?.stop?.();
    await held.remove();
    await stopped;
    assert.notEqual(refresh(), spent);
    // With nothing under way it does not wait.
    await service?.stop?.();
  });
}

test("the service stops in time for its host where the server never answers", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = { ...configFor(server, home.stateDir), pluginId: "my-memory" };
  await grantedLogin(config);
  await expireLogin(config);
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, config);
  const [service] = host.services;
  service?.start();
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "before" });
  const call = getValidAccessToken(config);
  await held.arrived;
  await service?.stop?.();
  await held.remove();
  await call;
});

for (const inStore of [false, true]) {
  test(`a registration whose service was stopped is let go of${inStore ? ", and its store" : ""}`, async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    await grantedLogin(configFor(server, home.stateDir));
    const child = Child.start(t, "registrations.mjs", {
      env: home.env(),
      nodeOptions: ["--expose-gc"],
      args: [JSON.stringify({ stateDir: home.stateDir, issuer: server.issuer, inStore })],
    });
    const { alive, of } = await child.event("alive");
    assert.deepEqual({ alive, of }, { alive: 0, of: 20 });
    assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
  });
}

test("of the copies that a host has replaced, and of their contexts, only the first is kept: it has loaded the image", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  await grantedLogin(configFor(server, home.stateDir));
  const folders = Array.from({ length: 5 }, (_, nth) => {
    return copyOfThePackage(home, `copy-${nth}`, (name) => nth === 0 || !name.endsWith(".node"));
  });
  const child = Child.start(t, "replaced-copies.mjs", {
    env: home.env(),
    nodeOptions: ["--expose-gc"],
    args: [JSON.stringify({ stateDir: home.stateDir, issuer: server.issuer, folders })],
  });
  const { left, contexts, modules } = await child.event("left");
  assert.ok((modules as number) > 30);
  // The last one is not replaced.
  assert.deepEqual({ left, contexts }, { left: [0, 4], contexts: [0, 4] });
});

test("the service warns once when a login is needed", async (t) => {
  const home = TempHome.create(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, { issuer: "https://auth.example.com" });
  const perAgent = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(perAgent.api, { issuer: "https://auth.example.com", perAgent: true });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const service of [...host.services, ...perAgent.services]) {
    service.start();
  }
  for (let round = 0; round < 3; round += 1) {
    t.mock.timers.tick(12 * minute);
    // The store answers on a thread of its own.
    for (let turn = 0; turn < 20; turn += 1) {
      await profileOrder({ pluginId: "my-memory", stateDir: home.stateDir, issuer: "https://auth.example.com" });
    }
  }
  assert.deepEqual(host.log, ["warning: My Memory needs a login: run `openclaw my-memory login` in a terminal."]);
  assert.deepEqual(perAgent.log, [], "an agent that never logged in needs none");
  for (const service of [...host.services, ...perAgent.services]) {
    service.stop?.();
  }
});

test("the service renews a login of another provider in the host's file", async (t) => {
  const file = await ForeignFile.create(t, "auth-profiles", { server: { accessTokenTtl: 1 } });
  // This package's own note holds the time since which a token lives.
  const token = await getValidAccessToken({ ...file.config, pluginId: "my-memory" });
  const { pluginId: _id, stateDir = "", ...config } = file.config;
  const host = new FakeHost({ stateDir });
  pluginAuth(host.api, { ...config, profileId: "memory" });
  const [service] = host.services;
  t.after(() => service?.stop?.());
  service?.start();
  while (host.log.length === 0 && file.tokens().access === token) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(host.log, []);
  assert.equal((await file.refreshes()).length, 2);
});

test("what keeps the service from its work is logged, once for each kind", async (t) => {
  const home = TempHome.create(t);
  const host = new FakeHost({ stateDir: home.stateDir });
  const config = { pluginId: "my-memory", stateDir: home.stateDir, issuer: "https://auth.example.com" };
  pluginAuth(host.api, { issuer: config.issuer, refreshBufferMs: -1 });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [service] = host.services;
  service?.start();
  for (let round = 0; round < 3; round += 1) {
    t.mock.timers.tick(12 * minute);
    // The store answers on a thread of its own.
    for (let turn = 0; turn < 20; turn += 1) {
      await profileOrder(config);
    }
  }
  service?.stop?.();
  assert.equal(host.log.length, 1, `${host.log}`);
  assert.match(
    host.log[0] ?? "",
    /^warning: the login to My Memory cannot be kept fresh \(INVALID_CONFIG\): .*refreshBufferMs/,
  );
});

/** Only the types: the host keeps the tokens, so there is no place for options that say where. */
export function noPlaceForAStore(auth: DeviceCodeAuthOptions): void {
  // @ts-expect-error
  auth.store;
  // @ts-expect-error
  auth.credentialsFormat;
  // @ts-expect-error
  auth.agentId;
}

test("when a token is due: in its last quarter, at most the buffer before its end", () => {
  const now = Date.now();
  const token = { state: "valid" as const, profile: "default", path: "/x", refreshable: true, createdAt: now };
  const config = { pluginId: "my-memory" };
  const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1000, `${actual}`);
  near(dueIn({ ...token, expiresAt: now + 60 * minute }, config), 55 * minute);
  near(dueIn({ ...token, expiresAt: now + 8 * minute }, config), 6 * minute);
  near(dueIn({ ...token, expiresAt: now + 60 * minute }, { ...config, refreshBufferMs: 0 }), 60 * minute);
  near(dueIn({ ...token, expiresAt: now + 60 * minute, refreshable: false }, config), 10 * minute);
  near(dueIn(token, config), 10 * minute);
});

test("the auth method of a provider, and its refresh: a registered client, then ours", async (t) => {
  const server = await AuthorizationServer.start(t);
  const api = await ProtectedApi.start(t, server);
  for (const clientId of [undefined, "public"]) {
    const options = {
      provider: "my-model",
      issuer: server.issuer,
      scopes: ["memory", "offline_access"],
      ...(clientId !== undefined && { clientId }),
      configPatch: { models: {} },
      defaultModel: "my-model/large",
    };
    const method = deviceCodeAuthMethod(options);
    assert.deepEqual([method.id, method.kind], ["device", "device_code"]);
    const said: string[] = [];
    const result = await method.run({
      isRemote: clientId === undefined,
      prompter: {
        note: async (message: string) => void said.push(message),
        progress: () => ({ update: () => {}, stop: (message?: string) => void said.push(message ?? "") }),
      },
      openUrl: async (url: string) => {
        said.push("opened");
        await new Person().approve(url);
      },
      ...(clientId === undefined && {
        prompter: {
          note: async () => assert.fail("a host that shows codes shows this one"),
          deviceCode: async ({ code }: { code: string }) => {
            said.push("code");
            await new Person().approve(`${server.issuer}/device?user_code=${code}`);
          },
          progress: () => ({ update: () => {}, stop: (message?: string) => void said.push(message ?? "") }),
        },
      }),
    });
    const [profile] = result.profiles;
    const credential = profile?.credential as HostCredential;
    assert.equal(profile?.profileId, "my-model:default");
    assert.deepEqual([credential.type, credential.provider], ["oauth", "my-model"]);
    assert.deepEqual([result.configPatch, result.defaultModel], [{ models: {} }, "my-model/large"]);
    assert.ok(credential.expires > Date.now());
    assert.equal(said.at(-1), "Approved.");
    assert.equal((await api.call(credential.access)).status, 200);

    const refreshed = await refreshOAuth(options)({ ...credential, email: "ada@example.com" });
    assert.notEqual(refreshed.access, credential.access);
    assert.equal(refreshed.email, "ada@example.com");
    assert.equal((await api.call(refreshed.access)).status, 200);
    await rejection(refreshOAuth(options)(credential), "LOGIN_REQUIRED");
  }
});
