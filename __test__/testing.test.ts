/** `clawdbot-plugin-auth/testing`: the parts for the tests of plugin authors. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { type AuthConfig, getValidAccessToken, login, logout, type Verification } from "../index.js";
import { type PluginApi, pluginAuth } from "../plugin/index.ts";
import {
  type AuthorizationServerOptions,
  clock,
  fakeHost,
  loggedIn,
  startAuthorizationServer,
} from "../plugin/testing/index.ts";
import { rejection } from "./support/rejection.ts";

process.env.NODE_ENV = "test";

async function world(t: TestContext, options?: AuthorizationServerOptions, more: Partial<AuthConfig> = {}) {
  const server = await startAuthorizationServer(options);
  const host = fakeHost();
  t.after(async () => {
    clock.reset();
    await host.close();
    await server.close();
  });
  const auth = pluginAuth(host.api, { issuer: server.issuer, scopes: ["memory"], ...more });
  const me = () => auth.fetch(`${server.issuer}/userinfo`);
  const grants = () => server.requests.map(({ grant }) => grant).filter((grant) => grant !== undefined);
  return { server, host, auth, me, grants };
}

test("a device login by the command: the client registers itself, polls until it is approved, and calls the service", async (t) => {
  const { server, host, auth, me } = await world(t);
  const ended = host.run("my-memory login --no-open");
  const shown = await host.shown(/[A-Z]{4}-[A-Z]{4}/);
  await server.approve(shown);
  const { output, exitCode } = await ended;
  assert.equal(exitCode, 0, output);
  assert.match(output, /✓ Logged in to My Memory, for memory\./);
  assert.deepEqual(await (await me()).json(), { sub: "ada", name: "Ada Lovelace", email: "ada@example.com" });
  assert.equal((await auth.status()).clientId, "client-1");
  assert.equal(server.requests.find(({ endpoint }) => endpoint === "registration")?.status, 201);

  const status = await host.run("my-memory status --json");
  assert.equal(JSON.parse(status.output).state, "valid");
  const checked = await host.run("my-memory status --account work --check");
  assert.equal(checked.exitCode, 1);
  assert.match(checked.output, /Log in with: openclaw my-memory login --account work/);
  assert.equal(process.exitCode, undefined);
});

test("a login through the browser, approved and denied by the address that is shown", async (t) => {
  const { server, host, me } = await world(t, {}, { flow: "authorization_code" });
  const denied = host.run("my-memory login --no-open");
  await server.deny(await host.shown(/http:\S+authorize\?\S+/));
  assert.match((await denied).output, /denied/i);
  const approved = host.run("my-memory login --no-open");
  const location = await server.approve(`Open ${await host.shown(/http:\S+authorize\?\S+/)} now`);
  assert.match(location ?? "", /^http:\/\/127\.0\.0\.1:\d+\/callback\?code=/);
  const { output, exitCode } = await approved;
  assert.equal(exitCode, 0, output);
  assert.equal((await me()).status, 200);
});

test("an expired login, and a person who denies", async (t) => {
  const { server, auth } = await world(t);
  const begun = (signal?: AbortSignal) =>
    new Promise<{ verification: Verification; outcome: Promise<unknown> }>((resolve) => {
      const outcome = login(auth.config(), {
        onVerification: (verification) => resolve({ verification, outcome }),
        ...(signal && { signal }),
      });
    });
  void server.deny();
  const denied = await begun();
  await rejection(denied.outcome, "ACCESS_DENIED");
  const late = await begun();
  clock.advance(601_000);
  await rejection(late.outcome, "DEVICE_CODE_EXPIRED");
});

test("an hour later the token is refreshed, rotated; a spent refresh token ends the login", async (t) => {
  const { server, auth, me, grants } = await world(t, {}, { clientId: "mine" });
  const granted = server.grant({ clientId: "mine", scopes: ["memory"] });
  await loggedIn(auth, granted);
  assert.equal(await auth.getValidAccessToken(), granted.access);
  clock.advance(3_700_000);
  assert.equal(server.accepts(granted.access), false);
  const tokens = await Promise.all([auth.getValidAccessToken(), auth.getValidAccessToken()]);
  assert.equal(new Set(tokens).size, 1);
  assert.notEqual(tokens[0], granted.access);
  assert.equal(server.accepts(`Bearer ${tokens[0]}`), true);
  assert.deepEqual(grants(), ["refresh_token"]);
  assert.equal((await auth.status()).state, "valid");

  server.expireTokens();
  assert.equal((await me()).status, 200);
  assert.deepEqual(grants(), ["refresh_token", "refresh_token"]);

  // Another client has used the first one.
  await loggedIn(auth, granted);
  await rejection(auth.getValidAccessToken({ rejectedToken: granted.access }), "LOGIN_REQUIRED");
  const error = await rejection(auth.getValidAccessToken(), "LOGIN_REQUIRED");
  assert.match(error.message, /^My Memory needs a login: run `openclaw my-memory login` in a terminal/);
});

test("loggedIn without a server: a token that never ends, one that has ended, one whose end comes", async (t) => {
  const { auth, host, server } = await world(t);
  await loggedIn(auth);
  assert.match(await auth.getValidAccessToken(), /^test-/);
  await loggedIn(auth, { access: "mine", expires: clock.now() + 60_000 });
  assert.equal(await auth.getValidAccessToken(), "mine");
  clock.advance(61_000);
  await rejection(auth.getValidAccessToken(), "LOGIN_REQUIRED");
  assert.match((await host.run("my-memory status")).output, /ended/);
  clock.reset();
  const { state } = await loggedIn(auth.config("work"), { access: "old", expires: clock.now() - 1 });
  assert.equal(state, "expired");
  assert.deepEqual(server.requests, []);
});

test("what a server can do wrong: a status, a broken connection, a slow answer, a revoked login", async (t) => {
  const { server, auth, grants } = await world(t, { accessTokenLifetime: 1000 }, { clientId: "mine" });
  await loggedIn(auth, server.grant({ clientId: "mine" }));
  const due = () => clock.advance(1_001_000);
  due();
  server.failNext(503);
  assert.equal((await auth.getValidAccessToken()).length > 0, true);
  assert.deepEqual(grants(), ["refresh_token", "refresh_token"]);
  due();
  server.failNext("reset", "token");
  await auth.getValidAccessToken();
  assert.equal(server.requests.filter(({ status }) => status === 0).length, 1);
  due();
  server.failNext("slow");
  const slow = auth.getValidAccessToken();
  await slow;
  server.revoke();
  due();
  await rejection(auth.getValidAccessToken(), "LOGIN_REQUIRED");
});

test("without rotation, registration or a known client", async (t) => {
  const clients = { mine: undefined, confidential: "secret" };
  const { server, auth } = await world(t, { rotation: false, registration: false, clients }, { clientId: "mine" });
  await loggedIn(auth, server.grant({ clientId: "mine" }));
  clock.advance(3_700_000);
  await auth.getValidAccessToken();
  clock.advance(3_700_000);
  await auth.getValidAccessToken();
  const sent = server.requests.filter(({ grant }) => grant === "refresh_token");
  assert.equal(sent.length, 2);
  assert.equal(sent[0]?.parameters.refresh_token, sent[1]?.parameters.refresh_token);

  const config = (more: Partial<AuthConfig>): AuthConfig => ({ ...auth.config("other"), ...more });
  const confidential = config({ clientId: "confidential", clientSecret: "secret" });
  void server.approve();
  await login(confidential, { onVerification: () => {} });
  assert.ok(await getValidAccessToken(confidential));
  assert.deepEqual(await logout(confidential).then(({ revoked }) => revoked), true);
  const wrong = config({ clientId: "confidential", clientSecret: "wrong" });
  assert.equal(
    (await rejection(login(wrong, { onVerification: () => {} }), "OAUTH_ERROR")).oauthError,
    "invalid_client",
  );
});

test("automatic approval asks nobody", async (t) => {
  const { host } = await world(t, { approval: "automatic" });
  assert.equal((await host.run("my-memory login")).exitCode, 0);
});

test("the clock stands still outside of tests", () => {
  process.env.NODE_ENV = "production";
  try {
    assert.throws(() => clock.advance(1000), /start them with NODE_ENV=test/);
    assert.ok(Math.abs(clock.now() - Date.now()) < 1000);
  } finally {
    process.env.NODE_ENV = "test";
  }
  assert.throws(() => clock.advance(-1), /milliseconds, 0 or more/);
});

test("a misspelt option of a test's server or host is named", async () => {
  // @ts-expect-error A test in JavaScript may misspell it.
  await assert.rejects(startAuthorizationServer({ acessTokenLifetime: 1 }), {
    code: "INVALID_CONFIG",
    message:
      "startAuthorizationServer: `options` has no member `acessTokenLifetime`: did you mean `accessTokenLifetime`?",
  });
  // @ts-expect-error Likewise.
  await assert.rejects(startAuthorizationServer({ approval: true }), {
    message: 'startAuthorizationServer: `options.approval` must be "automatic", or nothing.',
  });
  // @ts-expect-error Likewise.
  assert.throws(() => fakeHost({ pluginConfg: {} }), {
    message: "fakeHost: `options` has no member `pluginConfg`: did you mean `pluginConfig`?",
  });
});

test("the host runs what a plugin registers: tools, factories of tools, its own commands, services, chat, methods", async (t) => {
  const started: string[] = [];
  const server = await startAuthorizationServer({ approval: "automatic" });
  const host = fakeHost({ pluginConfig: { issuer: server.issuer } });
  t.after(() => Promise.all([host.close(), server.close()]));
  host.register({
    default: {
      id: "notes",
      register(api: PluginApi) {
        pluginAuth(api, { issuer: "https://elsewhere.example.com", chat: true });
        api.registerTool({ name: "echo", execute: async (_id: string, { text }: { text: string }) => text });
        api.registerTool((context: { agentId?: string }) => ({ name: "who", execute: async () => context.agentId }));
        api.registerService?.({ id: "own", start: () => started.push("own"), stop: () => started.push("stopped") });
        api.registerCli?.(({ program }) => {
          const notes = program.command("list <folder> [more...]").description("…").alias("ls");
          notes
            .option("-l, --limit <n>", "…")
            .option("--dry-run", "…")
            .action((folder: string, more: string[], flags: object) => {
              console.log(JSON.stringify([folder, more, flags]));
            });
        });
      },
    },
  });
  assert.equal(await host.execute("echo", { text: "hello" }), "hello");
  assert.equal(await host.execute("who", {}, { agentId: "main" }), "main");
  assert.throws(() => host.tool("nobody"), /There are: echo, who\./);
  assert.deepEqual(JSON.parse((await host.run("list a b c --limit 3 --dry-run")).output), [
    "a",
    ["b", "c"],
    { limit: "3", dryRun: true },
  ]);
  const from = "telegram:1";
  const config = { channels: { telegram: { allowFrom: ["1"] } } };
  assert.match(
    await host.say("/notes login", { channel: "telegram", senderId: "1", from, to: from, config }),
    /open this page/,
  );
  assert.match(await host.received(/.*logged in.*/i), /Logged in to notes/);
  assert.equal((await host.call("notes.logout")).removed, true);
  assert.equal((await host.call("notes.status")).state, "logged_out");
  assert.match(
    await host.say("/notes status", { channel: "telegram", senderId: "1", from: "telegram:1" }),
    /Notes|notes/,
  );
  await host.start();
  await host.close();
  assert.deepEqual(started, ["own", "stopped"]);
  await assert.rejects(host.run("nothing"), /No command "nothing"\. There are: notes login,/);
});

test("a request that a mock was to answer fails with the name of this module; one to this machine does not", async (t) => {
  const { auth } = await world(t);
  const begin = (issuer: string) =>
    rejection(login({ ...auth.config(), issuer }, { onVerification: () => {} }), "NETWORK");
  const { message } = await begin("https://auth.invalid");
  assert.match(
    message,
    /mocks of fetch or http do not see the requests.*use the server of clawdbot-plugin-auth\/testing/,
  );
  assert.doesNotMatch((await begin("http://127.0.0.1:9")).message, /mocks/);
  const { NODE_TEST_CONTEXT: context } = process.env;
  delete process.env.NODE_TEST_CONTEXT;
  t.after(() => {
    process.env.NODE_TEST_CONTEXT = context;
  });
  assert.doesNotMatch((await begin("https://auth.invalid")).message, /mocks/);
});

test("nothing of it is loaded by a plugin that does not test", () => {
  const kit = new URL("../plugin/", import.meta.url);
  for (const name of readdirSync(kit).filter((file) => file.endsWith(".ts"))) {
    assert.doesNotMatch(readFileSync(new URL(name, kit), "utf8"), /(?:from|import\() ?"\.\/testing/, name);
  }
});
