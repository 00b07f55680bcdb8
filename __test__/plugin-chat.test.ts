/**
 * The login from a chat: its messages, the people allowed to use it, and the owner of a login. The real hosts are in
 * __test__/hosts.
 */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { logout, status, type TokenOptions } from "../index.js";
import { shared } from "../lib/shared.js";
import { AllowedSenders } from "../plugin/allowed-senders.ts";
import { conversation } from "../plugin/conversation.ts";
import { type ChatContext, type PluginAuthOptions, pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, type AuthorizationServerOptions, clients } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { Person } from "./support/person.ts";
import { TempHome } from "./support/temp-home.ts";

/** The context of a message in a private chat in openclaw 2026.4 and later. */
const from = (senderId: string, more: Partial<ChatContext> = {}): ChatContext => ({
  channel: "telegram",
  senderId,
  from: `telegram:${senderId}`,
  to: `telegram:${senderId}`,
  accountId: "default",
  sessionKey: "agent:main:main",
  config: { channels: { telegram: { dmPolicy: "allowlist", allowFrom: ["7001", "tg:7003"] } } },
  ...more,
});
const ada = from("7001");
const inGroup = {
  from: "telegram:group:-100123",
  to: "telegram:-100123",
  sessionKey: "agent:main:telegram:group:-100123",
};
/** The context in clawdbot 2026.1 and in openclaw-cn. */
const old = (senderId: string): ChatContext => ({
  channel: "telegram",
  senderId,
  config: { channels: { telegram: { allowFrom: ["7001"] } } },
});

async function plugin(
  t: Lifetime,
  options: Partial<PluginAuthOptions> = {},
  serverOptions: AuthorizationServerOptions = {},
) {
  // The attempts belong to the process, and all tests have the same senders.
  shared().chatAttempts.clear();
  const server = await AuthorizationServer.start(t, serverOptions);
  const home = TempHome.create(t);
  const sent: { to: string; text: string; accountId?: string; threadId?: string | number }[] = [];
  let heard = () => {};
  const sendText = async (message: (typeof sent)[number]) => {
    sent.push(message);
    heard();
  };
  const host = new FakeHost({
    stateDir: home.stateDir,
    channel: {
      outbound: { loadAdapter: async (channel: string) => (channel === "telegram" ? { sendText } : undefined) },
    },
  });
  const auth = pluginAuth(host.api, {
    issuer: server.issuer,
    clientId: "public",
    scopes: ["memory", "offline_access"],
    chat: true,
    ...options,
  });
  /** The message that comes by itself. */
  const next = async (count = sent.length + 1) => {
    while (sent.length < count) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
    return sent[count - 1];
  };
  return { server, home, host, auth, sent, next };
}

const addressIn = (text: string) => /https?:\S+\?user_code=\S+/.exec(text)?.[0] ?? assert.fail(text);
const codeIn = (text: string) => /\b[A-Z]{4}-[A-Z]{4}\b/.exec(text)?.[0];

