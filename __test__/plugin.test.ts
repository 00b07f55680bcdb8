/** The plugin kit: registration, accounts, tokens and requests that carry them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { test } from "node:test";
import { AuthError, getValidAccessToken } from "../index.js";
import { defaultAgent, hostName, inTerminal, loginCommand, strayProfile } from "../plugin/host.ts";
import { configSchema, type PluginAuthOptions, pluginAuth, uiHints } from "../plugin/index.ts";
import { FakeHost, type FakeHostOptions } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, type AuthorizationServerOptions } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { grantedLogin } from "./support/login.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const types = new URL("../index.d.ts", import.meta.url);

interface Given {
  server?: AuthorizationServerOptions;
  host?: FakeHostOptions;
  options?: Partial<PluginAuthOptions>;
}

async function plugin(t: Lifetime, { server: serverOptions, host: hostOptions, options }: Given = {}) {
  const server = await AuthorizationServer.start(t, serverOptions);
  const home = TempHome.create(t);
  const host = new FakeHost({ stateDir: home.stateDir, ...hostOptions });
  const auth = pluginAuth(host.api, {
    issuer: server.issuer,
    clientId: "public",
    scopes: ["memory", "offline_access"],
    ...options,
  });
  /** The credential in the store. */
  const stored = (profile = "default") => ({
    pluginId: "my-memory",
    profile,
    issuer: server.issuer,
    clientId: "public",
    scopes: ["memory", "offline_access"],
    stateDir: home.stateDir,
  });
  return { server, home, host, auth, stored };
}

test("what is wrong with the call itself is said in words", async () => {
  const options = { issuer: "https://auth.example.com" };
  // Programs decide by these, as with every rejection of the package.
  const kind = { name: "TypeError", code: "INVALID_CONFIG", retryable: false, needsLogin: false };
  // @ts-expect-error A plugin in JavaScript may forget it.
  assert.throws(() => pluginAuth(undefined, options), {
    ...kind,
    message: /takes the `api` that the host gives/,
  });
  // @ts-expect-error Likewise.
  assert.throws(() => pluginAuth(new FakeHost({ stateDir: null }).api), {
    ...kind,
    message: /options as its second argument/,
  });
  for (const [wrong, message] of [
    [{ resource: "https://api.example.com" }, "pluginAuth: `resource` must be a list of texts."],
    [{ title: " " }, "pluginAuth: `title` must be the name of the plugin, as its users call it."],
    [{ profile: "a", perAgent: true }, /^pluginAuth takes either profile or perAgent: /],
    [{ origins: ["*.com"] }, /^`origins` holds "\*\.com": give /],
    [{ origins: "https://api.example.com" }, "pluginAuth: `origins` must be a list of texts."],
    [{ command: true }, "pluginAuth: `command` must be a text, or false."],
    [{ chat: "yes" }, "pluginAuth: `chat` must be true, false or an object."],
    [{ isRejected: true }, "pluginAuth: `isRejected` must be a function."],
    [{ origin: ["https://api.example.com"] }, "pluginAuth knows no option `origin`: did you mean `origins`?"],
    [{ keepfresh: false }, "pluginAuth knows no option `keepfresh`: did you mean `keepFresh`?"],
    [{ mesages: {} }, "pluginAuth knows no option `mesages`: did you mean `messages`?"],
    [{ caht: true }, "pluginAuth knows no option `caht`: did you mean `chat`?"],
    [{ callback_route: true }, "pluginAuth knows no option `callback_route`: did you mean `callbackRoute`?"],
    [
      { messages: { loginneeded: "Log in." } },
      "pluginAuth: `messages` has no member `loginneeded`: did you mean `loginNeeded`?",
    ],
    [
      { messages: { hello: "Hello." } },
      "pluginAuth: `messages` has no member `hello`: known are loginNeeded, loggedIn, loggedOut, notLoggedIn.",
    ],
    [{ messages: { loginNeeded: 5 } }, "pluginAuth: `messages.loginNeeded` must be a text."],
    [{ chat: { who: "anyone" } }, 'pluginAuth: `chat.who` must be "listed", "owners" or a function.'],
    [{ chat: { nmae: "memory" } }, "pluginAuth: `chat` has no member `nmae`: did you mean `name`?"],
    [{ chat: { constructor: "memory" } }, "pluginAuth: `chat` has no member `constructor`: known are name, who."],
  ] as const) {
    const { api } = new FakeHost({ stateDir: null });
    assert.throws(() => pluginAuth(api, { ...options, ...wrong } as object), { ...kind, message });
  }
  // The names of AuthConfig are no typos of the kit's.
  const [, config = ""] = /export interface AuthConfig \{(.*?)\n\}/s.exec(readFileSync(types, "utf8")) ?? [];
  const names = [...config.matchAll(/^ {2}(\w+)\??: /gm)].map(([, name]) => name as string);
  assert.ok(names.length > 30, `${names}`);
  for (const name of names) {
    pluginAuth(new FakeHost({ stateDir: null }).api, { ...options, [name]: undefined } as object);
  }
  const auth = pluginAuth(new FakeHost({ stateDir: null }).api, options);
  // @ts-expect-error A host of old may give no context.
  assert.equal(auth.account(undefined).profile, "default");
  await assert.rejects(auth.fetch("/notes?key=canary"), {
    ...kind,
    message: 'auth.fetch takes a whole URL, such as https://api.example.com/notes; it got "/notes".',
  });
});

