/** Several accounts of one plugin: the account of a call, and the account that needs a login. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  type AuthConfig,
  getValidAccessToken,
  importToken,
  listProfiles,
  login,
  logout,
  profileOrder,
  status,
} from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, complete, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

/** A server, and the accounts that are logged in at it. */
async function accounts(t: Lifetime, ...profiles: string[]) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = (more: Partial<AuthConfig> = {}) => configFor(server, home.stateDir, more);
  const tokens: Record<string, string> = {};
  for (const profile of profiles) {
    await grantedLogin(config({ profile }));
    tokens[profile] = await getValidAccessToken(config({ profile }));
  }
  return { server, home, config, tokens };
}

test("profile, else the config's order, else the stored one, else default; ids everywhere", async (t) => {
  const { home, config, tokens } = await accounts(t, "default", "home", "work");
  assert.equal(await getValidAccessToken(config()), tokens.default);
  assert.equal(await profileOrder(config()), null);
  assert.deepEqual(await profileOrder(config(), ["memory:work", "home"]), ["work", "home"]);
  assert.equal(await getValidAccessToken(config()), tokens.work);
  const other = await PluginProcess.start(t, { env: home.env() });
  assert.equal(await other.accessToken(config()), tokens.work);
  assert.equal(await getValidAccessToken(config({ order: ["memory:home", "work"] })), tokens.home);
  assert.equal(await getValidAccessToken(config({ order: [] })), tokens.work);
  const changing = config({ order: ["home"] });
  assert.equal(await getValidAccessToken(changing), tokens.home);
  changing.order = ["work"];
  assert.equal(await getValidAccessToken(changing), tokens.work);
  assert.equal(await getValidAccessToken(config({ order: ["home"], profile: "memory:default" })), tokens.default);
  assert.deepEqual(
    (await listProfiles(config())).map(({ profile }) => profile),
    ["default", "home", "work"],
  );
  for (const wrong of [{ profile: "notes:work" }, { order: ["work", "notes:work"] }, { order: ["work", "work"] }]) {
    const { message } = await rejection(getValidAccessToken(config(wrong)), "INVALID_CONFIG");
    assert.match(message, /work/);
  }
  await rejection(profileOrder(config(), ["notes:work"]), "INVALID_CONFIG");
  await rejection(profileOrder(config(), "work" as never), "INVALID_CONFIG");
  await rejection(profileOrder(config(), [7] as never), "INVALID_CONFIG");
  assert.deepEqual(await profileOrder(config()), ["work", "home"]);
  assert.equal(await profileOrder(config(), null), null);
  assert.equal(await getValidAccessToken(config()), tokens.default);
});

test("login, importToken and logout mean the first of the order", async (t) => {
  const { config, tokens } = await accounts(t, "home");
  const ordered = config({ order: ["work", "home"] });
  assert.deepEqual(await logout(ordered), { removed: false, revoked: false });
  assert.equal(await getValidAccessToken(ordered), tokens.home);
  const { profile } = await login(ordered, {
    onVerification: (verification) => new Person().approve(complete(verification)),
  });
  assert.equal(profile, "work");
  // In this process at the very next call.
  const atWork = await getValidAccessToken(ordered);
  assert.notEqual(atWork, tokens.home);
  assert.equal(atWork, await getValidAccessToken(config({ profile: "work" })));
  assert.equal((await logout(ordered)).removed, true);
  assert.equal(await getValidAccessToken(ordered), tokens.home);
  assert.equal((await importToken(ordered, { access: "pasted" })).profile, "work");
  assert.equal(await getValidAccessToken(ordered), "pasted");
});

test("who needs a login is passed over, within the call in which the server refuses; status says who and why", async (t) => {
  const { server, config, tokens } = await accounts(t, "refused");
  const ordered = config({ order: ["nobody", "refused", "good"] });
  await server.revokeLogins();
  await expireLogin(config({ profile: "refused" }));
  await grantedLogin(config({ profile: "good" }));
  tokens.good = await getValidAccessToken(config({ profile: "good" }));
  assert.equal(await getValidAccessToken(ordered), tokens.good);
  assert.equal(await getValidAccessToken(ordered), tokens.good);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1, "the refusal is remembered");
  const found = await status(ordered);
  assert.equal(found.profile, "good");
  assert.deepEqual(
    found.skipped?.map(({ profile, state }) => [profile, state]),
    [
      ["nobody", "logged_out"],
      ["refused", "login_required"],
    ],
  );
  assert.match(found.skipped?.[0]?.message ?? "", /Nobody is logged in to memory \(profile nobody\)/);
  assert.equal((await status(config({ profile: "good" }))).skipped, undefined);

  await logout(config({ profile: "good" }));
  const { message } = await rejection(getValidAccessToken(ordered), "LOGIN_REQUIRED");
  assert.match(message, /profile nobody/);
  const none = await status(ordered);
  assert.equal(none.profile, "nobody");
  assert.deepEqual(
    none.skipped?.map(({ profile }) => profile),
    ["refused", "good"],
  );
});