test("a whole life in a chat: code, outcome, status, another login asks first, logout", async (t) => {
  const { host, auth, next, sent } = await plugin(t);
  const command = host.commands[0];
  assert.equal(command?.name, "my-memory");
  assert.equal(command?.requireAuth, true);
  assert.deepEqual(command?.nativeNames, { default: "my_memory" });
  assert.match(await host.say("", ada), /^\/my-memory login - log in to My Memory\n/);
  assert.match(await host.say("accounts", ada), /Nobody is logged in to My Memory\. Log in with `\/my-memory login`\./);
  assert.match(
    await auth.getValidAccessToken().catch((error) => error.message),
    /^My Memory needs a login: send `\/my-memory login` in a private chat, or run `openclaw my-memory login` in a terminal, then try again\.$/,
  );
  const account = auth.account({ agentId: "main", messageChannel: "telegram" });
  assert.equal(
    await account.getValidAccessToken().catch((error) => error.message),
    "My Memory needs a login: send `/my-memory login`, then try again.",
  );

  const invitation = await host.say("login", { ...ada, messageThreadId: 5 });
  assert.match(
    invitation,
    /^To log in to My Memory, open this page:\n\nhttp\S+\n\nand check that it shows the code [A-Z]{4}-[A-Z]{4}\. It is valid for 10 minutes, and for you alone: pass it on to nobody\.\n\nWhen it is done, I write here\.$/,
  );
  assert.equal(codeIn(await host.say("login", { ...ada, messageThreadId: 5 })), codeIn(invitation), "the same code");
  assert.match(
    await host.say("status", { ...ada, messageThreadId: 5 }),
    /not logged in.*A login waits for your approval\./s,
  );
  const outcome = next();
  await new Person().approve(addressIn(invitation));
  const message = await outcome;
  assert.match(message?.text ?? "", /^Logged in to My Memory, for .*memory.*\.$/);
  assert.deepEqual([message?.to, message?.accountId, message?.threadId], ["7001", "default", 5]);
  assert.equal(sent.length, 1, "asked for twice, said once");
  assert.ok(await account.getValidAccessToken());

  const status = await host.say("status", ada);
  assert.match(status, /^My Memory: logged in\n/);
  assert.doesNotMatch(status, /\.json/);
  assert.match(
    await host.say("login", ada),
    /is logged in already\. To replace that login by another, send `\/my-memory login replace`/,
  );
  assert.ok(codeIn(await host.say("login replace", ada)));
  assert.match(await host.say("cancel", ada), /given up\. Nothing was changed/);
  assert.ok(await account.getValidAccessToken(), "the login from before stays");
  assert.match(await host.say("accounts", ada), /^default: logged in/);
  assert.equal(await host.say("logout", ada), "Logged out of My Memory; the server has revoked the tokens.");
  assert.equal(await host.say("logout", ada), "Nobody was logged in to My Memory.");
  assert.equal(sent.length, 1);
});

test("no code appears in a group, in a channel, or for somebody whom the host does not know", async (t) => {
  const { host, server } = await plugin(t);
  const refused: [ChatContext, RegExp][] = [
    [from("7001", inGroup), /^Not here.*private chat/],
    [from("7001", { from: "discord:channel:55", to: "channel:55", channel: "discord" }), /^Not here/],
    [from("7001", { from: "120363@g.us", to: "120363@g.us", channel: "whatsapp" }), /^Not here/],
    [from("7001", { from: "telegram:7001", sessionKey: "agent:main:telegram:group:-1:topic:5" }), /^Not here/],
    [from("7002", { isAuthorizedSender: false }), /somebody whom the bot knows/],
  ];
  for (const [context, answer] of refused) {
    for (const args of ["login", "status", "logout", "allow x", "paste x", ""]) {
      assert.match(await host.say(args, context), answer);
    }
  }
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 0);
});

test('"*" lets nobody log in: owners may, and who sends the word of the terminal first', async (t) => {
  const { host, home } = await plugin(t);
  const open = { channels: { telegram: { dmPolicy: "open", allowFrom: ["*", "7003"] } } };
  const stranger = from("7002", { config: open });
  assert.match(
    await host.say("login", stranger),
    /You may not log in to My Memory from here\. Run `openclaw my-memory chat allow`/,
  );
  assert.ok(codeIn(await host.say("login", from("7003", { config: open }))), "who is listed beside it");
  await host.say("cancel", from("7003", { config: open }));
  const owned = { ...open, commands: { ownerAllowFrom: ["telegram:7004", "discord:7002"] } };
  assert.ok(codeIn(await host.say("login", from("7004", { config: owned }))));
  await host.say("cancel", from("7004", { config: owned }));
  assert.match(await host.say("login", from("7002", { config: owned })), /You may not/, "of another channel");

  let printed = "";
  t.mock.method(process.stdout, "write", (text: string) => {
    printed += text;
    return true;
  });
  await host.actions.get("my-memory chat allow")?.({});
  t.mock.reset();
  const [, word = ""] = /\/my-memory allow (\S+)/.exec(printed) ?? [];
  assert.match(await host.say("allow wrong", stranger), /That is not the word/);
  assert.match(await host.say(`allow ${word}`, from("7002", { ...inGroup, config: open })), /^Not here/);
  assert.match(await host.say(`allow ${word}`, stranger), /You can log in to My Memory from here now/);
  assert.ok(codeIn(await host.say("login", stranger)));
  assert.match(await host.say(`allow ${word}`, from("7005", { config: open })), /That is not the word/, "once");
  assert.match(await host.say("login", from("7005", { config: open })), /You may not/);
  await host.say("cancel", stranger);
  await host.actions.get("my-memory chat clear")?.({});
  assert.match(await host.say("login", stranger), /You may not/);
  // In the folder of the logins, and no account.
  assert.deepEqual((await host.call("my-memory.status")).state, "logged_out");
  assert.ok(home.stateDir);
});

