/** A login from where the user is: the whole life in a real Telegram chat, and what must not happen there. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { appendFileSync, cpSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { logout, status } from "../../../index.js";
import { exchange } from "../../support/exchange.ts";
import { Person } from "../../support/person.ts";
import {
  ada,
  bob,
  type ChatHost,
  chatHost,
  group,
  installPackage,
  plugin,
  startChat,
  stranger,
  until,
} from "./chat-host.ts";
import { Gateway, type HostId } from "./host.ts";

const login = `/${plugin} login`;
const code = /\b[A-Z]{4}-[A-Z]{4}\b/;
const loggedIn = /^Logged in to Chat Demo/;
const ended = /was ended before anybody approved it/;

/** The short version, for a plugin of that name in a gateway that has Telegram; it ends with a login. */
export async function logInFromChat(
  { telegram, host, login: config }: Pick<ChatHost, "telegram" | "host" | "login">,
  title: string,
): Promise<void> {
  const command = `/${config.pluginId}`;
  telegram.write(`${command} login`, { from: stranger });
  const inGroup = await telegram.ask(`${command} login`, { from: ada, group });
  assert.match(inGroup, saysLittle(host.id) ? /I have written to you in our private chat/ : /^Not here/);
  const invitation = await telegram.ask(`${command} login`, { from: ada }, code);
  assert.match(await telegram.ask(`${command} login`, { from: bob }), /^Somebody else is logging in/);
  const before = telegram.sent.length;
  await new Person().approve(pageIn(invitation));
  assert.match(await telegram.message(/^Logged in to/, ada, before), new RegExp(`^Logged in to ${title}, .*memory`));
  assert.match(await telegram.ask(`${command} status`, { from: bob }), /: logged in/);
  for (const { chat, text } of telegram.sent) {
    assert.ok(chat === ada || !code.test(text), `to ${chat}: ${text}`);
  }
  assert.ok(!telegram.sent.some(({ chat }) => chat === stranger), "a stranger gets no answer at all");
}

const codeIn = (text: string) => code.exec(text)?.[0] ?? assert.fail(`No code in: ${text}`);
const pageIn = (text: string) => /http\S+\?user_code=[\w-]+/.exec(text)?.[0] ?? assert.fail(`No page in: ${text}`);

/** Hosts that say neither where a message comes from nor where it goes to. */
const saysLittle = (id: HostId) => /-2026\.1\./.test(id);

export async function loginFromChat(t: TestContext, id: HostId): Promise<void> {
  const on = await chatHost(t, id);
  let gateway = await startChat(on);
  const started = Date.now();
  const passed: string[] = [];
  /** Subtests do not end their parent: after one that failed the others would only fail as well. */
  const step = async (name: string, run: () => Promise<unknown>) => {
    await t.test(name, { timeout: 600_000 }, async (step) => {
      step.after(() => passed.at(-1) === name || t.diagnostic(`gateway of ${id}:\n${gateway.output}`));
      const next = await run();
      gateway = next instanceof Gateway ? next : gateway;
      passed.push(name);
    });
    assert.equal(passed.at(-1), name, "a step has failed");
  };
  await step("strangers and groups see no code", () => nobodyElse(on));
  await step("a whole life", () => wholeLife(on, gateway));
  await step("a logout ends the login that waits; its code is worth nothing", () => oldCode(on));
  await step("the web chat, a client of the gateway", () => fromWebChat(on));
  await step("the model begins the login that a failed tool needs", () => begunByModel(on));
  await step("a reload in the middle", () => reloaded(on, gateway));
  await step("the gateway is killed in the middle", () => killed(on, gateway));
  await step("two agents, each with a login of its own", () => agents(on, gateway));
  await step("the plugin is disabled in the middle", () => disabled(on, gateway));
  await gateway.stop();
  if (process.env.PLUGIN_AUTH_CHAT_RESULTS !== undefined) {
    const seconds = Math.round((Date.now() - started) / 1000);
    appendFileSync(process.env.PLUGIN_AUTH_CHAT_RESULTS, `${JSON.stringify({ id, chat: passed, seconds })}\n`);
  }
}

