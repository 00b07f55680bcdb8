/** The kit: a login in the plugin's own words and commands, what becomes of it, and where it may be sent. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { importToken } from "../index.js";
import {
  browserAuthMethod,
  changesChannel,
  type LoginChange,
  type PluginAuthOptions,
  type PluginCommand,
  pluginAuth,
  refreshOAuth,
} from "../plugin/index.ts";
import { FakeHost, type FakeHostOptions } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, clients } from "./support/authorization-server.ts";
import { approve } from "./support/browser-login.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

function offline(t: Lifetime, more: Partial<PluginAuthOptions> = {}, host: FakeHostOptions = {}) {
  const home = TempHome.create(t);
  const fake = new FakeHost({ stateDir: home.stateDir, ...host });
  const auth = pluginAuth(fake.api, { issuer: "https://auth.example.com", ...more });
  return { home, host: fake, auth, config: { pluginId: "my-memory", stateDir: home.stateDir } };
}

test("auth.login, auth.logout and auth.config need no second config; account and team are known afterwards", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { pluginId: _, stateDir: _dir, ...options } = configFor(server, home.stateDir, clients.public);
  const host = new FakeHost({ stateDir: home.stateDir });
  const auth = pluginAuth(host.api, {
    ...options,
    tokenResponse: ["team", "missing"],
    authorizationParameters: { actor: "app" },
  });
  assert.equal(auth.config().pluginId, "my-memory");
  const claims = Buffer.from(JSON.stringify({ sub: "u1", name: "Ada\u202e Lovelace", email: "ada@example.com" }));
  await server.intercept(
    { grant: "device_code" },
    {
      edit: {
        id_token: `e30.${claims.toString("base64url")}.x`,
        team: { id: "T1", names: ["a", 7, null], access_token: "xoxb-canary", bot: { secret_key: "canary", on: true } },
        other: "canary",
      },
    },
  );
  const person = new Person();
  const after = await auth.login({
    onVerification: (verification) => person.approve(verification.verificationUriComplete as string),
  });
  assert.deepEqual(after.account, { id: "u1", name: "Ada Lovelace", email: "ada@example.com" });
  assert.deepEqual(after.tokenResponse, { team: { id: "T1", names: ["a", 7], bot: { on: true } } });
  const [begun] = await server.requests({ endpoint: "device_authorization" });
  assert.equal(begun?.form?.actor, "app");
  for (const poll of await server.requests({ grant: "device_code" })) {
    assert.equal(poll.form?.actor, undefined);
  }
  // A refresh that says nothing of it changes nothing.
  await expireLogin(auth.config());
  assert.ok(await auth.getValidAccessToken());
  const later = await auth.status();
  assert.deepEqual([later.account, later.tokenResponse], [after.account, after.tokenResponse]);
  assert.doesNotMatch(JSON.stringify(later), /canary/);
  assert.equal((await auth.logout()).removed, true);
  assert.equal((await auth.status()).state, "logged_out");
  await rejection(auth.login({ ...({} as { onVerification(): void }) }), "INVALID_CONFIG");
});

test("no member that holds a token can be asked for", async (t) => {
  const { auth } = offline(t, { tokenResponse: ["refresh_token"] });
  await rejection(auth.status(), "INVALID_CONFIG");
});

test("messages: texts with facts in them, or a function; what it leaves out is the kit's", async (t) => {
  const texts = offline(t, { messages: { loginNeeded: "Bitte anmelden bei {title}: {advice}. {unknown}" } });
  await assert.rejects(texts.auth.getValidAccessToken(), (error: Error) => {
    assert.equal(
      error.message,
      "Bitte anmelden bei My Memory: run `openclaw my-memory login` in a terminal. {unknown}",
    );
    assert.match(error.stack ?? "", /Bitte anmelden/);
    return true;
  });

  const seen: unknown[] = [];
  const words = offline(t, {
    messages(name, { account, text }) {
      seen.push([name, account]);
      return name === "loginNeeded" ? `(${text})` : undefined;
    },
  });
  await assert.rejects(words.auth.account("work").getValidAccessToken(), {
    message: "(My Memory needs a login: run `openclaw my-memory login --account work` in a terminal, then try again.)",
  });
  assert.deepEqual(seen, [["loginNeeded", "work"]]);
  const broken = offline(t, {
    messages: () => {
      throw new Error("broken");
    },
  });
  await assert.rejects(broken.auth.getValidAccessToken(), { message: /^My Memory needs a login: run/ });
});

test("what becomes of a login is heard, whichever process does it, before its token is used", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = { ...configFor(server, home.stateDir, clients.public), pluginId: "my-memory" };
  const { pluginId: _, stateDir: _dir, ...options } = config;
  const auth = pluginAuth(new FakeHost({ stateDir: home.stateDir }).api, options);
  const heard: string[] = [];
  let wake = () => {};
  const all = async (expected: string[]) => {
    while (heard.length < expected.length) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    assert.deepEqual(heard.splice(0), expected);
  };
  const published: unknown[] = [];
  const note = (message: unknown) => published.push(message);
  subscribe(changesChannel, note);
  t.after(() => unsubscribe(changesChannel, note));
  const stop = auth.onChange(({ type, profile, account, ...rest }: LoginChange) => {
    assert.deepEqual(Object.keys(rest), ["pluginId"]);
    heard.push(`${type} ${profile}`);
    wake();
  });
  await auth.status();

  await grantedLogin(config);
  const other = await PluginProcess.start(t, { env: home.env() });
  await all(["logged_in default"]);
  await expireLogin(config);
  await other.accessToken(config);
  // At the next call at the latest.
  const token = await auth.getValidAccessToken();
  assert.ok(token);
  assert.ok(heard.includes("refreshed default"), `${heard}`);
  heard.splice(0);
  await importToken({ ...config, profile: "work" }, { access: "w" });
  await all(["logged_in work"]);
  await other.call("logout", [config]);
  await assert.rejects(auth.getValidAccessToken(), { code: "LOGIN_REQUIRED" });
  await all(["logged_out default"]);
  stop();
  await auth.account("work").logout();
  assert.deepEqual(heard, []);
  assert.doesNotMatch(JSON.stringify(published), new RegExp(token));
  assert.ok(published.length >= 4);
});

test("a change by a command of the kit, or by the package's own function, is heard before that ends", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = { ...configFor(server, home.stateDir, clients.public), pluginId: "my-memory" };
  const { pluginId: _, stateDir: _dir, ...options } = config;
  const host = new FakeHost({ stateDir: home.stateDir });
  const auth = pluginAuth(host.api, options);
  const heard: string[] = [];
  t.after(auth.onChange(({ type, profile }) => heard.push(`${type} ${profile}`)));
  await auth.status();
  await importToken(config, { access: "a" });
  assert.deepEqual(heard.splice(0), ["logged_in default"]);
  await host.run("my-memory logout");
  assert.deepEqual(heard.splice(0), ["logged_out default"]);
  await importToken(config, { access: "a" });
  heard.splice(0);
  await host.call("my-memory.logout");
  assert.deepEqual(heard, ["logged_out default"]);
});

test("a title that is none is refused by its own name; gateway methods are called after the command", (t) => {
  const { api } = new FakeHost();
  assert.throws(() => pluginAuth(api, { issuer: "https://auth.example.com", title: 7 as never }), {
    name: "TypeError",
    message: /`title` must be/,
  });
  const { host } = offline(t, { command: "mem" });
  assert.ok(host.actions.has("mem login"));
  assert.deepEqual(
    [...host.methods.keys()].filter((name) => !name.startsWith("mem.")),
    [],
  );
});

test("a command tree of one's own: the hint names it, or what loginCommand says", async (t) => {
  const { auth } = offline(t, { command: false });
  await assert.rejects(auth.getValidAccessToken(), { message: /gateway call my-memory\.login/ });
  const host: PluginCommand = command("openclaw");
  auth.addCommands(host.command("memory").command("auth"));
  await assert.rejects(auth.getValidAccessToken(), { message: /run `openclaw memory auth login` in/ });

  const said = offline(t, { command: false, loginCommand: "{host} memory sign-in" });
  await assert.rejects(said.auth.getValidAccessToken(), { message: /run `openclaw memory sign-in` in/ });
  await assert.rejects(said.auth.account("work").getValidAccessToken(), {
    message: /run `openclaw memory sign-in --account work` in/,
  });
  const whole = offline(t, { loginCommand: (account) => `make login WHO=${account}` });
  await assert.rejects(whole.auth.account("work").getValidAccessToken(), { message: /run `make login WHO=work` in/ });
});

/** A command as commander's knows its name and its parent. */
function command(name: string, parent: PluginCommand | null = null): PluginCommand {
  const made: PluginCommand = {
    name: () => name,
    parent,
    command: (child) => command(child, made),
    description: () => made,
    option: () => made,
    action: () => made,
  };
  return made;
}

