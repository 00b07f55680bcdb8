/**
 * Real programs that serve secrets: KeePassXC, KWallet and oo7, each on a session bus and a screen of its own.
 *
 *     const program = await KeychainProgram.start(t, home, "keepassxc");
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { type EventEmitter, once } from "node:events";
import { existsSync, mkdirSync, statSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Message, type MessageBus, sessionBus, Variant } from "@jellybrick/dbus-next";
import type { Lifetime } from "./lifetime.ts";
import { Screen } from "./screen.ts";
import { SessionBus } from "./session-bus.ts";
import type { TempHome } from "./temp-home.ts";

const SECRETS = "org.freedesktop.secrets";
const ROOT = "/org/freedesktop/secrets";
const password = "the password of the keyring";

export type ProgramName = "keepassxc" | "kwalletd5" | "oo7-daemon";

/** Where `npm run test:long` puts what Debian does not have. */
const tools = fileURLToPath(new URL("../../target/tools/oo7/bin", import.meta.url));

const fileOf = (name: ProgramName): string => (name === "oo7-daemon" ? join(tools, name) : name);

export class KeychainProgram {
  readonly #lifetime: Lifetime;
  readonly #home: TempHome;
  readonly #bus: SessionBus;
  readonly #connection: MessageBus;
  readonly #name: ProgramName;
  readonly screen: Screen;
  /** The tests in which the program crashed by itself. */
  static readonly crashed = new WeakSet<Lifetime>();
  #process: ChildProcess | undefined;

  /** Why it is not there; false where it is. */
  static unavailable(name: ProgramName): string | false {
    if (process.platform !== "linux") return `${name} is for Linux`;
    const needed: [string, string[]][] = [
      ["secret-tool", ["--version"]],
      ["Xvfb", ["-help"]],
      ["xwininfo", ["-version"]],
      ["xwd", ["-help"]],
    ];
    for (const [program, args] of needed) {
      if (spawnSync(program, args, { stdio: "ignore" }).error !== undefined) return `${program} is not installed`;
    }
    const file = fileOf(name);
    const isThere =
      name === "oo7-daemon" ? existsSync(file) : spawnSync("which", [file], { stdio: "ignore" }).status === 0;
    return isThere ? false : `${name} is not installed: npm run test:long`;
  }

  /** With an unlocked keyring, on a bus of its own or on that one. */
  static async start(
    lifetime: Lifetime,
    home: TempHome,
    name: ProgramName,
    settings = "",
    on?: SessionBus,
  ): Promise<KeychainProgram> {
    const [bus, screen] = await Promise.all([on ?? SessionBus.start(lifetime, home), Screen.start(lifetime, home)]);
    const connection = sessionBus({ busAddress: bus.address });
    await once(connection as unknown as EventEmitter, "connect");
    lifetime.after(() => connection.disconnect());
    const program = new KeychainProgram(lifetime, home, bus, screen, connection, name);
    if (name === "keepassxc") {
      program.#makeDatabase("passwords");
      program.#configure(settings);
    }
    if (name === "kwalletd5") {
      mkdirSync(join(home.path, ".config"), { recursive: true });
      writeFileSync(
        join(home.path, ".config", "kwalletrc"),
        "[Wallet]\nEnabled=true\nFirst Use=false\nPrompt on Open=false\n[org.freedesktop.secrets]\napiEnabled=true\n",
      );
      // The first run makes the wallet; only the second one serves it.
      await program.#spawn();
      await program.kill("SIGTERM");
    }
    await program.run();
    return program;
  }

  private constructor(
    lifetime: Lifetime,
    home: TempHome,
    bus: SessionBus,
    screen: Screen,
    connection: MessageBus,
    name: ProgramName,
  ) {
    this.#lifetime = lifetime;
    this.#home = home;
    this.#bus = bus;
    this.screen = screen;
    this.#connection = connection;
    this.#name = name;
  }

  get env(): Record<string, string> {
    return this.#bus.env;
  }

