/** People who may log in from a chat: those whom the host names, and those who sent a word from the terminal. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { status } from "../index.js";
import { now } from "../lib/shared.js";
import { type Conversation, personIn, webChat } from "./conversation.ts";

/** "listed": everyone whom the host's configuration or pairing names; "owners": whom it names as owners. */
export type Who = "listed" | "owners" | ((sender: Conversation) => boolean | Promise<boolean>);

interface Sender {
  channel: string;
  senderId: string;
}

const patience = 10 * 60_000;

export interface SenderSource {
  pluginId: string;
  stateDir: string | undefined;
}

/**
 * The people who have sent a word, and the valid words: one file for each. A word is removed by whoever has made the
 * file beside it, so no two senders, of any processes, can use one; and no file is read to be written again.
 */
export class AllowedSenders {
  readonly #source: () => SenderSource;

  constructor(source: () => SenderSource) {
    this.#source = source;
  }

  /** Makes a word that lets the first who sends it log in from a chat, for ten minutes. */
  async invite(): Promise<string> {
    const folder = await this.#folder();
    // A killed process leaves the second without the first.
    for (const name of namesIn(folder, /^word-\w+(\.taken)?$/)) {
      if (!isGood(join(folder, name.replace(".taken", "")))) {
        rmSync(join(folder, name), { force: true });
      }
    }
    const word = randomBytes(6).toString("base64url").toLowerCase().replace(/[_-]/g, "x");
    const file = wordFile(folder, word);
    renameSync(written(file, { version: 1, expiresAt: now() + patience }), file);
    return word;
  }

  /** Whether that is a word; then it is worth nothing any more, and its sender may log in. */
  async accept(text: string, { channel, senderId }: Conversation): Promise<boolean> {
    const folder = await this.#folder();
    const word = wordFile(folder, text.trim().toLowerCase());
    if (!isGood(word)) {
      return false;
    }
    const sender = senderFile(folder, { channel, senderId });
    // First what a full disk would refuse, then what cannot be taken back.
    const made = written(sender, { version: 1, channel, senderId });
    let isOurs = false;
    try {
      isOurs = takes(word);
      // Whoever had it before may be done.
      if (!isOurs || !isGood(word)) {
        return false;
      }
      unlinkSync(word);
      renameSync(made, sender);
      return true;
    } finally {
      rmSync(made, { force: true });
      if (isOurs) {
        rmSync(taken(word), { force: true });
      }
    }
  }

  async list(): Promise<Sender[]> {
    const folder = await this.#folder();
    return namesIn(folder, /^sender-\w+$/).flatMap((name) => {
      const { channel, senderId } = contentOf(join(folder, name));
      return typeof channel === "string" && typeof senderId === "string" ? [{ channel, senderId }] : [];
    });
  }

  /** Lets nobody log in any more for having sent a word; no word is good any more. */
  async clear(): Promise<void> {
    const folder = await this.#folder();
    for (const name of namesIn(folder, /^/)) {
      rmSync(join(folder, name), { force: true });
    }
  }

  async has(sender: Conversation): Promise<boolean> {
    const { channel, senderId } = contentOf(senderFile(await this.#folder(), sender));
    return channel === sender.channel && senderId === sender.senderId;
  }

  async #folder(): Promise<string> {
    const { pluginId, stateDir } = this.#source();
    // Beside the logins. No account begins with a dot.
    const { path } = await status({ pluginId, ...(stateDir !== undefined && { stateDir }) });
    return join(dirname(path), ".chat");
  }
}

function wordFile(folder: string, word: string): string {
  return join(folder, `word-${hash(word)}`);
}

function senderFile(folder: string, { channel, senderId }: Sender): string {
  return join(folder, `sender-${hash(JSON.stringify([channel, senderId]))}`);
}

/** The name of the file that makes a word its maker's. */
function taken(word: string): string {
  return `${word}.taken`;
}

/** Takes a word, unless another has it. Removing the word would not do: on Windows, two who have it open both can. */
function takes(word: string): boolean {
  try {
    writeFileSync(taken(word), "", { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    // The second and third: on Windows, of a file that is just being removed.
    if (["EEXIST", "EPERM", "EACCES"].includes(String((error as NodeJS.ErrnoException).code))) {
      return false;
    }
    throw error;
  }
}

function isGood(word: string): boolean {
  const { expiresAt } = contentOf(word);
  return typeof expiresAt === "number" && expiresAt > now();
}

function namesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder).filter((name) => pattern.test(name));
  } catch {
    // Nobody was invited yet.
    return [];
  }
}