test("status names each account that is passed over in its own message, whatever its name is", async (t) => {
  const { config } = await accounts(t, "good");
  const folder = dirname((await status(config({ profile: "good" }))).path);
  const ended = ["over", "ended"];
  for (const name of ended) {
    const file = {
      version: 1,
      access: "a",
      expires: 1,
      createdAt: 1,
      refreshedAt: 1,
      tokenType: "Bearer",
      imported: true,
    };
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(file), { mode: 0o600 });
  }
  const names = ["a", "in", "over", "default", "Nobody", 'q"x', "größe 1", "ended", "(profile b)", "first", "z"];
  const { skipped } = await status(config({ order: [...names, "good"] }));
  const told = (name: string) =>
    ended.includes(name)
      ? `The login of memory (profile ${name}) has ended and cannot be refreshed. Log in again.`
      : `Nobody is logged in to memory${name === "default" ? "" : ` (profile ${name})`}. Log in first.`;
  assert.deepEqual(
    skipped,
    names.map((profile) => ({
      profile,
      state: ended.includes(profile) ? "expired" : "logged_out",
      message: told(profile),
    })),
  );
});

test("a network that fails does not lead to another account", async (t) => {
  const { server, config } = await accounts(t, "work", "home");
  const ordered = config({ order: ["work", "home"] });
  await expireLogin(config({ profile: "work" }));
  await server.stop();
  await rejection(getValidAccessToken(ordered), "NETWORK");
  assert.equal((await status(ordered)).profile, "work");
});

test("another process logs the preferred account out, and in again: this one follows without a restart", async (t) => {
  const { server, home, config, tokens } = await accounts(t, "work", "home");
  const ordered = config({ order: ["work", "home"] });
  const running = await PluginProcess.start(t, { env: home.env() });
  assert.equal(await running.accessToken(ordered), tokens.work);
  const other = await PluginProcess.start(t, { env: home.env() });
  await other.call("logout", [config({ profile: "work" })]);
  // The account in use is checked at every call.
  assert.equal(await running.accessToken(ordered), tokens.home);
  await approvedLogin(config({ profile: "work" }));
  const work = await getValidAccessToken(config({ profile: "work" }));
  // A skipped account is checked once a second.
  while ((await running.accessToken(ordered)) !== work) {}
  await other.call("profileOrder", [config(), ["home", "work"]]);
  assert.equal(await running.accessToken(ordered), work, "the config's own order goes before the stored one");
  assert.equal(await running.accessToken(config()), tokens.home);
  await other.call("profileOrder", [config(), ["work", "home"]]);
  while ((await running.accessToken(config())) !== work) {}
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 0);
});

test("a login from before there was an order, and one written by hand, are used by it without a new login", async (t) => {
  const { server, home, config, tokens } = await accounts(t, "default");
  await profileOrder(config(), ["work", "default"]);
  assert.equal(await getValidAccessToken(config()), tokens.default);

  const credentials = join(home.stateDir, "extensions", "notes", "credentials.json");
  mkdirSync(dirname(credentials), { recursive: true });
  writeFileSync(credentials, JSON.stringify({ access: "by hand" }));
  const byHand = configFor(server, home.stateDir, { pluginId: "notes", order: ["work", "default"] });
  assert.equal((await status(byHand)).profile, "default");
  assert.equal(await getValidAccessToken(byHand), "by hand");
  assert.deepEqual(readdirSync(dirname(credentials)), ["credentials.json.adopted"]);
});

test("with an order a fresh token is one and the same promise, and starts no thread", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", stateDir: home.stateDir, order: ["nobody", "work"] };
  await importToken({ pluginId: "memory", stateDir: home.stateDir, profile: "work" }, { access: "token-at-work" });
  const child = Child.start(t, "fresh-calls.mjs", { env: home.env(), args: [JSON.stringify(config), "1000"] });
  const { promises, started, token } = await child.event("asked");
  assert.equal(token, "token-at-work");
  assert.ok(Number(promises) <= 60, `${promises} promises for 1000 calls`);
  assert.equal(started, 0);
});

test("processes that are killed while they write the order, two at a time: always a whole one", async (t) => {
  const home = TempHome.create(t);
  const config = { pluginId: "memory", stateDir: home.stateDir };
  const folder = dirname(home.credentialPath("memory"));
  const orders = [1, 2].map((side) => Array.from({ length: 50 }, (_, place) => `side ${side} account ${place}`));
  for (let round = 0; round < 15; round += 1) {
    const writers = orders.map((order) =>
      Child.start(t, "order-writer.mjs", { env: home.env(), args: [JSON.stringify(config), JSON.stringify(order)] }),
    );
    await Promise.all(writers.map((writer) => writer.event("written")));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    for (const writer of writers) {
      writer.signal("SIGKILL");
    }
    await Promise.all(writers.map((writer) => writer.exit));
    const order = await profileOrder(config);
    assert.ok(orders.some((whole) => JSON.stringify(whole) === JSON.stringify(order)));
  }
  assert.deepEqual(await profileOrder(config, ["work"]), ["work"]);
  assert.deepEqual(readdirSync(folder).sort(), [".order.json", ".order.json.lock"]);
  assert.equal(JSON.parse(readFileSync(join(folder, ".order.json"), "utf8")).version, 1);
});
