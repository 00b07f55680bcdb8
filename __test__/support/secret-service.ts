/**
 * A Secret Service of the tests' own, for what gnome-keyring does not do and other programs do:
 *
 * - `prompts`: `CreateItem` and `Delete` answer with a prompt and do their work when it is run (KeePassXC 2.7.4); with
 *   `confirmDelete` that of `Delete` opens a window, which `Dismiss` does not close;
 * - `silentUnlock`: `Unlock` answers with a prompt that completes at once, without a window (kwalletd5 5.103);
 * - while it is locked, a search finds nothing (oo7-daemon 0.7.0-beta, KeePassXC 2.7.4);
 * - `emptyWhenLocked`: `GetSecret` answers with an empty secret then (kwalletd5 5.103).
 *
 * `windows` counts what a person would have seen.
 */
import { type EventEmitter, once } from "node:events";
import { Message, type MessageBus, sessionBus, Variant } from "@jellybrick/dbus-next";
import type { Lifetime } from "./lifetime.ts";
import { SessionBus } from "./session-bus.ts";
import type { TempHome } from "./temp-home.ts";

const ROOT = "/org/freedesktop/secrets";
const INTERFACE = "org.freedesktop.Secret.";

type Attributes = Record<string, string>;

interface Item {
  keyring: string;
  attributes: Attributes;
  secret: Buffer;
}

export interface SecretServiceOptions {
  /** `CreateItem` and `Delete` answer with a prompt. */
  prompts?: boolean;
  /** The prompt of `Delete` asks a person. */
  confirmDelete?: boolean;
  /** `Unlock` answers with a prompt that opens no window. */
  silentUnlock?: boolean;
  /** The names that it has on the bus besides its own; with `org.kde.kwalletd5` its wallet is open. */
  names?: string[];
  /** The attributes of an entry stay as they were made. */
  fixedAttributes?: boolean;
  /** It knows only the methods that it must: not `Collection.SearchItems`, nor a keyring's `Label`. */
  bare?: boolean;
  /** A second keyring, which stays locked. */
  secondKeyring?: boolean;
  /** While it is locked, reads are empty. */
  emptyWhenLocked?: boolean;
  /** The name of its first keyring. @default "first" */
  keyring?: string;
}

export class SecretService {
  readonly #bus: MessageBus;
  readonly session: SessionBus;
  readonly #items = new Map<string, Item>();
  readonly #prompts = new Map<string, () => [boolean, Variant] | undefined>();
  readonly #locked = new Set<string>();
  readonly #keyrings: string[];
  readonly #first: string;
  readonly #closed = new Set<string>();
  #count = 0;
  /** The variables that lead to it. */
  readonly env: Record<string, string>;
  /** The behaviour towards prompts may change while it runs. */
  options: SecretServiceOptions;
  /** Windows that were opened, by what they ask. */
  readonly windows: string[] = [];
  readonly #shown = new Set<string>();
  #show = () => {};
  /** When a window was opened. */
  readonly shown = new Promise<void>((resolve) => {
    this.#show = resolve;
  });
  /** Prompts that were dismissed after they were run. */
  dismissed = 0;
  /** The person's answer to a window. */
  person: "answers" | "declines" | "is away" = "is away";
  /** Entries that it lists, although a person has removed what was in them, by their account. */
  readonly hollow = new Set<string>();
  /** Entries that cannot be removed, by their account. */
  readonly stuck = new Set<string>();
  /** The failure of a method. */
  failure: { method: string; reason: string; error?: string } | undefined;
  /** Whether there is a default keyring. */
  hasDefault = true;
  #default = 0;
  #held: { method: string; accepts: (account: string) => boolean; arrive: () => void } | undefined;
  readonly #waiting: Message[] = [];
  /** The methods that were called. */
  readonly calls: string[] = [];

  /** On a bus of its own, or on that one. */
  static async start(
    lifetime: Lifetime,
    home: TempHome,
    options: SecretServiceOptions = {},
    on?: SessionBus,
  ): Promise<SecretService> {
    const session = on ?? (await SessionBus.start(lifetime, home));
    const bus = sessionBus({ busAddress: session.address });
    await once(bus as unknown as EventEmitter, "connect");
    lifetime.after(() => bus.disconnect());
    const service = new SecretService(bus, session, options);
    for (const name of ["org.freedesktop.secrets", ...(options.names ?? [])]) await bus.requestName(name, 0);
    return service;
  }