test("a word is good for one sender, also where several send it at once", async (t) => {
  const { host } = await plugin(t);
  const open = { channels: { telegram: { dmPolicy: "open", allowFrom: ["*"] } } };
  const { word, message } = await host.call("my-memory.chat.allow");
  const other = await host.call("my-memory.chat.allow");
  assert.match(String(message), /\/my-memory allow \w+/);
  const people = ["7011", "7012", "7013", "7014", "7015"].map((id) => from(id, { config: open }));
  const answers = await Promise.all(people.map((person) => host.say(`allow ${word}`, person)));
  const accepted = answers.filter((answer) => answer.startsWith("You can log in"));
  assert.equal(accepted.length, 1, answers.join("\n"));
  const may = await Promise.all(people.map((person) => host.say("status", person)));
  assert.equal(may.filter((answer) => /^My Memory: not logged in/.test(answer)).length, 1);
  const last = people[answers.findIndex((answer) => !answer.startsWith("You can log in"))] ?? ada;
  assert.match(await host.say(`allow ${other.word}`, last), /^You can log in/, "another word is for another person");
  assert.match(await host.say(`allow ${other.word}`, last), /^That is not the word/);
});

test("a word is good for one sender, also where several processes hear it at once", async (t) => {
  const home = TempHome.create(t);
  const senders = new AllowedSenders(() => ({ pluginId: "my-memory", stateDir: home.stateDir }));
  const processes = ["7001", "7002", "7003"].map((id) =>
    Child.start(t, "word-sender.mjs", { args: [home.stateDir, id], env: home.env() }),
  );
  await Promise.all(processes.map((child) => child.event("ready")));
  const { path } = await status({ pluginId: "my-memory", stateDir: home.stateDir });
  const folder = join(dirname(path), ".chat");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "word-ab12.taken"), "", { flag: "wx" }); // Of a process that was killed over a word.
  for (let round = 1; round <= 30; round += 1) {
    const word = await senders.invite();
    for (const child of processes) {
      child.send({ word });
    }
    const answers = await Promise.all(processes.map((child) => child.event("answered")));
    assert.equal(answers.filter(({ isAccepted }) => isAccepted).length, 1, `round ${round}`);
  }
  assert.ok((await senders.list()).length > 0);
  const left = readdirSync(folder).filter((name) => !/^sender-\w+$/.test(name));
  assert.deepEqual(left, [], "no word, and nothing half-written");
  await senders.clear();
  assert.deepEqual(await senders.list(), []);
});

test("who: owners alone, or as the plugin says", async (t) => {
  const { host, auth: _ } = await plugin(t, { chat: { who: "owners", name: "memory-login" } });
  assert.deepEqual(host.commands[0]?.requiredScopes, ["operator.admin"]);
  assert.match(await host.say("login", ada), /You may not/);
  assert.match(
    await host.say("", from("7001", { config: { commands: { ownerAllowFrom: [7001] } } })),
    /^\/memory-login login/,
  );
  const web: ChatContext = { channel: "webchat", senderId: "cli", config: {} };
  assert.match(await host.say("login", { ...web, gatewayClientScopes: ["operator.write"] }), /You may not/);
  assert.match(await host.say("login", { ...web, gatewayClientScopes: ["operator.admin"] }), /Afterwards, ask with/);
  const listed = await plugin(t);
  assert.ok(codeIn(await listed.host.say("login", { ...web, gatewayClientScopes: ["operator.write"] })));
  const own = await plugin(t, { chat: { who: ({ senderId }) => senderId === "7009" } });
  assert.match(await own.host.say("login", ada), /You may not/);
  assert.ok(codeIn(await own.host.say("login", from("7009"))));
});

