/** A host with a plugin whose users log in from Telegram. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type AuthConfig, status } from "../../../index.js";
import { AuthorizationServer } from "../../support/authorization-server.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { configFor } from "../../support/login.ts";
import { type Gateway, Host, type HostId } from "./host.ts";
import { ModelServer } from "./model-server.ts";
import { Telegram } from "./telegram.ts";

export const plugin = "chat-demo";
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

export async function chatHost(lifetime: Lifetime, id: HostId, pluginConfig: object = {}): Promise<ChatHost> {
  const server = await AuthorizationServer.start(lifetime);
  const host = await Host.create(lifetime, id, "http://127.0.0.1:9");
  const folder = join(host.home.path, "plugin");
  cpSync(fileURLToPath(new URL("../fixtures/chat-plugin", import.meta.url)), folder, { recursive: true });
  installPackage(folder);
  const config = { issuer: server.issuer, clientId: "public", ...pluginConfig };
  host.configure({ plugins: { load: { paths: [folder] }, entries: { [plugin]: { enabled: true, config } } } });
  const model = await ModelServer.start(lifetime);
  const { tools, ...others } = model.configuration;
  host.configure({ ...others, ...(host.row.version === "2026.9.6" && { tools }) });
  const telegram = await addTelegram(lifetime, host, plugin);
  return { host, server, telegram, model, login: configFor(server, host.stateDir, { pluginId: plugin }) };
}

/** Lets people write to the host by its own channel, beside that plugin. */
export async function addTelegram(lifetime: Lifetime, host: Host, beside: string): Promise<Telegram> {
  const telegram = await Telegram.start(lifetime);
  // These know no other address of the Bot API.
  const isFixed = host.name !== "openclaw" || host.row.version === "2026.1.29";
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
    plugins: { allow: [beside, "telegram"], entries: { telegram: { enabled: true } } },
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
