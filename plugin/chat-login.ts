/** A login that a person begins in a chat: bound to that chat, and its outcome is written there. */
import { type AuthConfig, AuthError, type AuthStatus, status, type Verification } from "../index.js";
import { now, type SharedLogin, shared } from "../lib/shared.js";
import { explain } from "./account.ts";
import { sender } from "./chat-message.ts";
import { type Conversation, ownerOf } from "./conversation.ts";
import type { Say } from "./messages.ts";
import { beginLogin, type LoginContext, loginKey } from "./pending-login.ts";
import { asWhom, personOf } from "./status-text.ts";

/** A request that is refused, in words for the person. */
export class Refused extends Error {}

export interface ChatLoginContext extends LoginContext {
  /** The command in the chat: `/my-memory`. */
  chatCommand: string;
  loginCommand(profile: string | undefined): string;
  say: Say;
  runtime(): unknown;
  /** Where the browser comes back to; nothing where that is this machine. */
  redirectUri?: string | undefined;
}

const attemptsPerHour = 5;
const hour = 3_600_000;

/** Counts what may be guessed or sent again and again. */
export function countAttempt(pluginId: string, conversation: Conversation): void {
  const { chatAttempts } = shared();
  const key = JSON.stringify([pluginId, conversation.channel, conversation.senderId]);
  const recent = (chatAttempts.get(key) ?? []).filter((at) => at > now() - hour);
  if (recent.length >= attemptsPerHour) {
    const minutes = Math.ceil(((recent[0] ?? 0) + hour - now()) / 60_000);
    throw new Refused(`That was tried ${attemptsPerHour} times within an hour. Try again in ${minutes} minutes.`);
  }
  chatAttempts.set(key, [...recent, now()]);
}

/** The pending login of that account, unless another person has begun it in another chat. */
export async function pendingLogin(config: AuthConfig, conversation: Conversation): Promise<SharedLogin | undefined> {
  const login = shared().pendingLogins.get(await loginKey(config));
  return login && requireOwn(login, conversation);
}

function requireOwn(login: SharedLogin, conversation: Conversation): SharedLogin {
  if (login.owner !== undefined && login.owner !== ownerOf(conversation)) {
    throw new Refused(
      "Somebody else is logging in from another chat just now. Wait until that login has ended, which takes minutes.",
    );
  }
  return login;
}

/** The instructions for the person, or for the model that passes them on: the page and the code. */
export async function chatLogin(
  context: ChatLoginContext,
  conversation: Conversation,
  { config, hostConfig, isReplacement }: { config: AuthConfig; hostConfig: unknown; isReplacement: boolean },
): Promise<string> {
  const { title, chatCommand } = context;
  const running = await pendingLogin(config, conversation);
  let before: AuthStatus["account"];
  // One that was begun elsewhere, without asking, is joined as if it were begun here.
  if (running?.owner === undefined) {
    const known = await status(config);
    before = known.account;
    if (!isReplacement && (known.state === "valid" || known.state === "expiring")) {
      throw new Refused(
        `${title} is logged in already${asWhom(known)}. To replace that login by another, ` +
          `send \`${chatCommand} login replace\`; to end it, \`${chatCommand} logout\`.`,
      );
    }
    countAttempt(config.pluginId, conversation);
  }
  const { redirectUri } = context;
  // Another may have begun one while we looked.
  const login = requireOwn(
    await beginLogin(context, config, { owner: ownerOf(conversation), redirectUri }),
    conversation,
  );
  if (before !== undefined) {
    login.before ??= before;
  }
  const verification = await login.verification;
  const send = await sender(conversation, context.runtime(), hostConfig).catch(() => undefined);
  if (send !== undefined && !login.isAnnounced) {
    login.isAnnounced = true;
    const announce = async (text: string) => {
      try {
        // The host may have loaded the channel again since: the functions of before then write nothing (openclaw 2026.9.6).
        const current = login.isAnswered ? undefined : await sender(conversation, context.runtime(), hostConfig);
        await current?.(text);
      } catch (error) {
        context.logger.warn(
          `${title}: the outcome of a login could not be written to ${conversation.channel}: ${error}`,
        );
      }
    };
    login.outcome.then(
      (outcome) => announce(loggedIn(context, outcome, login)),
      (error: unknown) => announce(notLoggedIn(context, error)),
    );
  }
  return [invitation(context, verification), next(context, verification, send !== undefined)].join("\n\n");
}

