/** A host that runs a plugin from a folder, with a login that is there already: what gateways do to it, not to its user. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AuthConfig } from "../../../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "../../support/authorization-server.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { approvedLogin, configFor } from "../../support/login.ts";
import { Host, type HostId } from "./host.ts";

export const plugin = "lifetime";
const root = fileURLToPath(new URL("../../..", import.meta.url));

export interface LifetimeHost {
  host: Host;
  server: AuthorizationServer;
  /** The login of the plugin. */
  login: AuthConfig;
}

export interface LifetimeOptions {
  server?: AuthorizationServerOptions;
  /** Without it the plugin does not even load the package. @default true */
  hasLogin?: boolean;
  /** More of the plugin's configuration. */
  config?: Record<string, unknown>;
}

export async function lifetimeHost(
  lifetime: Lifetime,
  id: HostId,
  { server: serverOptions, hasLogin = true, config = {} }: LifetimeOptions = {},
): Promise<LifetimeHost> {
  const server = await AuthorizationServer.start(lifetime, serverOptions);
  const host = await Host.create(lifetime, id, "http://127.0.0.1:9");
  const folder = join(host.home.path, "plugin");
  cpSync(fileURLToPath(new URL("../fixtures/lifetime-plugin", import.meta.url)), folder, { recursive: true });
  const installed = join(folder, "node_modules", "clawdbot-plugin-auth");
  mkdirSync(installed, { recursive: true });
  const isPublished = /^(index\.m?js|plugin\.m?js|lib|dist|package\.json|clawdbot-plugin-auth\.[^/]*\.node)$/;
  for (const name of readdirSync(root).filter((name) => isPublished.test(name))) {
    cpSync(join(root, name), join(installed, name), { recursive: true });
  }
  const login = configFor(server, host.stateDir, { pluginId: plugin });
  if (hasLogin) {
    await approvedLogin(login);
  }
  const pluginConfig = hasLogin ? { issuer: server.issuer, clientId: "public", ...config } : {};
  host.configure({
    plugins: {
      allow: [plugin],
      load: { paths: [folder] },
      entries: { [plugin]: { enabled: true, config: pluginConfig } },
    },
  });
  return { host, server, login };
}
