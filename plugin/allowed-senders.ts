/** Who may log in from a chat: whoever the host lets talk to it by name, and who has sent a word from the terminal. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { status } from "../index.js";
import { type Conversation, personIn, webChat } from "./conversation.ts";

/** "listed": everyone whom the host's configuration or pairing names; "owners": whom it names as owners. */
export type Who = "listed" | "owners" | ((sender: Conversation) => boolean | Promise<boolean>);

interface Sender {
  channel: string;
  senderId: string;
}

interface Kept {
  version: 1;
  /** SHA-256 of the word, and until when it is good. */
  word?: { sha256: string; expiresAt: number };
  senders: Sender[];
}

const patience = 10 * 60_000;

export interface SenderSource {
  pluginId: string;
  stateDir: string | undefined;
}

export class AllowedSenders {
  readonly #source: () => SenderSource;

  constructor(source: () => SenderSource) {
    this.#source = source;
  }

  /** Makes the word that lets the first who sends it log in from a chat, for ten minutes. */
  async invite(): Promise<string> {
    const word = randomBytes(6).toString("base64url").toLowerCase().replace(/[_-]/g, "x");
    const kept = await this.#read();
    await this.#write({ ...kept, word: { sha256: hash(word), expiresAt: Date.now() + patience } });
    return word;
  }

  /** Whether that is the word; then it is worth nothing any more, and its sender may log in. */
  async accept(word: string, { channel, senderId }: Conversation): Promise<boolean> {
    const kept = await this.#read();
    const { word: wanted, senders } = kept;
    const isIt =
      wanted !== undefined &&
      wanted.expiresAt > Date.now() &&
      timingSafeEqual(Buffer.from(hash(word.trim().toLowerCase())), Buffer.from(wanted.sha256));
    if (isIt) {
      await this.#write({ version: 1, senders: [...senders, { channel, senderId }] });
    }
    return isIt;
  }

  async list(): Promise<Sender[]> {
    return (await this.#read()).senders;
  }

  /** Lets nobody log in any more for having sent a word. */
  async clear(): Promise<void> {
    await this.#write({ version: 1, senders: [] });
  }

  async has({ channel, senderId }: Conversation): Promise<boolean> {
    const senders = await this.list();
    return senders.some((sender) => sender.channel === channel && sender.senderId === senderId);
  }

  async #path(): Promise<string> {
    const { pluginId, stateDir } = this.#source();
    // Beside the logins. No account begins with a dot.
    const { path } = await status({ pluginId, ...(stateDir !== undefined && { stateDir }) });
    return join(dirname(path), ".chat.json");
  }

  async #read(): Promise<Kept> {
    try {
      const kept = JSON.parse(readFileSync(await this.#path(), "utf8")) as Partial<Kept>;
      const senders = Array.isArray(kept.senders) ? kept.senders : [];
      return { version: 1, senders, ...(kept.word !== undefined && { word: kept.word }) };
    } catch {
      // Nobody may, until a new word was sent.
      return { version: 1, senders: [] };
    }
  }

  async #write(kept: Kept): Promise<void> {
    const path = await this.#path();
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const made = `${path}.${process.pid}.new`;
    writeFileSync(made, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
    renameSync(made, path);
  }
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
 * Whether the host lets this person in by name. `"*"` names nobody. In a private chat with a list that has no `"*"` the host's
 * own check says so; elsewhere the sender has to be in a list by the id that the host gives, or paired.
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

/** Those who were paired with the bot: another list of the host's. */
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