/** Hands over what the browser shows. */
export async function pasteIntoLogin(
  context: ChatLoginContext,
  config: AuthConfig,
  conversation: Conversation,
  text: string,
): Promise<string> {
  const { chatCommand } = context;
  const login = await pendingLogin(config, conversation);
  if (login === undefined) {
    throw new Refused(`No login waits for anything. Begin one with \`${chatCommand} login\`.`);
  }
  if ((await login.verification).userCode !== "") {
    throw new Refused("Nothing is to be sent here: enter the code on the page.");
  }
  login.isAnswered = true;
  const ended = await login.paste(text);
  if (typeof ended === "string") {
    login.isAnswered = false;
    throw new Refused(ended);
  }
  return loggedIn(context, ended, login);
}

/** Ends the login of this chat; whether there was one. Its person knows, and gets no message about it. */
export async function cancelLogin(config: AuthConfig, conversation: Conversation): Promise<boolean> {
  const login = await pendingLogin(config, conversation);
  if (login !== undefined) {
    login.isAnswered = true;
    login.abort();
  }
  return login !== undefined;
}

/** In the words of the chat. */
export function inChat(error: unknown, { title, chatCommand, say }: ChatLoginContext): string | undefined {
  if (error instanceof Refused) {
    return error.message;
  }
  return error instanceof AuthError
    ? explain(error, title, () => `send \`${chatCommand} login\` in a private chat`, say).message
    : undefined;
}

function loggedIn({ title, say }: ChatLoginContext, outcome: AuthStatus, { before }: SharedLogin): string {
  const { scopes, missingScopes } = outcome;
  // If another person approved the code, the sender learns that.
  const isOther =
    before !== undefined && outcome.account !== undefined && personOf(before) !== personOf(outcome.account);
  const replaced = isOther ? ` Until now it was ${personOf(before)}.` : "";
  const lacking = missingScopes?.length ? ` The server did not grant ${missingScopes.join(" ")}.` : "";
  const text = `Logged in to ${title}${asWhom(outcome)}${scopes?.length ? `, for ${scopes.join(" ")}` : ""}.`;
  return say("loggedIn", { text, account: outcome.profile }) + replaced + lacking;
}

function notLoggedIn(context: ChatLoginContext, error: unknown): string {
  const { code, message } = error as AuthError;
  const again = `Begin again with \`${context.chatCommand} login\`.`;
  return code === "ABORTED"
    ? `The login to ${context.title} was ended before anybody approved it, and its code is worth nothing any more. ${again}`
    : `The login to ${context.title} failed. ${message} ${again}`;
}

function invitation({ title }: ChatLoginContext, verification: Verification): string {
  const { userCode, verificationUri, verificationUriComplete, expiresAt } = verification;
  const minutes = Math.max(1, Math.round((expiresAt - now()) / 60_000));
  const valid = `It is valid for ${minutes === 1 ? "a minute" : `${minutes} minutes`}, and for you alone: pass it on to nobody.`;
  if (userCode === "") {
    return `To log in to ${title}, open this page:\n\n${verificationUri}\n\n${valid}`;
  }
  return verificationUriComplete === undefined
    ? `To log in to ${title}, open this page:\n\n${verificationUri}\n\nand enter the code ${userCode}. ${valid}`
    : `To log in to ${title}, open this page:\n\n${verificationUriComplete}\n\nand check that it shows the code ${userCode}. ${valid}`;
}

function next({ chatCommand, redirectUri }: ChatLoginContext, { userCode }: Verification, isTold: boolean): string {
  const paste = `If the last page does not load, send its whole address here: \`${chatCommand} paste <address>\`.`;
  const outcome = isTold ? "When it is done, I write here." : `Afterwards, ask with \`${chatCommand} status\`.`;
  return userCode === "" && redirectUri === undefined ? `${paste} ${outcome}` : outcome;
}