test("registering only registers: api.runtime is not touched, and twice is once more of the same", () => {
  const host = new FakeHost({ stateDir: null });
  for (const _mode of ["cli-metadata", "discovery"]) {
    pluginAuth(host.api, { issuer: "https://auth.example.com" });
  }
  assert.equal(host.runtimeReads, 0);
  assert.deepEqual(
    [...host.methods.keys()],
    ["my-memory.login", "my-memory.login.paste", "my-memory.logout", "my-memory.doctor", "my-memory.status"],
  );
  assert.deepEqual(
    [...host.actions.keys()],
    [
      "my-memory login",
      "my-memory logout",
      "my-memory status",
      "my-memory doctor",
      "my-memory accounts",
      "my-memory accounts order get",
      "my-memory accounts order set <accounts...>",
      "my-memory accounts order clear",
      "my-memory move store",
      "my-memory move file",
    ],
  );
  assert.deepEqual(
    host.services.map(({ id }) => id),
    ["my-memory-login", "my-memory-login"],
  );
});

test("a host that has none of the registrations is no obstacle", () => {
  const logger = { info: () => {}, warn: () => {} };
  assert.equal(pluginAuth({ id: "bare", logger }, { issuer: "https://auth.example.com" }).profile, "default");
});

test("command and keepFresh can be left out; the subcommands go to a command of the plugin's own", () => {
  const host = new FakeHost({ stateDir: null });
  const auth = pluginAuth(host.api, { issuer: "https://auth.example.com", command: false, keepFresh: false });
  assert.equal(host.actions.size, 0);
  // The rest of it ends waiting logins.
  assert.deepEqual(
    host.services.map(({ id }) => id),
    ["my-memory-login"],
  );
  assert.equal(host.services[0]?.start(), undefined);
  host.api.registerCli?.(({ program }) => auth.addCommands(program.command("memory")));
  assert.ok(host.actions.has("memory login"));
});

test("where the host does not say where its state is, the package's own rule applies", async () => {
  const host = new FakeHost({ stateDir: null });
  const auth = pluginAuth(host.api, { issuer: "https://auth.example.com" });
  assert.match((await auth.status()).path, /credentials.my-memory.default\.json$/);
  assert.equal(host.runtimeReads, 2, "for the config and for the state");
});

test("the token of the store, and one sentence that names the command when there is none", async (t) => {
  const { auth, stored } = await plugin(t);
  const refused = await rejection(auth.getValidAccessToken(), "LOGIN_REQUIRED");
  assert.equal(
    refused.message,
    "My Memory needs a login: run `openclaw my-memory login` in a terminal, then try again.",
  );
  assert.match(refused.stack ?? "", /My Memory needs a login/);

  await grantedLogin(stored());
  const token = await auth.getValidAccessToken();
  assert.equal(token, await getValidAccessToken(stored()));
  assert.equal((await auth.status()).state, "valid");
});

