/**
 * The plugin kit: a login of its own for a plugin of Clawdbot, Moltbot or OpenClaw, in one call.
 *
 * ```ts
 * import { type PluginApi, pluginAuth } from "clawdbot-plugin-auth/plugin";
 *
 * export default {
 *   id: "my-memory",
 *   register(api: PluginApi) {
 *     const auth = pluginAuth(api, { issuer: "https://auth.example.com", scopes: ["memory", "offline_access"] });
 *     api.registerTool({
 *       name: "my_memory_search",
 *       description: "Find what was stored earlier.",
 *       parameters: { type: "object", properties: { query: { type: "string" } }, required: ["query"] },
 *       async execute(_id: string, { query }: { query: string }) {
 *         const answer = await auth.fetch(`https://api.example.com/memories?q=${encodeURIComponent(query)}`);
 *         return { content: [{ type: "text", text: await answer.text() }] };
 *       },
 *     });
 *   },
 * };
 * ```
 */
export type { Account, TokenTarget } from "./account.ts";
export type { Who } from "./allowed-senders.ts";
export { changesChannel, type LoginChange } from "./changes.ts";
export type { ChatCommand, ChatOptions } from "./chat-command.ts";
export { configSchema, uiHints } from "./config-schema.ts";
export type { ChatContext, Conversation } from "./conversation.ts";
export type {
  GatewayMethod,
  GatewayRequest,
  HttpRoute,
  PluginApi,
  PluginCommand,
  PluginService,
  ToolContext,
} from "./host.ts";
export { loginNeeded } from "./login-needed.ts";
export type { LoginTool, LoginToolOptions } from "./login-tool.ts";
export type { MessageFacts, MessageName, Messages } from "./messages.ts";
export { type PluginAuth, type PluginAuthOptions, pluginAuth, type RegisteringApi } from "./plugin-auth.ts";
export {
  type BrowserAuthMethod,
  type BrowserAuthOptions,
  browserAuthMethod,
  type DeviceCodeAuthMethod,
  type DeviceCodeAuthOptions,
  deviceCodeAuthMethod,
  type HostCredential,
  refreshOAuth,
} from "./provider.ts";