test("http on another machine takes the token only where allowHttp names the origin, and is warned of", async (t) => {
  const seen: (string | undefined)[] = [];
  const api = http.createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end("ok");
  });
  api.listen(0, "0.0.0.0");
  await once(api, "listening");
  t.after(() => api.close());
  // An address of this machine, but no loopback by its name.
  const { port } = api.address() as AddressInfo;
  const origin = `http://0.0.0.0:${port}`;
  const refusing = offline(t, { token: { value: "the-token" } });
  await assert.rejects(refusing.auth.fetch(`${origin}/x`), { message: new RegExp(`allowHttp: \\["${origin}"\\]`) });
  const { auth, host } = offline(t, { token: { value: "the-token" }, origins: [origin], allowHttp: [origin] });
  assert.equal(await (await auth.fetch(`${origin}/x`)).text(), "ok");
  assert.deepEqual(seen, ["Bearer the-token"]);
  assert.deepEqual((await auth.status()).unencrypted, [origin]);
  assert.deepEqual((await host.call("my-memory.status")).unencrypted, [origin]);
  const { checks } = (await host.call("my-memory.doctor")) as { checks: { name: string; level: string }[] };
  assert.ok(checks.some(({ name, level }) => name === "http" && level === "warning"));
  for (const allowHttp of [["api:8080"], ["https://api"], ["http://api/x"], ["http://*.lan"], "http://api"]) {
    assert.throws(() => offline(t, { allowHttp: allowHttp as string[] }), { code: "INVALID_CONFIG" });
  }
});

test("a provider's login through the browser, refreshed by the same options", async (t) => {
  const server = await AuthorizationServer.start(t);
  const options = {
    provider: "my-model",
    issuer: server.issuer,
    scopes: ["memory", "offline_access"],
    redirectUri: "http://127.0.0.1/callback",
  };
  const told: string[] = [];
  const method = browserAuthMethod(options);
  assert.equal(method.kind, "oauth");
  const { profiles } = await method.run({
    prompter: {
      note: async (message: string) => void told.push(message),
      text: () => new Promise(() => {}),
      progress: () => ({ update() {}, stop: (message: string) => void told.push(message) }),
    },
    openUrl: (url: string) => approve({ url }),
  });
  const [profile] = profiles;
  assert.equal(profile?.profileId, "my-model:default");
  assert.equal(told.at(-1), "Approved.");
  const { credential } = profile as NonNullable<typeof profile>;
  assert.ok(credential.access && credential.refresh && credential.clientId && credential.tokenEndpoint);
  const renewed = await refreshOAuth(options)(credential);
  assert.notEqual(renewed.access, credential.access);
});