test("fetch: the token is sent; at a 401 one refresh, one retry, for ten at once", async (t) => {
  const { auth, server, stored } = await plugin(t);
  await grantedLogin(stored());
  const api = await ProtectedApi.start(t, server);
  const url = `${api.origin}/memories`;
  const first = await auth.fetch(url);
  assert.equal(first.status, 200);
  assert.deepEqual(await first.json(), { subject: "ada", memories: ["ada likes tea"] });

  await server.revokeAccessTokens();
  const answers = await Promise.all(Array.from({ length: 10 }, () => auth.fetch(new URL(url))));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);

  await server.revokeLogins();
  const refused = await auth.fetch(url).catch((error: unknown) => error);
  assert.ok(refused instanceof AuthError);
  assert.equal(refused.code, "LOGIN_REQUIRED");
  assert.match(refused.message, /^My Memory needs a login: run `openclaw my-memory login`/);
});

test("fetch: a service that goes on saying 401 is asked twice, and its answer is passed on", async (t) => {
  const { auth, stored } = await plugin(t);
  await grantedLogin(stored());
  const service = await StubServer.start(t, { routes: { "/": { status: 401, body: { sorry: true } } } });
  const answer = await auth.fetch(service.origin, { headers: { "x-own": "kept" } });
  assert.deepEqual([answer.status, await answer.json()], [401, { sorry: true }]);
  assert.deepEqual(
    service.requests.map(({ headers }) => headers["x-own"]),
    ["kept", "kept"],
  );
  assert.notEqual(service.requests[0]?.headers.authorization, service.requests[1]?.headers.authorization);
});

test("fetch: bodies that can be read again are sent again, streams are not", async (t) => {
  const strict = await StubServer.start(t, { routes: { "/": { status: 401 } } });
  const seen: { token: string | undefined; body: string }[] = [];
  const service = await StubServer.start(t, {
    routes: {
      "/": ({ headers, body }) => {
        const known = seen.some(({ token }) => token === headers.authorization);
        seen.push({ token: headers.authorization, body });
        return { status: seen.length % 2 === 1 && !known ? 401 : 200 };
      },
    },
  });
  const { auth, server, stored } = await plugin(t, {
    server: { accessTokenTtl: 600 },
    options: { origins: [service.origin, strict.origin] },
  });
  await grantedLogin(stored());
  const text = await auth.fetch(service.origin, { method: "POST", body: "again" });
  assert.equal(text.status, 200);
  assert.deepEqual(
    seen.map(({ body }) => body),
    ["again", "again"],
  );

  await server.revokeAccessTokens();
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("once"));
      controller.close();
    },
  });
  const before = (await server.requests({ grant: "refresh_token" })).length;
  const streamed = await auth.fetch(strict.origin, { method: "POST", body, duplex: "half" } as RequestInit);
  assert.equal(streamed.status, 401);
  assert.equal(strict.requests.length, 1);
  const request = new Request(strict.origin, { method: "POST", body: "in a Request" });
  assert.equal((await auth.fetch(request)).status, 401);
  assert.deepEqual(
    strict.requests.map((request) => request.body),
    ["once", "in a Request", "in a Request"],
  );
  // It refreshed anyway: the next request finds a valid token.
  assert.equal((await server.requests({ grant: "refresh_token" })).length, before + 2);
});