test("a login belongs to the chat that began it: nobody else learns its code, ends it, or pastes into it", async (t) => {
  const { host, next } = await plugin(t, { flow: "authorization_code", ...clients.browser });
  const invitation = await host.say("login", ada);
  const url = /http\S+/.exec(invitation)?.[0] ?? "";
  assert.match(invitation, /send its whole address here: `\/my-memory paste <address>`/);
  const bob = from("7003");
  for (const args of ["login", "login replace", "cancel", "logout", "status", "paste code"]) {
    const answer = await host.say(args, bob);
    assert.match(answer, /^Somebody else is logging in from another chat/, args);
    assert.doesNotMatch(answer, /http/);
  }
  for (const other of [{ accountId: "second" }, { messageThreadId: 9 }]) {
    assert.match(await host.say("login", { ...ada, ...other }), /^Somebody else/);
  }
  assert.match(await host.say("paste nonsense#state", ada), /belongs to another login/);
  const last = await new Person().authorize(url);
  const outcome = await host.say(last.href, ada);
  assert.match(outcome, /^Logged in to My Memory/);
  assert.match(await host.say("paste again", ada), /No login waits for anything/);
  assert.match(await host.say("logout", bob), /^Logged out/);
  assert.ok(next);
});

test("two that are begun at once are one login, of one person", async (t) => {
  const { host, server } = await plugin(t);
  const answers = await Promise.all([ada, from("7003"), ada].map((person) => host.say("login", person)));
  const codes = answers.map(codeIn);
  const others = answers.filter((answer) => /^Somebody else is logging in/.test(answer));
  assert.equal(new Set(codes.filter(Boolean)).size, 1, answers.join("\n\n"));
  assert.equal(codes.filter(Boolean).length + others.length, 3, answers.join("\n\n"));
  assert.ok(others.length > 0);
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 1);
});

test("several copies of the kit in one gateway say the outcome once, and it is known which login was given up", async (t) => {
  const { host, server, home, sent, next } = await plugin(t);
  const copy = createRequire(import.meta.url)(join(copyOfThePackage(home, "copy"), "dist/index.js"));
  const second = new FakeHost({ stateDir: home.stateDir, channel: (host.api.runtime as { channel: unknown }).channel });
  copy.pluginAuth(second.api, {
    issuer: server.issuer,
    clientId: "public",
    scopes: ["memory", "offline_access"],
    chat: true,
  });
  const invitation = await host.say("login", ada);
  assert.equal(codeIn(await second.say("login", ada)), codeIn(invitation));
  assert.match(await second.say("cancel", ada), /given up/);
  const again = await second.say("login", ada);
  assert.equal(codeIn(await host.say("login", ada)), codeIn(again));
  const outcome = next(1);
  await new Person().approve(addressIn(again));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory/);
  assert.match(await host.say("status", ada), /: logged in/);
  assert.equal(sent.length, 1, JSON.stringify(sent));
});

test("a login that was begun elsewhere is joined from a chat only where one could be begun there", async (t) => {
  const { host, next } = await plugin(t);
  const outcome = next();
  await new Person().approve(addressIn(await host.say("login", ada)));
  await outcome;
  await host.call("my-memory.login");
  assert.match(await host.say("login", ada), /is logged in already/);
  assert.ok(codeIn(await host.say("login replace", ada)));
  await host.say("cancel", ada);
});

test("the chat names who was logged in, and whose login that one has replaced", async (t) => {
  const { host, auth, next, sent } = await plugin(t, { scopes: ["openid", "profile", "memory", "offline_access"] });
  let outcome = next();
  await new Person().approve(addressIn(await host.say("login", ada)));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory, as Ada, ada@example\.com, for openid /);
  const { account } = await auth.status();
  assert.deepEqual(account, { id: "ada", name: "Ada", email: "ada@example.com" });
  assert.match(await host.say("login", ada), /^My Memory is logged in already, as Ada, ada@example\.com\. To replace/);
  assert.match(await host.say("status", ada), /\n {2}person {3}Ada, ada@example\.com\n/);
  assert.match(await host.say("accounts", ada), /^default: logged in, as Ada, ada@example\.com$/);

  // A stranger approves, to whom the user passed the code on.
  outcome = next();
  await new Person({ name: "mallory" }).approve(addressIn(await host.say("login replace", ada)));
  assert.match(
    (await outcome)?.text ?? "",
    /^Logged in to My Memory, as Mallory, mallory@example\.com, for .*\. Until now it was Ada, ada@example\.com\.$/,
  );
  outcome = next();
  await new Person({ name: "mallory" }).approve(addressIn(await host.say("login replace", ada)));
  assert.doesNotMatch((await outcome)?.text ?? "", /Until now/);
  assert.equal(sent.length, 3);
  assert.ok(!host.log.some((line) => line.includes("@")), "logs of hosts are readable by others");
});

