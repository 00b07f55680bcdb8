/** A host that runs a plugin from a folder, with an existing login: what gateways do to the plugin, not to its user. */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AuthConfig } from "../../../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "../../support/authorization-server.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { approvedLogin, configFor } from "../../support/login.ts";
import { MapStore } from "../../support/map-store.ts";
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
  /** Whether there is a login for it. @default as hasLogin */
  isLoggedIn?: boolean;
  /** More of the plugin's configuration. */
  config?: object;
  /** The logins: all of these accounts, bound to keys, in a store that the plugin gives. */
  logins?: { profiles?: string[]; dpop?: boolean; inStore?: boolean };
}

export async function lifetimeHost(
  lifetime: Lifetime,
  id: HostId,
  { server: serverOptions, hasLogin = true, isLoggedIn = hasLogin, logins = {}, config: more }: LifetimeOptions = {},
): Promise<LifetimeHost> {
  const { profiles = ["default"], dpop = false, inStore = false } = logins;
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
  const map = new MapStore();
  const login = configFor(server, host.stateDir, {
    pluginId: plugin,
    ...(dpop && { dpop }),
    ...(inStore && { store: map }),
  });
  const store = join(host.home.path, "store.json");
  if (isLoggedIn) {
    for (const profile of profiles) {
      await approvedLogin({ ...login, profile });
    }
    writeFileSync(store, JSON.stringify([...map.kept]));
  }
  const config = { issuer: server.issuer, clientId: "public", profiles, dpop, ...(inStore && { store }), ...more };
  const entry = { enabled: true, config: hasLogin ? config : {} };
  host.configure({ plugins: { allow: [plugin], load: { paths: [folder] }, entries: { [plugin]: entry } } });
  return { host, server, login };
}