test("fetch: whatever `fetch` takes as headers and options goes there, and a call that is wrong ends no process", async (t) => {
  const { auth, stored } = await plugin(t);
  await grantedLogin(stored());
  const service = await StubServer.start(t, { routes: { "/": { status: 200 } } });
  for (const headers of [
    [[1, "x"]],
    new Map([[1, "x"]]),
    [new Set(["1", "x"])],
    [
      [["Authorization"], "b"],
      ["1", "x"],
    ],
  ]) {
    assert.equal(
      (await auth.fetch(`${service.origin}/`, { headers: headers as unknown as [string, string][] })).status,
      200,
    );
    const { 1: x, authorization } = service.requests.at(-1)?.headers ?? {};
    assert.equal(x, "x");
    assert.match(`${authorization}`, /^Bearer [^,]+$/);
  }
  // `fetch` reads no member of that name.
  await auth.fetch(`${service.origin}/`, JSON.parse('{"__proto__":{"method":"DELETE"}}'));
  assert.equal(service.requests.at(-1)?.method, "GET");

  const wrong = { scopes: [1n] } as unknown as { scopes: string[] };
  await assert.rejects(auth.fetch(`${service.origin}/`, {}, wrong), TypeError);
  await assert.rejects(auth.authorizationHeaders({ method: "GET", url: service.origin }, wrong), TypeError);
  // A rejection that nobody hears of is reported before the next turn, and would fail this test.
  await new Promise((resolve) => setImmediate(resolve));
});

test("fetch: the token never leaves the machine unencrypted, nor goes along to another origin", async (t) => {
  const { auth, stored } = await plugin(t);
  await grantedLogin(stored());
  await assert.rejects(auth.fetch("http://api.example.com/"), {
    code: "INVALID_CONFIG",
    retryable: false,
    message: /https URLs only .* not to http:\/\/api.example.com\./,
  });
  const other = await StubServer.start(t, { routes: { "/": { status: 200 } } });
  const first = await StubServer.start(t, {
    routes: { "/": { status: 302, headers: { location: other.origin } } },
  });
  assert.equal((await auth.fetch(first.origin)).status, 200);
  assert.ok(first.requests[0]?.headers.authorization);
  assert.equal(other.requests[0]?.headers.authorization, undefined);
  // It has the origin of the service, and is read on this machine.
  await assert.rejects(auth.fetch(`blob:${first.origin}/notes`), /goes to https URLs only/);
});

test("fetch: the caller's signal ends it", async (t) => {
  const { auth, stored } = await plugin(t);
  await grantedLogin(stored());
  const service = http.createServer(() => {});
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  t.after(() => void service.close());
  const { port } = service.address() as { port: number };
  const stop = new AbortController();
  service.once("request", () => stop.abort());
  await assert.rejects(auth.fetch(`http://127.0.0.1:${port}`, { signal: stop.signal }), { name: "AbortError" });
  service.closeAllConnections();
});

test("accounts: by a function of the tool's context, and by name", async (t) => {
  const { auth, stored } = await plugin(t, { options: { profile: ({ sessionKey }) => sessionKey } });
  await grantedLogin(stored("work"));
  assert.ok(await auth.account({ sessionKey: "work" }).getValidAccessToken());
  assert.ok(await auth.account("work").getValidAccessToken());
  const refused = await rejection(auth.account({ sessionKey: "at home" }).getValidAccessToken(), "LOGIN_REQUIRED");
  assert.match(refused.message, /`openclaw my-memory login --account 'at home'`/);
  assert.equal(auth.account({}).profile, "default");
});