/** openclaw's own `/login`, for a provider with tokens that the host keeps. */
export async function hostsOwnLogin(t: TestContext, id: HostId): Promise<void> {
  const on = await chatHost(t, id);
  const { host, telegram, server } = on;
  const folder = join(host.home.path, "model-provider");
  cpSync(fileURLToPath(new URL("../fixtures/model-provider", import.meta.url)), folder, { recursive: true });
  installPackage(folder);
  host.configure({
    commands: { ownerAllowFrom: [`telegram:${ada}`] },
    plugins: {
      allow: [plugin, "telegram", "my-model"],
      load: { paths: [join(host.home.path, "plugin"), folder] },
      entries: { "my-model": { enabled: true, config: { issuer: server.issuer, serviceUrl: server.issuer } } },
    },
  });
  const gateway = await startChat(on);
  const shown = await telegram.ask("/login my-model", { from: ada }, code);
  const before = telegram.sent.length;
  await new Person().approve(`${server.issuer}/device?user_code=${codeIn(shown)}`);
  await telegram.message(/^My Model (login complete|credentials are saved)/, ada, before);
  const { text } = await gateway.tool("my_model_check", {});
  assert.match(text, /The service answered/, gateway.output);
  await gateway.stop();
}

async function nobodyElse({ telegram, server, host }: ChatHost): Promise<void> {
  telegram.write(login, { from: stranger });
  telegram.write(login, { from: stranger, group });
  const answer = await telegram.ask(login, { from: ada, group }, /Chat Demo|private chat/);
  assert.doesNotMatch(answer, code);
  if (saysLittle(host.id)) {
    // The plugin cannot know that this is a group; so the code goes to the sender's own chat.
    assert.match(answer, /I have written to you in our private chat/);
    assert.ok(codeIn(await telegram.message(code, ada)));
    await telegram.ask(`/${plugin} cancel`, { from: ada }, /given up/);
  } else {
    assert.match(answer, /^Not here, where others read along/);
    assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 0);
  }
  for (const { chat, text } of telegram.sent) {
    assert.ok(chat === ada || !code.test(text), `to ${chat}: ${text}`);
  }
}

async function wholeLife(on: ChatHost, gateway: Gateway): Promise<void> {
  const { host, telegram } = on;
  const mark = gateway.child.mark;
  const needed = await gateway.tool("chat_demo_check", {});
  assert.notEqual(needed.status, 200);
  const sentence = /Chat Demo needs a login: send `\/chat-demo login`/;
  if (!sentence.test(needed.text)) {
    // Newer hosts keep the reason of a failed tool from HTTP callers; the log and the model get it.
    await gateway.child.written(sentence, mark);
  }
  const invitation = await telegram.ask(login, { from: ada }, code);
  assert.equal(
    codeIn(await telegram.ask(login, { from: ada }, code)),
    codeIn(invitation),
    "asked twice, the same code",
  );
  // Through the gateway it is the same login as well.
  await host.gatewayCall("chat.send", { sessionKey: "main", message: `/${plugin} cancel`, idempotencyKey: "cancel" });
  for (const args of ["login", "cancel", "logout", "status"]) {
    const answer = await telegram.ask(`/${plugin} ${args}`, { from: bob });
    assert.match(answer, /^Somebody else is logging in/, args);
  }
  const before = telegram.sent.length;
  await new Person().approve(pageIn(invitation));
  assert.match(await telegram.message(loggedIn, ada, before), /for .*memory/);
  const { status: answered, text } = await gateway.tool("chat_demo_check", {});
  assert.equal(answered, 200, text);
  assert.match(await telegram.ask(`/${plugin} status`, { from: ada }, /^Chat Demo:/), /: logged in/);
  assert.match(await telegram.ask(login, { from: bob }, /logged in already|To log in/), /is logged in already/);
  if (!saysLittle(host.id)) {
    // The spelling of Telegram's menu.
    await telegram.ask(`/${plugin.replace("-", "_")} status`, { from: ada }, /^Chat Demo: logged in/);
  }
  const page = await exchange(`http://127.0.0.1:${host.port}/plugins/${plugin}/callback?code=x&state=y`);
  assert.equal(page.status, 400);
  assert.match(page.text, /This page belongs to no login here/);
  // By a client of the gateway, as the web chat is one.
  await host.gatewayCall("chat.send", { sessionKey: "main", message: `/${plugin} logout`, idempotencyKey: "logout" });
  await until(on.login, "logged_out");
}