test("five attempts an hour, of each sender", async (t) => {
  const { host } = await plugin(t);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    assert.ok(codeIn(await host.say("login", ada)), `attempt ${attempt}`);
    await host.say("cancel", ada);
  }
  assert.match(await host.say("login", ada), /tried 5 times within an hour\. Try again in \d+ minutes\./);
  assert.match(await host.say("status", ada), /not logged in/);
  assert.ok(codeIn(await host.say("login", from("7003"))));
  await host.say("cancel", from("7003"));
});

test("a code that was ended says so in its chat: by a logout elsewhere, by the end of the plugin, by a denial", async (t) => {
  const { host, next, server, home } = await plugin(t);
  const config = { pluginId: "my-memory", issuer: server.issuer, clientId: "public", stateDir: home.stateDir };
  await host.say("login", ada);
  let outcome = next();
  await logout(config);
  assert.match(
    (await outcome)?.text ?? "",
    /was ended before anybody approved it.*Begin again with `\/my-memory login`\./,
  );
  await host.say("login", ada);
  outcome = next();
  await host.services[0]?.stop?.();
  assert.match((await outcome)?.text ?? "", /was ended before anybody approved it/);
  const invitation = await host.say("login", ada);
  outcome = next();
  await new Person().deny(addressIn(invitation));
  assert.match((await outcome)?.text ?? "", /^The login to My Memory failed\. .*declined/i);
});

test("a channel that was loaded again while a login waits gets its outcome", async (t) => {
  const { host, sent, next } = await plugin(t);
  const { outbound } = (host.api.runtime as { channel: { outbound: { loadAdapter(name: string): Promise<object> } } })
    .channel;
  const current = outbound.loadAdapter;
  const replaced = { sendText: () => Promise.reject(new Error("Plugin telegram was reloaded or disabled")) };
  outbound.loadAdapter = async () => replaced;
  const invitation = await host.say("login", ada);
  assert.match(invitation, /When it is done, I write here/);
  outbound.loadAdapter = current;
  const outcome = next();
  await new Person().approve(addressIn(invitation));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory/);
  assert.equal(sent.length, 1);
});

test("where the host does not find the channel from within a tool's call, the outcome is written all the same", async (t) => {
  const { host, auth, next } = await plugin(t);
  const { outbound } = (host.api.runtime as { channel: { outbound: { loadAdapter(name: string): Promise<object> } } })
    .channel;
  const { loadAdapter } = outbound;
  // As openclaw 2026.8.2: among the plugins of the call, and those of a tool's call have no channels.
  const call = new AsyncLocalStorage<{ channels: string[] }>();
  outbound.loadAdapter = (channel) => loadAdapter(call.getStore()?.channels.includes(channel) === false ? "" : channel);
  const tool = auth.loginTool()({
    messageChannel: "telegram",
    deliveryContext: { channel: "telegram", to: "telegram:7001" },
    requesterSenderId: "7001",
    senderIsOwner: true,
    sessionKey: "agent:main:main",
  });
  const { content } = await call.run({ channels: [] }, () => tool.execute());
  const invitation = content[0]?.text ?? "";
  assert.match(invitation, /When it is done, I write here/);
  const outcome = next();
  await new Person().approve(addressIn(invitation));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory/);
});

test("where the host does not say whether others read along, the code goes to the sender's own chat", async (t) => {
  const { host, sent, next } = await plugin(t);
  assert.match(await host.say("login", old("7001")), /^I have written to you in our private chat\.$/);
  const invitation = await next(1);
  assert.equal(invitation?.to, "7001");
  const outcome = next(2);
  await new Person().approve(addressIn(invitation?.text ?? ""));
  assert.match((await outcome)?.text ?? "", /^Logged in/);
  // Authorized by the group's list, and in none by name.
  assert.match(await host.say("login replace", old("7002")), /You may not/);
  const discord = {
    channel: "discord",
    senderId: "7001",
    config: { channels: { discord: { dm: { allowFrom: ["7001"] } } } },
  };
  assert.match(await host.say("login replace", discord), /could not write to you alone.*given up/);
  assert.equal(sent.length, 2);
});