/** Nothing, if it is gone or damaged: nobody may, until a new word was sent. */
function contentOf(file: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return {};
  }
}

/** The content under a name of its own, to be renamed. */
function written(file: string, content: object): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const made = `${file}.${randomBytes(6).toString("hex")}.new`;
  writeFileSync(made, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  return made;
}

/** Whether the host's configuration makes the sender an owner, or the client of the gateway may do everything. */
export function isOwner(sender: Conversation, config: unknown, scopes: readonly string[] | undefined): boolean {
  if (sender.channel === webChat) {
    // clawdbot does not say; there every client has the gateway's token.
    return scopes === undefined || scopes.includes("operator.admin");
  }
  const { ownerAllowFrom } = (config as HostConfig | undefined)?.commands ?? {};
  return names(ownerAllowFrom, sender, true);
}

/**
 * Whether the host lets this person in by name. `"*"` names nobody. In a private chat with a list that has no `"*"`
 * the host's own check says so; elsewhere the sender has to be in a list by the id that the host gives, or paired.
 */
export async function isListed(sender: Conversation, config: unknown, runtime: unknown): Promise<boolean> {
  const { channels, commands } = (config as HostConfig | undefined) ?? {};
  const settings = channels?.[sender.channel];
  const accounts = Object.entries(settings?.accounts ?? {})
    .filter(([id]) => sender.accountId === undefined || id === sender.accountId)
    .map(([, account]) => account);
  const places = [settings, ...accounts].flatMap((place) => [place, place?.dm]);
  const lists = [...places.map((place) => place?.allowFrom), commands?.allowFrom?.[sender.channel]];
  const isOpen =
    settings === undefined ||
    commands?.useAccessGroups === false ||
    places.some((place) => place?.dmPolicy === "open" || place?.policy === "open") ||
    [...lists, commands?.allowFrom?.["*"]].some((list) => Array.isArray(list) && list.map(String).includes("*"));
  if (sender.kind === "private" && !isOpen) {
    return true;
  }
  return lists.some((list) => names(list, sender)) || names(await paired(sender, runtime), sender);
}

interface Place {
  allowFrom?: unknown;
  dmPolicy?: unknown;
  policy?: unknown;
}

interface HostConfig {
  channels?: Record<string, (Place & { dm?: Place; accounts?: Record<string, Place & { dm?: Place }> }) | undefined>;
  commands?: { allowFrom?: Record<string, unknown>; ownerAllowFrom?: unknown; useAccessGroups?: unknown };
}

/** The people who were paired with the bot: another list of the host's. */
async function paired({ channel, accountId }: Conversation, runtime: unknown): Promise<unknown> {
  type Read = (channel: unknown) => unknown;
  const read = (runtime as { channel?: { pairing?: { readAllowFromStore?: Read } } } | undefined)?.channel?.pairing
    ?.readAllowFromStore;
  // Newer hosts take an object, older ones the name alone; neither takes the other's.
  for (const argument of [{ channel, accountId }, channel]) {
    try {
      const list = await read?.(argument);
      if (Array.isArray(list) && list.length > 0) {
        return list;
      }
    } catch {}
  }
  return [];
}

/** @param isForAll The list is of all channels: an entry names its own. */
function names(list: unknown, { channel, senderId }: Conversation, isForAll = false): boolean {
  if (!Array.isArray(list) || senderId === "") {
    return false;
  }
  return list.some((entry) => {
    const text = String(entry).toLowerCase();
    const isOfChannel = text.startsWith(`${channel}:`);
    const isOfOther = isForAll && !isOfChannel && /^[a-z]+:/.test(text);
    return !isOfOther && personIn(isOfChannel ? text.slice(channel.length + 1) : text) === personIn(senderId);
  });
}

function hash(word: string): string {
  return createHash("sha256").update(word).digest("hex");
}