async function oldCode({ telegram, login: config }: ChatHost): Promise<void> {
  const invitation = await telegram.ask(login, { from: ada }, code);
  const before = telegram.sent.length;
  // In a process that is not the gateway.
  await logout(config);
  await telegram.message(ended, ada, before);
  await new Person().approve(pageIn(invitation));
  const next = await telegram.ask(login, { from: bob }, code);
  assert.notEqual(codeIn(next), codeIn(invitation));
  assert.match(await telegram.ask(`/${plugin} status`, { from: bob }, /^Chat Demo:/), /not logged in/);
  await telegram.ask(`/${plugin} cancel`, { from: bob }, /given up/);
  assert.equal((await status(config)).state, "logged_out");
}

/** Answers go only to clients of the gateway; another chat can see that a login is under way. */
async function fromWebChat({ host, telegram }: ChatHost): Promise<void> {
  const say = (args: string) => {
    const message = `/${plugin} ${args}`;
    return host.gatewayCall("chat.send", { sessionKey: "main", message, idempotencyKey: randomUUID() });
  };
  const seen = async (pattern: RegExp) => {
    while (!pattern.test(await telegram.ask(`/${plugin} status`, { from: ada }))) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  await say("login");
  await seen(/^Somebody else is logging in from another chat/);
  await say("cancel");
  await seen(/^Chat Demo: not logged in/);
}

async function begunByModel({ telegram, model, host, login: config }: ChatHost): Promise<void> {
  const ask = async (question: string, tool: string) => {
    model.willCall(tool, {});
    return telegram.ask(question, { from: ada }, /The tool said/);
  };
  assert.match(
    await ask("Is somebody logged in?", "chat_demo_check"),
    /Chat Demo needs a login: send \/chat-demo login/,
  );
  const invitation = await ask("Then log me in.", "chat_demo_login");
  if (saysLittle(host.id)) {
    assert.match(invitation, /cannot be begun from this conversation\. Ask the user to send \/chat-demo login/);
    return;
  }
  const before = telegram.sent.length;
  await new Person().approve(pageIn(invitation));
  await telegram.message(loggedIn, ada, before);
  assert.match(await ask("And now?", "chat_demo_check"), /The service would answer/);
  assert.match(await ask("Log me in again.", "chat_demo_login"), /is logged in already/);
  await logout(config);
}

async function reloaded(on: ChatHost, gateway: Gateway): Promise<Gateway> {
  const { telegram, host, login: config } = on;
  const invitation = await telegram.ask(login, { from: ada }, code);
  // Another member of the plugin's config: every host then loads its plugins again, or restarts.
  const mark = gateway.child.mark;
  host.configure({ plugins: { entries: { [plugin]: { config: { note: "reloaded" } } } } });
  await gateway.child.written(/reload|restart/i, mark);
  // The login of the replaced copy has ended, or its process has; then its code must have no effect.
  let running = gateway;
  while ((await pending(on, running)) !== false) {
    running = await restarted(on, running);
  }
  await new Person().approve(pageIn(invitation));
  const next = await telegram.ask(login, { from: ada }, code);
  assert.notEqual(codeIn(next), codeIn(invitation));
  assert.equal((await status(config)).state, "logged_out", "a code of before the reload logs nobody in");
  const before = telegram.sent.length;
  await new Person().approve(pageIn(next));
  await telegram.message(loggedIn, ada, before);
  await logout(config);
  return running;
}

/**
 * clawdbot 2026.1.24-3 does not survive a reload while Telegram is polled ("Unhandled promise rejection:
 * AbortError"): its supervisor starts it again. Others go on.
 */
async function restarted(on: ChatHost, gateway: Gateway): Promise<Gateway> {
  return (await hasEnded(gateway)) && !on.host.isAlive ? startChat(on) : gateway;
}

/** Within a second: openclaw restarts only while nobody waits for an answer. */
async function hasEnded(gateway: Gateway): Promise<boolean> {
  const patience = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 1000));
  return (await Promise.race([gateway.child.exit, patience])) !== undefined;
}

