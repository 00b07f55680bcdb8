/** Where a message comes from, and from whom, as far as the host says. */

/** The context of a chat command, or of the conversation that a tool runs in; every host leaves out some of it. */
export interface ChatContext {
  channel?: string | undefined;
  senderId?: string | undefined;
  isAuthorizedSender?: boolean | undefined;
  args?: string | undefined;
  config?: unknown;
  from?: string | undefined;
  to?: string | undefined;
  accountId?: string | undefined;
  messageThreadId?: string | number | undefined;
  agentId?: string | undefined;
  sessionKey?: string | undefined;
  /** The scopes of a client of the gateway: the web chat. */
  gatewayClientScopes?: readonly string[] | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: every host has more members, of its own
  [member: string]: any;
}

export interface Conversation {
  /** `telegram`; `webchat` for clients of the gateway. */
  channel: string;
  senderId: string;
  accountId: string | undefined;
  threadId: string | number | undefined;
  /** A host of January 2026 says neither where a message comes from nor where it goes to. */
  kind: "private" | "group" | "unknown";
  /** Where a message to the sender alone goes, as the channel's own functions take it. */
  to: string;
  agentId: string | undefined;
}

/** The pages and calls of the gateway itself: its clients have the gateway's token. */
export const webChat = "webchat";

/** Channels that take the id of a person with a word before it. */
const withUserPrefix = ["discord", "slack", "msteams", "mattermost", "rocketchat"];

export function conversation(context: ChatContext): Conversation {
  const channel = (context.channel ?? "").toLowerCase();
  const senderId = String(context.senderId ?? "");
  const addresses = [context.from, context.to].flatMap((address) => (address ? [bare(address, channel)] : []));
  const isGroup =
    /:(group|channel|supergroup|room|guild|space|thread):/i.test(`:${context.sessionKey ?? ""}:`) ||
    addresses.some((address) =>
      /^(group|channel|supergroup|room|guild|space|thread|chat):|@g\.us$|^-\d/i.test(address),
    );
  const isSender = (address: string) => senderId !== "" && personIn(address) === personIn(senderId);
  const isPrivate = channel === webChat || addresses.some(isSender);
  return {
    channel,
    senderId,
    accountId: context.accountId,
    threadId: context.messageThreadId,
    kind: isGroup ? "group" : isPrivate ? "private" : "unknown",
    to: addressOf(channel, senderId),
    agentId: context.agentId ?? /^agent:([^:]+):/.exec(context.sessionKey ?? "")?.[1],
  };
}

/** Names whom a login belongs to: the same person in the same chat of the same bot. */
export function ownerOf({ channel, accountId, senderId, threadId }: Conversation): string {
  return JSON.stringify([channel, accountId ?? "", senderId, threadId ?? ""]);
}

/** The id of a person as it appears in lists: without the channel and the words that some hosts put before it. */
export function personIn(address: string): string {
  return address
    .trim()
    .toLowerCase()
    .replace(/^(user|dm|direct|pm|slash|tg|uid):/, "")
    .replace(/@(s\.whatsapp\.net|c\.us)$/, "")
    .replace(/^\+/, "");
}

function bare(address: string, channel: string): string {
  return address.toLowerCase().startsWith(`${channel}:`) ? address.slice(channel.length + 1) : address;
}

function addressOf(channel: string, senderId: string): string {
  return withUserPrefix.includes(channel) ? `user:${senderId}` : senderId;
}