test("every agent has a login of its own: that of the agent which the chat is with, unless one is named", async (t) => {
  const { host, next } = await plugin(t, { perAgent: true });
  const withOps = from("7001", { sessionKey: "agent:ops:main" });
  const outcome = next();
  await new Person().approve(addressIn(await host.say("login", withOps)));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory, account ops/);
  assert.match(await host.say("status", withOps), /: logged in\n {2}account {2}ops\n/);
  assert.match(await host.say("status", ada), /: not logged in\n {2}account {2}main$/);
  assert.match(await host.say("status ops", ada), /: logged in\n/);
  assert.match(await host.say("accounts", ada), /^ops: logged in/);
});

test("the tool for the model begins a login where the owner asks in a private chat, and nowhere else", async (t) => {
  const { auth, host, next, server } = await plugin(t);
  const tool = auth.loginTool();
  assert.equal(tool().name, "my_memory_login");
  const call = async (context: Record<string, unknown>) => (await tool(context).execute()).content[0]?.text ?? "";
  const chat = { messageChannel: "telegram", deliveryContext: { channel: "telegram", to: "telegram:7001" } };
  const owner = { ...chat, requesterSenderId: "7001", senderIsOwner: true, sessionKey: "agent:main:main" };
  const refused: [Record<string, unknown>, RegExp][] = [
    [{}, /cannot be begun from this conversation.*`\/my-memory login`.*`openclaw my-memory login`/],
    [chat, /cannot be begun from this conversation/],
    [{ ...owner, requesterSenderId: undefined, senderIsOwner: undefined }, /cannot be begun from this conversation/],
    [{ messageChannel: "webchat" }, /does not say who is asking/],
    [{ ...owner, senderIsOwner: undefined, config: { channels: { telegram: { allowFrom: ["*"] } } } }, /You may not/],
    [{ ...owner, senderIsOwner: false, config: { channels: { telegram: { allowFrom: ["*"] } } } }, /You may not/],
    [{ ...owner, sessionKey: "agent:main:telegram:group:-100123" }, /cannot be begun from this conversation/],
    [{ ...owner, deliveryContext: { channel: "telegram", to: "telegram:-100123" } }, /cannot be begun/],
  ];
  for (const [context, answer] of refused) {
    assert.match(await call(context), answer, JSON.stringify(context));
  }
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 0);
  // openclaw 2026.6.11 names the sender alone: then his name has to be in a list.
  const { senderIsOwner: _, ...named } = owner;
  const invitation = await call({ ...named, config: ada.config });
  assert.ok(codeIn(invitation));
  assert.equal(await call(owner), invitation);
  const outcome = next();
  await new Person().approve(addressIn(invitation));
  assert.match((await outcome)?.text ?? "", /^Logged in to My Memory/);
  const options: TokenOptions = {};
  assert.ok(await auth.getValidAccessToken(options), "the tool that failed works now");
  assert.match(await call(owner), /is logged in already/, "the model replaces no login");
  assert.ok(host.commands.length > 0);
});

test("what a host says is read as it is meant", () => {
  const kind = (context: ChatContext) => conversation(context).kind;
  assert.equal(kind(ada), "private");
  assert.equal(kind(old("7001")), "unknown");
  assert.equal(kind({ channel: "whatsapp", senderId: "+491701", from: "whatsapp:+491701", to: "+490000" }), "private");
  assert.equal(kind({ channel: "whatsapp", senderId: "491701@s.whatsapp.net", from: "+491701" }), "private");
  assert.equal(kind({ channel: "slack", senderId: "U1", from: "slack:U1", to: "user:U1" }), "private");
  assert.equal(kind({ channel: "slack", senderId: "U1", from: "slack:channel:C1", to: "channel:C1" }), "group");
  assert.equal(kind({ channel: "discord", senderId: "5", from: "discord:5", to: "slash:5" }), "private");
  assert.equal(kind({ channel: "discord", senderId: "5", from: "discord:55", to: "channel:66" }), "group");
  assert.equal(kind({ channel: "webchat", senderId: "cli" }), "private");
  assert.equal(conversation({ channel: "discord", senderId: "5", from: "discord:5", to: "slash:5" }).to, "user:5");
});