test("accounts: one per agent", async (t) => {
  const config = { agents: { list: [{ id: "personal" }, { id: "Office", default: true }] } };
  const { auth, stored } = await plugin(t, { host: { config }, options: { perAgent: true } });
  assert.equal(auth.profile, "office");
  assert.equal(auth.account({ agentId: "personal" }).profile, "personal");
  await grantedLogin(stored("office"));
  assert.ok(await auth.getValidAccessToken());
  const refused = await rejection(auth.account({ agentId: "personal" }).getValidAccessToken(), "LOGIN_REQUIRED");
  assert.match(refused.message, /--account personal`/);
  assert.equal(defaultAgent(undefined), "main");
  assert.equal(defaultAgent({ agents: { list: "odd" } }), "main");
  assert.throws(
    () => pluginAuth(new FakeHost({ stateDir: null }).api, { perAgent: true, profile: "work" }),
    /either profile or perAgent/,
  );
});

test("config: what the user has set goes before what the plugin says", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const pluginConfig = { issuer: server.issuer, clientId: "public", clientSecret: "" };
  const host = new FakeHost({ stateDir: home.stateDir, pluginConfig });
  const auth = pluginAuth(host.api, { issuer: "https://auth.example.com", scopes: ["memory"] });
  const { userCode } = await host.call("my-memory.login");
  assert.match(String(userCode), /\w{4}-\w{4}/);
  await host.call("my-memory.logout");
  assert.equal((await server.requests({ endpoint: "device_authorization" }))[0]?.clientId, "public");
  const wrong = new FakeHost({ stateDir: home.stateDir, pluginConfig: { clientSecret: { source: "env" } } });
  await rejection(pluginAuth(wrong.api, { issuer: server.issuer }).getValidAccessToken(), "INVALID_CONFIG");
  assert.equal(auth.profile, "default");
  assert.deepEqual(Object.keys(configSchema.properties), Object.keys(uiHints));
  assert.equal(uiHints.clientSecret.sensitive, true);
});

test("config: a change counts at the next call, also where the host has registered the plugin with an older one", async (t) => {
  const [before, after] = [await AuthorizationServer.start(t), await AuthorizationServer.start(t)];
  const configuration = (config: object) => ({ plugins: { entries: { "my-memory": { config } } } });
  const old = { issuer: before.issuer, clientId: "of the user" };
  let current: object = configuration(old);
  const { stateDir } = TempHome.create(t);
  // With what the plugin's schema adds, as hosts do.
  const host = new FakeHost({ stateDir, config: current, pluginConfig: { ...old, perAgent: false, byDefault: 1 } });
  Object.defineProperty(host.api, "runtime", {
    get: () => ({ state: { resolveStateDir: () => stateDir }, config: { current: () => current } }),
  });
  const seen: object[] = [];
  const perAgent = (config: Record<string, unknown>) => {
    seen.push(config);
    return config.perAgent === true;
  };
  const auth = pluginAuth(host.api, { scopes: ["memory"], clientId: "public", perAgent });
  const { issuer, clientId, profile } = auth.config();
  assert.deepEqual([issuer, clientId, profile], [before.issuer, "of the user", undefined]);
  assert.equal(auth.config(), auth.config(), "the same object while nothing has changed");

  current = configuration({ issuer: after.issuer, perAgent: true });
  const changed = auth.account({ agentId: "ops" });
  assert.equal(changed.profile, "ops");
  assert.equal(auth.config("ops").clientId, "public", "what was removed counts no more");
  assert.deepEqual(seen.at(-1), { issuer: after.issuer, perAgent: true, byDefault: 1 });
  await grantedLogin(auth.config("ops"));
  assert.ok(await changed.getValidAccessToken());
  assert.equal((await changed.status()).issuer, after.issuer);

  // A host that does not say now, or cannot, has said before.
  const fails = {
    get plugins(): object {
      throw new Error("The configuration is being read.");
    },
  };
  for (const unknown of [{ plugins: {} }, { plugins: { entries: { "my-memory": null } } }, fails]) {
    current = unknown;
    assert.equal(auth.config("ops").issuer, after.issuer);
  }
  // The user has taken the whole member out.
  current = { plugins: { entries: { "my-memory": { enabled: true } } } };
  assert.equal(auth.config().issuer, undefined);
  assert.equal(auth.account({ agentId: "ops" }).profile, "default");
  assert.deepEqual(seen.at(-1), { perAgent: false, byDefault: 1 });
});

test("the command names the host that runs, its profile and the account", () => {
  const line = { command: "my-memory", id: "my-memory", account: undefined };
  assert.equal(loginCommand(line, "openclaw", {}), "openclaw my-memory login");
  assert.equal(loginCommand(line, "moltbot", {}), "moltbot my-memory login");
  assert.equal(loginCommand(line, "clawdbot", {}), "clawdbot gateway call my-memory.login");
  assert.equal(
    loginCommand({ ...line, account: "it's" }, "clawdbot", {
      CLAWDBOT_PROFILE: "dev",
      CLAWDBOT_STATE_DIR: "/home/a/.clawdbot-dev",
    }),
    `clawdbot --profile dev gateway call my-memory.login --params '{"account":"it'\\''s"}'`,
  );
  assert.equal(
    loginCommand({ ...line, account: "work" }, "openclaw", {
      OPENCLAW_PROFILE: "dev",
      OPENCLAW_STATE_DIR: "/home/a/.openclaw-dev",
    }),
    "openclaw --profile dev my-memory login --account work",
  );
  // The variable alone moves no state folder, but `--profile dev` would.
  assert.equal(loginCommand(line, "openclaw", { OPENCLAW_PROFILE: "dev" }), "openclaw my-memory login");
  // Plugin commands are unknown there, and its variables are openclaw's.
  assert.equal(loginCommand(line, "openclaw-cn", {}), "openclaw-cn gateway call my-memory.login");
  assert.equal(
    loginCommand(line, "openclaw-cn", { OPENCLAW_PROFILE: "dev", OPENCLAW_STATE_DIR: "/home/a/.openclaw-dev/" }),
    "openclaw-cn --profile dev gateway call my-memory.login",
  );
  assert.equal(loginCommand(line, "openclaw", { OPENCLAW_PROFILE: "a; rm -rf /" }), "openclaw my-memory login");
  const call = loginCommand({ ...line, command: undefined }, "openclaw", {});
  assert.equal(call, "openclaw gateway call my-memory.login");
  // docs/hosts.md 8
  assert.match(inTerminal(call), /in a terminal \(if it answers `pairing required`: rename the folder `identity`/);
  assert.equal(inTerminal("openclaw-cn gateway call x.login"), "run `openclaw-cn gateway call x.login` in a terminal");
});

test("--profile is the host's before the command, and nobody's behind it", () => {
  const stray = (...words: string[]) => strayProfile(["node", "openclaw.mjs", ...words]);
  assert.equal(stray("my-memory", "logout", "--profile", "work"), "work");
  assert.equal(stray("my-memory", "logout", "--profile=work"), "work");
  assert.equal(stray("my-memory", "logout", "--profile"), "");
  assert.equal(stray("--profile", "dev", "my-memory", "logout"), undefined);
  assert.equal(stray("--profile=dev", "my-memory", "logout"), undefined);
  assert.equal(stray("my-memory", "logout", "--account", "work"), undefined);
});

test("the host is recognized by the name of its process, then by its script, then by its state folder", () => {
  assert.equal(hostName("clawdbot", "", {}), "clawdbot");
  assert.equal(hostName("clawdbot-gateway", "/x/openclaw.mjs", {}), "clawdbot");
  assert.equal(hostName("node", "/usr/bin/moltbot", {}), "moltbot");
  assert.equal(hostName("node", "/lib/node_modules/openclaw/openclaw.mjs", {}), "openclaw");
  assert.equal(hostName("node", "/lib/node_modules/clawdbot/dist/entry.js", {}), "clawdbot");
  assert.equal(hostName("node", "/home/clawdbot/lib/node_modules/openclaw/dist/index.js", {}), "openclaw");
  assert.equal(hostName("node", "C:\\npm\\node_modules\\clawdbot\\dist\\entry.js", {}), "clawdbot");
  assert.equal(hostName("node", "/app/main.js", { CLAWDBOT_STATE_DIR: "/state" }), "clawdbot");
  assert.equal(hostName("node", "/app/main.js", {}), "openclaw");
  // openclaw-cn 2026.1.31 names its process after clawdbot.
  assert.equal(hostName("clawdbot-gateway", "/lib/node_modules/openclaw-cn/dist/entry.js", {}), "openclaw-cn");
  assert.equal(hostName("clawdbot", "/usr/bin/clawdbot-cn", {}), "openclaw-cn");
  assert.equal(hostName("openclaw", "/home/openclaw-cn/lib/node_modules/openclaw/openclaw.mjs", {}), "openclaw");
});
