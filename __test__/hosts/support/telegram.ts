/** A loopback Bot API of Telegram: messages of people to the bot, and of the bot to people. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Lifetime } from "../../support/lifetime.ts";

export interface Message {
  chat: number;
  text: string;
  thread: number | undefined;
}

interface Written {
  from: number;
  /** A group, if it is not the private chat with the bot. */
  group?: number;
  thread?: number;
}

/** Where a host says little, this notice follows the answer itself, and may come after the next message was sent. */
const anyAnswer = /^(?!I have written to you in our private chat\.$)/;

export class Telegram {
  readonly url: string;
  /** All that the bot has written. */
  readonly sent: Message[] = [];
  #updates: { update_id: number }[] = [];
  #numbers = 0;
  #changed: () => void = () => {};
  #change = this.#nextChange();

  static async start(lifetime: Lifetime): Promise<Telegram> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const telegram = new Telegram(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on("request", (request, response) => void telegram.#answer(request, response));
    lifetime.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return telegram;
  }

  private constructor(url: string) {
    this.url = url;
  }

  /** A person writes to the bot. */
  write(text: string, { from, group, thread }: Written): void {
    const person = { id: from, is_bot: false, first_name: `Person${from}`, username: `person${from}` };
    const chat =
      group === undefined
        ? { id: from, type: "private", first_name: person.first_name }
        : { id: group, type: "supergroup", title: "Group", ...(thread !== undefined && { is_forum: true }) };
    const length = text.split(" ")[0]?.length;
    this.#updates.push({
      update_id: ++this.#numbers,
      message: {
        message_id: this.#numbers,
        date: Math.floor(Date.now() / 1000),
        from: person,
        chat,
        text,
        ...(thread !== undefined && { message_thread_id: thread, is_topic_message: true }),
        ...(text.startsWith("/") && { entities: [{ type: "bot_command", offset: 0, length }] }),
      },
    } as { update_id: number });
    this.#changed();
  }

  /** The first message to that chat, of those that come after `before` others. */
  async message(pattern: RegExp, chat: number, before = 0): Promise<string> {
    for (;;) {
      const found = this.sent.slice(before).find((message) => message.chat === chat && pattern.test(message.text));
      if (found !== undefined) {
        return found.text;
      }
      await this.#change;
    }
  }

  /** Writes, and waits for what the bot answers to that. */
  async ask(text: string, written: Written, pattern = anyAnswer): Promise<string> {
    const before = this.sent.length;
    this.write(text, written);
    return this.message(pattern, written.group ?? written.from, before);
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = () => {
        this.#change = this.#nextChange();
        resolve();
      };
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) {
      body += chunk;
    }
    const url = new URL(request.url ?? "/", this.url);
    const parameters = { ...Object.fromEntries(url.searchParams), ...parsed(body) } as Record<string, string>;
    const result = await this.#result(url.pathname.split("/").at(-1) ?? "", parameters, response);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ ok: true, result }));
  }

  async #result(
    method: string,
    { offset, chat_id, text, message_thread_id }: Record<string, string>,
    response: ServerResponse,
  ) {
    switch (method) {
      case "getMe":
        return { id: 42, is_bot: true, first_name: "Bot", username: "demo_bot", can_join_groups: true };
      case "getUpdates": {
        const due = () => this.#updates.filter(({ update_id }) => update_id >= Number(offset ?? 0));
        const isOver = new Promise<void>((resolve) => {
          response.once("close", resolve);
          setTimeout(resolve, 5_000).unref();
        });
        let waits = true;
        isOver.then(() => {
          waits = false;
          this.#changed();
        });
        while (due().length === 0 && waits) {
          await this.#change;
        }
        return due();
      }
      case "sendMessage": {
        const thread = message_thread_id === undefined ? undefined : Number(message_thread_id);
        this.sent.push({ chat: Number(chat_id), text: unescaped(text ?? ""), thread });
        this.#changed();
        const chat = { id: Number(chat_id), type: "private" };
        return { message_id: 1_000_000 + this.sent.length, date: Math.floor(Date.now() / 1000), chat, text };
      }
      case "getWebhookInfo":
        return { url: "" };
      case "getChat":
        return { id: Number(chat_id), type: "private" };
      case "getMyCommands":
        return [];
      default:
        return true;
    }
  }
}

function parsed(body: string): object {
  try {
    return JSON.parse(body) as object;
  } catch {
    return Object.fromEntries(new URLSearchParams(body));
  }
}

/** The bot writes HTML. */
function unescaped(html: string): string {
  const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"' };
  return html
    .replace(/<a href="([^"]*)">[^<]*<\/a>/g, "$1")
    .replace(/<[^>]*>/g, "")
    .replace(/&(amp|lt|gt|quot);/g, (_, name: string) => entities[name] ?? "");
}
