/** Writes to a chat later than as an answer, by what the host has for it. */
import { AsyncResource } from "node:async_hooks";
import { shared } from "../lib/shared.js";
import { type Conversation, webChat } from "./conversation.ts";

interface Adapter {
  sendText?: (message: {
    cfg: unknown;
    to: string;
    text: string;
    accountId?: string | undefined;
    threadId?: string | number | undefined;
  }) => unknown;
}

/** From openclaw 2026.4 on there is one adapter per channel, before that one function. */
interface ChannelRuntime {
  outbound?: { loadAdapter?: (channel: string) => Adapter | undefined | Promise<Adapter | undefined> };
  [channel: string]: unknown;
}

type Send = (text: string) => unknown;

const shares = shared();
shares.outside ??= new AsyncResource("clawdbot-plugin-auth");
const { outside: context } = shares;
/** Runs what it is given as if nobody had called us. */
const outside = <Result>(run: () => Result): Result => context.runInAsyncScope(run);
const asCalled = <Result>(run: () => Result): Result => run();

/** How to write to that conversation; nothing where the host cannot, as in the web chat. */
export async function sender(
  { channel, to, accountId, threadId }: Conversation,
  runtime: unknown,
  config: unknown,
): Promise<Send | undefined> {
  const channels = (runtime as { channel?: ChannelRuntime } | undefined)?.channel;
  if (channels === undefined || channel === webChat || to === "") {
    return undefined;
  }
  // openclaw 2026.8.2 looks for the channel among the plugins of the call, and those of a tool's call may be ours alone.
  for (const inContext of [asCalled, outside]) {
    const adapter = await inContext(async () => channels.outbound?.loadAdapter?.(channel));
    if (typeof adapter?.sendText === "function") {
      return (text) => inContext(() => adapter.sendText?.({ cfg: config, to, text, accountId, threadId }));
    }
  }
  const functions = Object.entries((channels[channel] ?? {}) as Record<string, unknown>);
  // sendMessageTelegram, sendMessageWhatsApp, …
  const send = functions.find(([name, value]) => /^sendmessage/i.test(name) && typeof value === "function")?.[1] as
    | ((to: string, text: string, options: object) => unknown)
    | undefined;
  const thread = typeof threadId === "number" ? { messageThreadId: threadId } : { threadId };
  return send && ((text) => send(to, text, { accountId, ...(threadId !== undefined && thread) }));
}
