/** A tool by which the model begins a login that a failed tool needs, where the host says who is asking. */

import type { ChatCommandContext } from "./chat-command.ts";
import { requireAllowed } from "./chat-command.ts";
import { chatLogin, inChat, Refused } from "./chat-login.ts";
import { type ChatContext, conversation } from "./conversation.ts";
import { inTerminal, type ToolContext } from "./host.ts";

export interface LoginToolOptions {
  /** The name in the manifest's `contracts.tools`. @default the plugin's id, with `_login` */
  name?: string | undefined;
  /** For the model. */
  description?: string | undefined;
}

/** For `api.registerTool`, which calls it for each conversation. */
export type LoginTool = (context?: ToolContext) => {
  name: string;
  label: string;
  description: string;
  parameters: { type: "object"; properties: Record<string, never>; additionalProperties: false };
  execute(): Promise<{ content: { type: "text"; text: string }[]; details: Record<string, never> }>;
};

export function loginTool(context: ChatCommandContext & { id: string }, options: LoginToolOptions = {}): LoginTool {
  const { title } = context;
  const name = options.name ?? `${context.id.replace(/[^\w]/g, "_")}_login`;
  return (toolContext = {}) => ({
    name,
    label: `Log in to ${title}`,
    description:
      options.description ??
      `Begin the login to ${title}. Call it only when another tool said that ${title} needs a login and the user wants to log in; then give the user the page and the code, unchanged.`,
    parameters: { type: "object", properties: {}, additionalProperties: false },
    async execute() {
      let text: string | undefined;
      try {
        text = await begun(context, toolContext);
      } catch (error) {
        text = inChat(error, context);
        if (text === undefined) {
          throw error;
        }
      }
      return { content: [{ type: "text", text }], details: {} };
    },
  });
}

async function begun(context: ChatCommandContext, tool: ToolContext): Promise<string> {
  const { deliveryContext = {}, requesterSenderId, messageChannel, senderIsOwner, agentAccountId } = tool;
  const given: ChatContext = {
    channel: messageChannel ?? deliveryContext.channel,
    senderId: requesterSenderId,
    to: deliveryContext.to,
    accountId: deliveryContext.accountId ?? agentAccountId,
    messageThreadId: deliveryContext.threadId,
    agentId: tool.agentId,
    sessionKey: tool.sessionKey,
    config: tool.runtimeConfig ?? tool.config,
  };
  const from = conversation(given);
  const elsewhere = `Ask the user to send \`${context.chatCommand} login\` in a private chat, or to ${inTerminal(context.loginCommand(context.profileOf(given)))}.`;
  // Where the host does not say who asks, or who reads along, it may be anybody.
  if (from.channel === "" || from.kind !== "private") {
    throw new Refused(`A login to ${context.title} cannot be begun from this conversation. ${elsewhere}`);
  }
  if (senderIsOwner !== true) {
    if (from.senderId === "") {
      throw new Refused(`This host does not say who is asking. ${elsewhere}`);
    }
    await requireAllowed(context, { ...given, gatewayClientScopes: [] }, from);
  }
  const config = context.config(context.profileOf(given));
  return chatLogin(context, from, { config, hostConfig: given.config, isReplacement: false });
}