  /** Starts the program, as the login of a session does: with the password. */
  async run(): Promise<void> {
    const child = await this.#spawn();
    for (;;) {
      // KeePassXC and oo7 name a keyring before it can be used; KWallet says locked of a wallet that is open.
      const keyring = await this.#default().catch(() => "/");
      const isThere =
        keyring !== "/" && (this.#name === "kwalletd5" || !(await this.#isLocked(keyring).catch(() => true)));
      if (isThere) break;
      if (child.exitCode !== null) throw new Error(`${this.#name} did not start.`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #isLocked(keyring: string): Promise<boolean> {
    const get = ["org.freedesktop.Secret.Collection", "Locked"];
    const [locked] = await this.#call(SECRETS, keyring, "org.freedesktop.DBus.Properties.Get", "ss", get);
    return (locked as Variant<boolean>).value;
  }

  /** Its keyrings, and whether each is locked. */
  async #keyrings(): Promise<Record<string, boolean>> {
    const get = ["org.freedesktop.Secret.Service", "Collections"];
    const [all] = await this.#call(SECRETS, ROOT, "org.freedesktop.DBus.Properties.Get", "ss", get);
    const keyrings: Record<string, boolean> = {};
    for (const keyring of (all as Variant<string[]>).value) keyrings[keyring] = await this.#isLocked(keyring);
    return keyrings;
  }

  /** Starts KeePassXC or KWallet with a second keyring that is locked, which KeePassXC calls the default one then. */
  async runWithSecond(): Promise<void> {
    // KeePassXC 2.7.4 now and then locks at a SIGTERM, and does not end.
    await this.kill(this.#name === "keepassxc" ? "SIGKILL" : "SIGTERM");
    if (this.#name === "keepassxc") {
      this.#makeDatabase("second");
      await this.#spawn(["passwords", "second"]);
      const isReady = (keyrings: boolean[]) => keyrings.length === 2 && keyrings.includes(false);
      while (!isReady(Object.values(await this.#keyrings().catch(() => ({}))))) {}
    } else {
      await this.#spawn();
      await this.#openWallet("second");
      await this.kill("SIGTERM");
      await this.run();
    }
  }

  /** Starts KeePassXC as it is after a restart, before its password is typed: no database is open. */
  async runClosed(): Promise<void> {
    await this.#spawn([]);
    while ((await this.#default().catch(() => undefined)) !== "/") {}
  }

  async #spawn(databases = ["passwords"]): Promise<ChildProcess> {
    const files = databases.map((name) => join(this.#home.path, `${name}.kdbx`));
    const args = {
      keepassxc: files.length === 0 ? [] : ["--pw-stdin", ...files],
      kwalletd5: [],
      "oo7-daemon": ["--login"],
    }[this.#name];
    const child = spawn(fileOf(this.#name), args, {
      env: this.#home.env({ ...this.env, ...this.screen.env }),
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#process = child;
    child.once("exit", (_, signal) => {
      if (signal === "SIGSEGV" || signal === "SIGABRT") KeychainProgram.crashed.add(this.#lifetime);
    });
    child.stdin?.end(this.#name === "keepassxc" ? `${password}\n` : password);
    this.#lifetime.after(() => this.kill());
    if (this.#name === "kwalletd5") await this.#openWallet();
    return child;
  }

  /** Does the work of PAM at the session's login: a key of 56 bytes. */
  async #openWallet(wallet = "kdewallet"): Promise<void> {
    for (;;) {
      const opened = await this.#call("org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet.pamOpen", "sayi", [
        wallet,
        Buffer.alloc(56, "A"),
        0,
      ]).then(
        () => true,
        () => false,
      );
      if (opened) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "close");
      child.kill(signal);
      await ended;
    }
  }

  /** Starts it again if it has crashed by itself, as that error may show. Says whether it had. */
  async revive(error: unknown): Promise<boolean> {
    const child = this.#process;
    if (child === undefined) return false;
    if (child.exitCode === null && child.signalCode === null) {
      const { message } = error as Error;
      if (!/it ended before it answered|not provided by any|disconnected from message bus/.test(message)) return false;
      await once(child, "exit");
    }
    const hasCrashed = child.signalCode === "SIGSEGV" || child.signalCode === "SIGABRT";
    if (hasCrashed) await this.run();
    return hasCrashed;
  }

  /** Locks the default keyring, by a prompt where the program wants one. */
  async lock(): Promise<void> {
    const keyring = await this.#default();
    const [, prompt] = await this.#service("Service.Lock", "ao", [[keyring]]);
    if (prompt !== "/") await this.#prompt(prompt as string);
    // KeePassXC answers before it has locked its database.
    while (this.#name !== "kwalletd5" && !(await this.#isLocked(keyring).catch(() => true))) {}
  }

  /** Until the program has written what it has confirmed: KWallet some seconds later, KeePassXC at once or soon. */
  async written(since: number): Promise<void> {
    const isWallet = this.#name === "kwalletd5";
    const [folder, wanted] = isWallet
      ? [join(this.#home.path, ".local", "share", "kwalletd"), "kdewallet.kwl"]
      : [this.#home.path, "passwords.kdbx"];
    const isNew = () => statSync(join(folder, wanted)).mtimeMs >= since;
    const watcher = watch(folder);
    while (!isNew()) await once(watcher, "change");
    watcher.close();
  }

  /** The accounts of our entries, sorted. */
  accounts(): string[] {
    const { stdout, stderr } = this.#run(["search", "--all", "service", "clawdbot-plugin-auth"]);
    const found = `${stdout}\n${stderr}`.matchAll(/^attribute\.account = (.*)$/gm);
    return [...found].map(([, account]) => account as string).sort();
  }

  secret(account: string): string {
    return this.#run(["lookup", "service", "clawdbot-plugin-auth", "account", account]).stdout;
  }

  remove(account: string): void {
    this.#run(["clear", "service", "clawdbot-plugin-auth", "account", account]);
  }

  /** The accounts of our entries that are more than a trial, sorted; without a program that KWallet has demands of. */
  async entries(): Promise<string[]> {
    const found = await this.#found({ service: "clawdbot-plugin-auth" });
    const get = ["org.freedesktop.Secret.Item", "Attributes"];
    const accounts = found.map(async (path) => {
      const [value] = await this.#call(SECRETS, path, "org.freedesktop.DBus.Properties.Get", "ss", get);
      return String((value as Variant<Record<string, string>>).value.account);
    });
    return (await Promise.all(accounts)).filter((account) => !account.endsWith("/trial")).sort();
  }

  /** A person removes an entry. */
  async delete(account: string): Promise<void> {
    for (const path of await this.#found({ account })) {
      const [prompt] = await this.#service("Item.Delete", "", [], path);
      if (prompt !== "/") await this.#prompt(prompt as string);
    }
  }

  /** Another entry of that name that holds the same. */
  async copy(account: string): Promise<void> {
    const [entry] = await this.#found({ account });
    await this.#create(account, await this.#secretOf(entry as string), await this.#openSession());
  }

  /** A person edits an entry. */
  async edit(account: string, secret: string | Buffer, contentType = "text/plain"): Promise<void> {
    const [entry] = await this.#found({ account });
    const edited = [await this.#openSession(), Buffer.alloc(0), Buffer.from(secret), contentType];
    await this.#service("Item.SetSecret", "(oayays)", [edited], entry as string);
  }

  /** A person calls an entry something else, and saves it in another program's form. */
  async relabel(account: string): Promise<void> {
    const [entry] = await this.#found({ account });
    const label = ["org.freedesktop.Secret.Item", "Label", new Variant("s", "renamed by hand")];
    await this.#call(SECRETS, entry as string, "org.freedesktop.DBus.Properties.Set", "ssv", label);
    await this.edit(account, await this.#secretOf(entry as string), "application/octet-stream");
  }

  async #secretOf(entry: string): Promise<Buffer> {
    const [secret] = await this.#service("Item.GetSecret", "o", [await this.#openSession()], entry);
    return (secret as unknown[])[2] as Buffer;
  }

  async #openSession(): Promise<unknown> {
    return (await this.#service("Service.OpenSession", "sv", ["plain", new Variant("s", "")]))[1];
  }

  async #create(account: string, secret: Buffer, session: unknown): Promise<void> {
    const properties = {
      "org.freedesktop.Secret.Item.Label": new Variant("s", "written by hand"),
      "org.freedesktop.Secret.Item.Attributes": new Variant("a{ss}", { service: "clawdbot-plugin-auth", account }),
    };
    const body = [properties, [session, Buffer.alloc(0), secret, "text/plain"], false];
    const created = await this.#service("Collection.CreateItem", "a{sv}(oayays)b", body, await this.#default());
    if (created[1] !== "/") await this.#prompt(created[1] as string);
  }

  /** A person closes the wallet of KWallet; and opens it. */
  async closeWallet(): Promise<void> {
    await this.#call("org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet.closeAllWallets", "", []);
  }

  async openWallet(): Promise<void> {
    await this.#openWallet();
  }

  async #found(attributes: Record<string, string>): Promise<string[]> {
    const unlocked = Object.entries(await this.#keyrings()).filter(([, isLocked]) => !isLocked);
    const found = new Set<string>();
    for (const keyring of [await this.#default(), ...unlocked.map(([path]) => path)]) {
      const [items] = await this.#service("Collection.SearchItems", "a{ss}", [attributes], keyring);
      for (const item of items as string[]) found.add(item);
    }
    return [...found];
  }

  #run(args: string[], input = ""): { stdout: string; stderr: string } {
    const env = this.#home.env({ ...this.env, ...this.screen.env });
    const { stdout, stderr } = spawnSync("secret-tool", args, { env, encoding: "utf8", input, timeout: 10_000 });
    return { stdout, stderr };
  }

  async #default(): Promise<string> {
    const [keyring] = await this.#service("Service.ReadAlias", "s", ["default"]);
    return keyring as string;
  }

  #service(method: string, signature: string, body: unknown[], path = ROOT): Promise<unknown[]> {
    return this.#call(SECRETS, path, `org.freedesktop.Secret.${method}`, signature, body);
  }

  async #call(
    destination: string,
    path: string,
    method: string,
    signature: string,
    body: unknown[],
  ): Promise<unknown[]> {
    const dot = method.lastIndexOf(".");
    const message = new Message({
      destination,
      path,
      interface: method.slice(0, dot),
      member: method.slice(dot + 1),
      signature,
      body,
    });
    return (await this.#connection.call(message))?.body ?? [];
  }

  async #prompt(path: string): Promise<void> {
    const rule = "type='signal',interface='org.freedesktop.Secret.Prompt',member='Completed'";
    await this.#call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.AddMatch", "s", [rule]);
    const completed = new Promise<void>((resolve) => {
      const listen = (message: Message) => {
        if (message.member === "Completed" && message.path === path) resolve();
      };
      (this.#connection as unknown as EventEmitter).on("message", listen);
    });
    await this.#service("Prompt.Prompt", "s", [""], path);
    await completed;
  }

  /** A database that shows its root group to the Secret Service. */
  #makeDatabase(name: string): void {
    const group = randomUUID();
    const id = Buffer.from(group.replaceAll("-", ""), "hex").toString("base64");
    const [xml, database] = [join(this.#home.path, `${name}.xml`), join(this.#home.path, `${name}.kdbx`)];
    writeFileSync(
      xml,
      `<?xml version="1.0" encoding="UTF-8"?><KeePassFile><Meta><DatabaseName>${name}</DatabaseName><RecycleBinEnabled>False</RecycleBinEnabled>
<CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{${group}}</Value></Item></CustomData></Meta>
<Root><Group><UUID>${id}</UUID><Name>Root</Name></Group></Root></KeePassFile>`,
    );
    const env = this.#home.env();
    const made = spawnSync("keepassxc-cli", ["import", "-p", "-t", "100", xml, database], {
      env,
      input: `${password}\n${password}\n`,
    });
    if (made.status !== 0) throw new Error(`keepassxc-cli: ${made.stderr}`);
  }

  #configure(settings: string): void {
    const folder = join(this.#home.path, ".config", "keepassxc");
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, "keepassxc.ini"),
      `[General]\nUpdateCheckMessageShown=true\n[FdoSecrets]\nEnabled=true\n${settings}\n`,
    );
  }
}