  private constructor(bus: MessageBus, session: SessionBus, options: SecretServiceOptions) {
    this.#bus = bus;
    this.session = session;
    this.env = session.env;
    this.options = options;
    this.#first = `${ROOT}/collection/${options.keyring ?? "first"}`;
    this.#keyrings = [this.#first, ...(options.secondKeyring ? [`${ROOT}/collection/second`] : [])];
    for (const second of this.#keyrings.slice(1)) this.#locked.add(second);
    bus.addMethodHandler((message: Message) => this.#answer(message));
  }

  lock(): void {
    this.#locked.add(this.#first);
  }

  /** A person closes the database of the first keyring, or deletes that. `alias` is what "default" names then. */
  close(alias: "second" | "stale" | "none"): void {
    this.#closed.add(this.#first);
    this.#locked.clear();
    if (alias === "none") this.hasDefault = false;
    else this.#default = alias === "second" ? 1 : 0;
  }

  reopen(): void {
    this.#closed.clear();
    this.#default = 0;
    this.hasDefault = true;
  }

  /** A person makes the second keyring the one for new entries; unlocked, unless it is to stay locked. */
  makeSecondDefault({ locked = false } = {}): void {
    this.#default = 1;
    if (!locked) this.#locked.clear();
  }

  unlock(): void {
    this.#locked.delete(this.#first);
  }

  /** The accounts of all entries, sorted. */
  accounts(): string[] {
    return [...this.#items.values()].map((item) => String(item.attributes.account)).sort();
  }

  secret(account: string): string {
    return this.#item(account)?.secret.toString() ?? "";
  }

  set(account: string, secret: string): void {
    const item = this.#item(account);
    if (item !== undefined) item.secret = Buffer.from(secret);
  }

  remove(account: string): void {
    for (const [path, item] of this.#items) if (item.attributes.account === account) this.#items.delete(path);
  }

  rename(account: string, name: string): void {
    const item = this.#item(account);
    if (item !== undefined) item.attributes = { ...item.attributes, account: name };
  }

  /** Adds another entry with the same attributes, such as a killed program may have brought back. */
  copy(account: string, keyring: "first" | "second" = "first"): void {
    const item = this.#item(account);
    if (item === undefined) throw new Error(`There is no ${account}.`);
    this.#items.set(this.#path(`collection/${keyring}`), { ...item, keyring: `${ROOT}/collection/${keyring}` });
  }

  /** An entry that no longer is there comes back. */
  put(account: string, secret: string): void {
    const keyring = this.#first;
    const attributes = { service: "clawdbot-plugin-auth", account };
    this.#items.set(this.#path(keyring.slice(ROOT.length + 1)), { keyring, attributes, secret: Buffer.from(secret) });
  }

  /** Lets the next call of that method on such an entry wait, until `letGo`. Fulfilled when it has come. */
  hold(method: string, accepts: (account: string) => boolean): Promise<void> {
    return new Promise((arrive) => {
      this.#held = { method, accepts, arrive };
    });
  }

  /** Ends it as if it had died. */
  end(): void {
    this.#bus.disconnect();
  }

  letGo(): void {
    for (const message of this.#waiting.splice(0)) this.#answer(message);
  }

  #item(account: string): Item | undefined {
    return [...this.#items.values()].find((item) => item.attributes.account === account);
  }

  #path(under: string): string {
    this.#count += 1;
    return `${ROOT}/${under}/${this.#count}`;
  }

  #prompt(run: () => [boolean, Variant] | undefined): string {
    const path = this.#path("prompt");
    this.#prompts.set(path, run);
    return path;
  }

  #find(attributes: Attributes, keyring?: string): string[] {
    return (
      [...this.#items]
        .filter(([, item]) => keyring === undefined || item.keyring === keyring)
        // A locked keyring names no entries.
        .filter(([, item]) => !this.#locked.has(item.keyring) && !this.#closed.has(item.keyring))
        .filter(([, item]) => Object.entries(attributes).every(([name, value]) => item.attributes[name] === value))
        .map(([path]) => path)
    );
  }

  /** A window: a person answers it, or does not. */
  #window(what: string): "answers" | "declines" | "is away" {
    this.windows.push(what);
    this.#show();
    return this.person;
  }

  #answer(message: Message): boolean {
    const { member, path, interface: name } = message;
    if (
      name?.startsWith(INTERFACE) !== true &&
      name !== "org.freedesktop.DBus.Properties" &&
      name !== "org.kde.KWallet"
    ) {
      return false;
    }
    const held = this.#held;
    const of = String(this.#items.get(path as string)?.attributes.account);
    if (held?.method === member && held.accepts(of)) {
      this.#held = undefined;
      this.#waiting.push(message);
      held.arrive();
      return true;
    }
    this.calls.push(`${name.slice(name.lastIndexOf(".") + 1)}.${member}`);
    const reply = (signature: string, ...body: unknown[]) =>
      this.#bus.send(Message.newMethodReturn(message, signature, body));
    const fail = (error: string, text = "") => this.#bus.send(Message.newError(message, error, text));
    const body = message.body as never[];
    if (this.failure?.method === member) {
      fail(this.failure.error ?? "org.example.Error.Failed", this.failure.reason);
      return true;
    }
    if ([...this.#closed].some((keyring) => path === keyring || path?.startsWith(`${keyring}/`))) {
      fail("org.freedesktop.DBus.Error.UnknownObject");
      return true;
    }
    switch (member) {
      case "OpenSession":
        reply("vo", new Variant("s", ""), `${ROOT}/session/1`);
        break;
      case "ReadAlias":
        reply("o", this.hasDefault ? this.#keyrings[this.#default] : "/");
        break;
      case "Get":
        this.#property(path as string, body[1] as unknown as string, (value) => reply("v", value), fail);
        break;
      case "SearchItems":
        if (path === ROOT) {
          // KeePassXC does this before it searches.
          if (this.#locked.size === this.#keyrings.length) this.#window("unlock to search");
          reply("aoao", this.#find(body[0] as unknown as Attributes), []);
        } else if (this.options.bare) {
          fail("org.freedesktop.DBus.Error.UnknownMethod");
        } else {
          reply("ao", this.#find(body[0] as unknown as Attributes, path));
        }
        break;
      case "Unlock":
        this.#unlock(body[0] as unknown as string[], reply);
        break;
      case "CreateItem":
        this.#create(path as string, body, reply, fail);
        break;
      case "GetSecret": {
        const item = this.#items.get(path as string);
        if (item === undefined || this.hollow.has(of)) fail("org.freedesktop.Secret.Error.NoSuchObject");
        else if (this.#locked.has(item.keyring) && !this.options.emptyWhenLocked)
          fail("org.freedesktop.Secret.Error.IsLocked");
        else if (this.#locked.has(item.keyring)) reply("(oayays)", [body[0], Buffer.alloc(0), Buffer.alloc(0), ""]);
        else reply("(oayays)", [body[0], Buffer.alloc(0), item.secret, "text/plain"]);
        break;
      }
      case "SetSecret": {
        const item = this.#items.get(path as string);
        const [, , value] = body[0] as unknown as [string, Buffer, Buffer];
        if (item === undefined) fail("org.freedesktop.Secret.Error.NoSuchObject");
        else if (this.#locked.has(item.keyring)) fail("org.freedesktop.Secret.Error.IsLocked");
        else {
          item.secret = Buffer.from(value);
          reply("");
        }
        break;
      }
      case "Set": {
        const item = this.#items.get(path as string);
        const [, property, value] = body as unknown as [string, string, Variant];
        if (item === undefined) fail("org.freedesktop.DBus.Error.UnknownObject");
        else if (this.options.fixedAttributes) fail("org.freedesktop.DBus.Error.PropertyReadOnly");
        else {
          if (property === "Attributes") item.attributes = value.value as Attributes;
          reply("");
        }
        break;
      }
      case "Delete":
        this.#delete(path as string, reply, fail);
        break;
      case "Prompt":
        reply("");
        this.#run(path as string);
        break;
      case "Dismiss":
        if (this.#shown.delete(path as string)) this.dismissed += 1;
        this.#prompts.delete(path as string);
        reply("");
        break;
      case "isOpen":
        reply("b", body[0] !== "second");
        break;
      default:
        return false;
    }
    return true;
  }

  #property(path: string, name: string, reply: (value: Variant) => void, fail: (error: string) => void): void {
    if (name === "Collections")
      reply(
        new Variant(
          "ao",
          this.#keyrings.filter((keyring) => !this.#closed.has(keyring)),
        ),
      );
    else if (this.options.bare) fail("org.freedesktop.DBus.Error.UnknownProperty");
    else if (name === "Locked") reply(new Variant("b", this.#locked.has(path)));
    else if (name === "Label") reply(new Variant("s", path.slice(path.lastIndexOf("/") + 1)));
    else fail("org.freedesktop.DBus.Error.UnknownProperty");
  }

  #unlock(paths: string[], reply: (signature: string, ...body: unknown[]) => void): void {
    const locked = paths.filter((path) => this.#locked.has(path));
    const prompt = () => {
      const answer = this.options.silentUnlock ? "answers" : this.#window("unlock");
      if (answer === "is away") return undefined;
      if (answer === "answers") for (const path of locked) this.#locked.delete(path);
      return [answer === "declines", new Variant("ao", answer === "answers" ? locked : [])] as [boolean, Variant];
    };
    reply(
      "aoo",
      paths.filter((path) => !locked.includes(path)),
      locked.length === 0 ? "/" : this.#prompt(prompt),
    );
  }

  #create(
    keyring: string,
    body: never[],
    reply: (signature: string, ...body: unknown[]) => void,
    fail: (error: string) => void,
  ): void {
    const [properties, [, , value], replace] = body as unknown as [
      Record<string, Variant>,
      [string, Buffer, Buffer],
      boolean,
    ];
    if (this.#locked.has(keyring)) {
      fail("org.freedesktop.Secret.Error.IsLocked");
      return;
    }
    const attributes = properties[`${INTERFACE}Item.Attributes`]?.value as Attributes;
    const create = (): string => {
      const [existing] = replace ? this.#find(attributes, keyring) : [];
      const path = existing ?? this.#path(keyring.slice(ROOT.length + 1));
      this.#items.set(path, { keyring, attributes, secret: Buffer.from(value) });
      return path;
    };
    if (this.options.prompts) {
      reply(
        "oo",
        "/",
        this.#prompt(() => [false, new Variant("o", create())]),
      );
    } else {
      reply("oo", create(), "/");
    }
  }

  #delete(path: string, reply: (signature: string, ...body: unknown[]) => void, fail: (error: string) => void): void {
    const item = this.#items.get(path);
    if (item === undefined) {
      fail("org.freedesktop.DBus.Error.UnknownObject");
      return;
    }
    if (this.#locked.has(item.keyring)) {
      fail("org.freedesktop.Secret.Error.IsLocked");
      return;
    }
    const isStuck = this.stuck.has(String(item.attributes.account));
    if (!this.options.prompts) {
      if (isStuck) fail("org.example.Error.Failed");
      else {
        this.#items.delete(path);
        reply("o", "/");
      }
      return;
    }
    const run = (): [boolean, Variant] | undefined => {
      const answer = this.options.confirmDelete ? this.#window("delete") : "answers";
      if (isStuck || answer === "is away") return undefined;
      if (answer === "declines") return [true, new Variant("s", "")];
      this.#items.delete(path);
      return [false, new Variant("s", "")];
    };
    reply("o", this.#prompt(run));
  }

  #run(path: string): void {
    const completed = this.#prompts.get(path)?.();
    if (completed === undefined) {
      this.#shown.add(path);
      return;
    }
    this.#prompts.delete(path);
    this.#bus.send(Message.newSignal(path, `${INTERFACE}Prompt`, "Completed", "bv", completed));
  }
}