/** Whether a login of hers waits; nothing where the plugin does not answer any more. */
async function pending({ telegram }: ChatHost, gateway: Gateway): Promise<boolean | undefined> {
  for (;;) {
    // A gateway that ends may take a message along with it.
    const patience = new Promise<"late">((resolve) => setTimeout(() => resolve("late"), 10_000).unref());
    const ended = gateway.child.exit.then(() => undefined);
    const answer = await Promise.race([telegram.ask(`/${plugin} status`, { from: ada }), ended, patience]);
    if (answer !== "late") {
      return answer?.startsWith("Chat Demo:") ? answer.includes("A login waits for your approval") : undefined;
    }
  }
}

async function killed(on: ChatHost, gateway: Gateway): Promise<Gateway> {
  const { telegram, login: config } = on;
  const invitation = await telegram.ask(login, { from: bob }, code);
  await gateway.kill();
  await new Person().approve(pageIn(invitation));
  const next = await startChat(on);
  assert.equal((await status(config)).state, "logged_out");
  const again = await telegram.ask(login, { from: bob }, code);
  assert.notEqual(codeIn(again), codeIn(invitation), "the next login begins anew");
  const before = telegram.sent.length;
  await new Person().approve(pageIn(again));
  await telegram.message(loggedIn, bob, before);
  const { path } = await status(config);
  const kept = readdirSync(dirname(path)).filter((name) => /login|tmp|corrupt/.test(name));
  assert.deepEqual(kept, [], "nothing half-stored");
  return next;
}

async function agents(on: ChatHost, before: Gateway): Promise<Gateway> {
  const { telegram, host, login: config } = on;
  await before.stop();
  host.configure({
    agents: { list: [{ id: "main", default: true }, { id: "ops" }] },
    bindings: [{ agentId: "ops", match: { channel: "telegram", peer: { kind: "dm", id: String(bob) } } }],
    plugins: { entries: { [plugin]: { config: { perAgent: true } } } },
  });
  const gateway = await startChat(on);
  const sent = telegram.sent.length;
  await new Person().approve(pageIn(await telegram.ask(login, { from: bob }, code)));
  assert.match(await telegram.message(loggedIn, bob, sent), /account ops/);
  assert.match(await telegram.ask(`/${plugin} status`, { from: ada }, /^Chat Demo:/), /not logged in\s+account\s+main/);
  assert.equal((await status({ ...config, profile: "ops" })).state, "valid");
  assert.equal((await status({ ...config, profile: "main" })).state, "logged_out");
  return gateway;
}

async function disabled(on: ChatHost, gateway: Gateway): Promise<void> {
  const { telegram, host, login: config } = on;
  const invitation = await telegram.ask(login, { from: ada }, code);
  const mark = gateway.child.mark;
  host.configure({ plugins: { entries: { [plugin]: { enabled: false } } } });
  await gateway.child.written(/reload|restart/i, mark);
  while ((await pending(on, gateway)) !== undefined) {
    await hasEnded(gateway);
  }
  if ((await hasEnded(gateway)) && !host.isAlive) {
    await host.startGateway();
  }
  await new Person().approve(pageIn(invitation));
  // Longer than the plugin would wait between two polls.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  assert.equal((await status({ ...config, profile: "main" })).state, "logged_out");
}
