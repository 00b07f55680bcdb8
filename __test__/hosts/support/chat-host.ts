/** A host with plugins whose users log in from Telegram: by a code, and through the browser. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type AuthConfig, status } from "../../../index.js";
import { compare } from "../../../scripts/hosts.mjs";
import { AuthorizationServer } from "../../support/authorization-server.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { configFor } from "../../support/login.ts";
import { type Gateway, Host, type HostId } from "./host.ts";
import { ModelServer } from "./model-server.ts";
import { Telegram } from "./telegram.ts";

export const plugin = "chat-demo";
/** The same plugin again, whose users log in through the browser. */
export const browserPlugin = "browser-demo";
/** The people whom the host lets talk to it, by their ids at Telegram. */
export const ada = 7001;
export const bob = 7003;
export const stranger = 7002;
export const group = -100_123;

const root = fileURLToPath(new URL("../../..", import.meta.url));

export interface ChatHost {
  host: Host;
  server: AuthorizationServer;
  telegram: Telegram;
  /** The model that answers messages other than commands. */
  model: ModelServer;
  /** The login of the plugin, as the store knows it. */
  login: AuthConfig;
  /** That of the plugin whose users log in through the browser. */
  browserLogin: AuthConfig;
}

/** Copies this package, as it is published, into a plugin's folder. */
export function installPackage(folder: string): void {
  const installed = join(folder, "node_modules", "clawdbot-plugin-auth");
  mkdirSync(installed, { recursive: true });
  const isPublished = /^(index\.js|lib|dist|package\.json|clawdbot-plugin-auth\.[^/]*\.node)$/;
  for (const name of readdirSync(root).filter((name) => isPublished.test(name))) {
    cpSync(join(root, name), join(installed, name), { recursive: true });
  }
}

/** Two agents; one of them answers bob. */
export async function chatHost(lifetime: Lifetime, id: HostId): Promise<ChatHost> {
  const server = await AuthorizationServer.start(lifetime);
  const host = await Host.create(lifetime, id, "http://127.0.0.1:9");
  const { issuer } = server;
  host.configure({
    plugins: {
      load: { paths: [installChatPlugin(host, plugin), installChatPlugin(host, browserPlugin)] },
      entries: {
        [plugin]: { enabled: true, config: { issuer, clientId: "public" } },
        [browserPlugin]: { enabled: true, config: { issuer, flow: "authorization_code" } },
      },
    },
  });
  // openclaw 2026.6.11 refuses every message behind the first that the model answers, for minutes: it compares the
  // session with its file, which has the members of the list of skills in another order (docs/hosts.md 10).
  host.configure({ skills: { allowBundled: ["none"] } });
  const model = await ModelServer.start(lifetime);
  const { tools, agents, ...others } = model.configuration;
  // Such hosts take no agent as the one that is meant, and have another name for a private chat: docs/hosts.md 9.
  const { namesAgents } = host.row;
  host.agentId = namesAgents ? "main" : undefined;
  const bobs = { channel: "telegram", peer: { kind: namesAgents ? "direct" : "dm", id: String(bob) } };
  host.configure({
    ...others,
    ...(isSince(host, "2026.6") && { tools }),
    agents: {
      ...agents,
      ...(namesAgents
        ? { ownership: "explicit", entries: { main: {}, ops: {} } }
        : { list: [{ id: "main", default: true }, { id: "ops" }] }),
    },
    bindings: [
      { agentId: "ops", match: bobs },
      ...(namesAgents ? [{ agentId: "main", match: { channel: "telegram" } }] : []),
    ],
  });
  const telegram = await addTelegram(lifetime, host, plugin, browserPlugin);
  const login = configFor(server, host.stateDir, { pluginId: plugin });
  const { clientId: _, ...registered } = configFor(server, host.stateDir, { pluginId: browserPlugin });
  return { host, server, telegram, model, login, browserLogin: { ...registered, flow: "authorization_code" } };
}

/** The plugin of the fixture under that id, with this package in it; its folder. */
function installChatPlugin(host: Host, id: string): string {
  const folder = join(host.home.path, id);
  const fixture = fileURLToPath(new URL("../fixtures/chat-plugin", import.meta.url));
  mkdirSync(folder);
  const title = id.replace(/(^|-)(.)/g, (_, dash: string, letter: string) => (dash && " ") + letter.toUpperCase());
  for (const name of readdirSync(fixture)) {
    const text = readFileSync(join(fixture, name), "utf8");
    const own = text.replaceAll("chat-demo", id).replaceAll("chat_demo", id.replace("-", "_"));
    writeFileSync(join(folder, name), own.replaceAll("Chat Demo", title));
  }
  installPackage(folder);
  return folder;
}

/** Older hosts refuse a configuration that has what is newer. */
function isSince({ name, row }: Host, version: string): boolean {
  return name === "openclaw" && compare(row.version, version) >= 0;
}

/** Lets people write to the host by its own channel, beside those plugins. */
export async function addTelegram(lifetime: Lifetime, host: Host, ...beside: string[]): Promise<Telegram> {
  const telegram = await Telegram.start(lifetime);
  // Those before know no other address of the Bot API.
  const isFixed = !isSince(host, "2026.3.22");
  const preload = fileURLToPath(new URL("../fixtures/redirected-telegram.cjs", import.meta.url));
  Object.assign(host.environment, {
    [`${host.prefix}_SKIP_CHANNELS`]: "",
    ...(isFixed && { TELEGRAM_API: telegram.url, NODE_OPTIONS: `--require=${preload}` }),
  });
  host.configure({
    channels: {
      telegram: {
        enabled: true,
        botToken: "123:abc",
        dmPolicy: "allowlist",
        allowFrom: [String(ada), String(bob)],
        groupPolicy: "open",
        groups: { "*": { requireMention: false } },
        ...(!isFixed && { apiRoot: telegram.url }),
      },
    },
    plugins: { allow: [...beside, "telegram"], entries: { telegram: { enabled: true } } },
  });
  return telegram;
}

/** Until a message to the bot is answered. */
export async function startChat({ host, telegram }: ChatHost): Promise<Gateway> {
  const gateway = await host.startGateway();
  // After a kill some hosts hear the last message once more, and it may have been a login of another person's.
  await telegram.ask(`/${plugin} status`, { from: ada }, /Chat Demo:|^Somebody else is logging in/);
  return gateway;
}

/** The state of the login, until it is this one. */
export async function until(login: AuthConfig, wanted: string): Promise<void> {
  while ((await status(login)).state !== wanted) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
