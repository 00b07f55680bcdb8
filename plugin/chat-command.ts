/**
 * `/<command> login | logout | status | accounts` in a chat, answered by the gateway without a model:
 * `api.registerCommand`.
 */
import { type AuthConfig, logout, status } from "../index.js";
import { allAccounts, plainName } from "./accounts.ts";
import { type AllowedSenders, isListed, isOwner, type Who } from "./allowed-senders.ts";
import {
  type ChatLoginContext,
  cancelLogin,
  chatLogin,
  countAttempt,
  inChat,
  pasteIntoLogin,
  pendingLogin,
  Refused,
} from "./chat-login.ts";
import { sender } from "./chat-message.ts";
import { type ChatContext, type Conversation, conversation, webChat } from "./conversation.ts";
import { inTerminal } from "./host.ts";
import { asWhom, logoutText, stateInWords, statusText } from "./status-text.ts";

/** The command in chats. */
export interface ChatOptions {
  /** Without the slash: `[a-z][a-z0-9_-]*`. @default the plugin's command */
  name?: string | undefined;
  /**
   * The people who may use it, in a private chat, of those whom the host lets talk to it at all. "listed": those
   * named in the host's configuration or pairing (`"*"` names nobody), and clients of the gateway; "owners": those
   * named in `commands.ownerAllowFrom`. A person who has sent the word of `<command> chat allow` may in any case.
   * @default "listed"
   */
  who?: Who | undefined;
}

export interface ChatCommandContext extends ChatLoginContext {
  pluginId: string;
  who: Who;
  senders: AllowedSenders;
  /** The account of a conversation: of its agent, where each has one. */
  profileOf(context: ChatContext): string | undefined;
  config(profile: string | undefined): AuthConfig;
  /** The command that lets a person log in from a chat, for this host's command line. */
  allowCommand: string;
}

export interface ChatCommand {
  name: string;
  description: string;
  acceptsArgs: true;
  requireAuth: true;
  nativeNames: { default: string };
  requiredScopes?: string[];
  handler(context: ChatContext): Promise<{ text: string }>;
}

export function chatCommand(context: ChatCommandContext): ChatCommand {
  const name = context.chatCommand.slice(1);
  return {
    name,
    description: `Log in to ${context.title}`,
    acceptsArgs: true,
    requireAuth: true,
    // Telegram and others list commands without hyphens only.
    nativeNames: { default: name.replaceAll("-", "_") },
    // openclaw 2026.8 and later; older ones take no notice, and the handler looks itself.
    ...(context.who === "owners" && { requiredScopes: ["operator.admin"] }),
    async handler(given) {
      try {
        return { text: await answer(context, given) };
      } catch (error) {
        // A handler's own error is not shown to the person.
        const text = inChat(error, context);
        if (text === undefined) {
          context.logger.warn(`${context.title}: ${context.chatCommand} failed: ${error}`);
        }
        return { text: text ?? `${context.title}: that failed. The gateway's log says why.` };
      }
    },
  };
}

async function answer(context: ChatCommandContext, given: ChatContext): Promise<string> {
  const { title, chatCommand } = context;
  const from = conversation(given);
  if (given.isAuthorizedSender === false) {
    throw new Refused("This command takes somebody whom the bot knows.");
  }
  if (from.kind === "group") {
    throw new Refused(`Not here, where others read along. Write \`${chatCommand} login\` to me in a private chat.`);
  }
  const text = (given.args ?? "").trim();
  const [word = "", ...rest] = text.split(/\s+/);
  const isAddress = /^https?:\/\//i.test(word);
  const subcommand = isAddress ? "paste" : word.toLowerCase();

  if (subcommand === "allow") {
    countAttempt(context.pluginId, from);
    if (!(await context.senders.accept(rest.join(" "), from))) {
      throw new Refused(
        `That is not the word, or its ten minutes are over. \`${context.allowCommand}\` prints a new one.`,
      );
    }
    return `You can log in to ${title} from here now: \`${chatCommand} login\`.`;
  }
  await requireAllowed(context, given, from);

  const isReplacement = rest[0]?.toLowerCase() === "replace";
  const named = (subcommand === "paste" ? undefined : isReplacement ? rest[1] : rest[0]) ?? context.profileOf(given);
  const config = context.config(named);
  switch (subcommand) {
    case "login":
      return privately(context, config, given, from, isReplacement);
    case "paste":
      return pasteIntoLogin(context, config, from, isAddress ? text : text.slice(word.length).trim());
    case "cancel":
      return (await cancelLogin(config, from))
        ? "The login was given up. Nothing was changed."
        : "No login is under way.";
    case "logout":
      await cancelLogin(config, from);
      return logoutText(await logout(config), title, context.say);
    case "status": {
      const login = await pendingLogin(config, from);
      // The path of a file is of use in a terminal alone.
      const known = statusText({ ...(await status(config)), path: "" }, title);
      return login === undefined ? known : `${known}\n\nA login waits for your approval.`;
    }
    case "accounts":
      return accountsText(context, config);
    default:
      return [
        `${chatCommand} login - log in to ${title}`,
        `${chatCommand} logout - log out`,
        `${chatCommand} status - how the login is`,
        `${chatCommand} accounts - all accounts; name one behind the other commands`,
        `${chatCommand} cancel - give up a login that waits`,
      ].join("\n");
  }
}

/** A person whom no list names must have sent the word of the terminal. */
export async function requireAllowed(
  {
    who,
    senders,
    runtime,
    title,
    allowCommand,
  }: Pick<ChatCommandContext, "who" | "senders" | "runtime" | "title" | "allowCommand">,
  given: ChatContext,
  from: Conversation,
): Promise<void> {
  const may =
    isOwner(from, given.config, given.gatewayClientScopes) ||
    (typeof who === "function"
      ? await who(from)
      : who === "listed" && (from.channel === webChat || (await isListed(from, given.config, runtime())))) ||
    (await senders.has(from));
  if (!may) {
    throw new Refused(
      `You may not log in to ${title} from here. Run \`${allowCommand}\` on the gateway's machine, and send the word that it prints.`,
    );
  }
}

/** Where the host does not say whether others read along, the code goes to the sender's own chat. */
async function privately(
  context: ChatCommandContext,
  config: AuthConfig,
  given: ChatContext,
  from: Conversation,
  isReplacement: boolean,
): Promise<string> {
  const text = await chatLogin(context, from, { config, hostConfig: given.config, isReplacement });
  if (from.kind === "private") {
    return text;
  }
  const send = await sender(from, context.runtime(), given.config);
  try {
    if (send !== undefined) {
      await send(text);
      return "I have written to you in our private chat.";
    }
  } catch (error) {
    context.logger.warn(`${context.title}: no private message could be sent on ${from.channel}: ${error}`);
  }
  await cancelLogin(config, from);
  throw new Refused(
    `I could not write to you alone, so the login was given up. Begin a private chat with me, or ${inTerminal(context.loginCommand(undefined))}.`,
  );
}

async function accountsText({ title, chatCommand, pluginId }: ChatCommandContext, config: AuthConfig): Promise<string> {
  const { profile: _, ...all } = config;
  const accounts = (await allAccounts(all)).filter(({ state }) => state !== "logged_out");
  if (accounts.length === 0) {
    return `Nobody is logged in to ${title}. Log in with \`${chatCommand} login\`.`;
  }
  return accounts
    .map((account) => {
      const { profile: _name, ...person } = account;
      return `${plainName(account.profile, pluginId)}: ${stateInWords(account)}${asWhom(person)}`;
    })
    .join("\n");
}
