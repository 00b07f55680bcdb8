/**
 * A real Secret Service, gnome-keyring, on a session bus of its own. Its keyring is in the home of the test.
 *
 *     const keyring = await Keyring.start(t, home);
 *     const plugin = await PluginProcess.start(t, { env: home.env(keyring.env) });
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { keychainBuildOf, runningPlatform } from "../../scripts/platforms.mjs";
import type { Lifetime } from "./lifetime.ts";
import { SessionBus } from "./session-bus.ts";
import type { TempHome } from "./temp-home.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const password = "the password of the keyring";

export class Keyring {
  readonly #lifetime: Lifetime;
  readonly #home: TempHome;
  readonly #bus: SessionBus;
  #daemon: ChildProcess | undefined;

  /** Why it is missing here; false where it is installed. */
  static unavailable(): string | false {
    if (process.platform !== "linux") return "gnome-keyring is for Linux";
    const platform = runningPlatform();
    if (platform === undefined || !existsSync(join(root, keychainBuildOf(platform).binary))) {
      return "there is no keychain build: npm run build:keychain";
    }
    for (const program of ["dbus-daemon", "gnome-keyring-daemon", "secret-tool"]) {
      if (spawnSync(program, ["--version"], { stdio: "ignore" }).error !== undefined) {
        return `${program} is not installed`;
      }
    }
    return false;
  }

  /** With an unlocked keyring. */
  static async start(lifetime: Lifetime, home: TempHome): Promise<Keyring> {
    const keyring = new Keyring(lifetime, home, await SessionBus.start(lifetime, home));
    await keyring.startDaemon();
    return keyring;
  }

  private constructor(lifetime: Lifetime, home: TempHome, bus: SessionBus) {
    this.#lifetime = lifetime;
    this.#home = home;
    this.#bus = bus;
  }

  /** The variables that lead to it. */
  get env(): Record<string, string> {
    return this.#bus.env;
  }

  get session(): SessionBus {
    return this.#bus;
  }

  get pid(): number {
    return this.#daemon?.pid ?? 0;
  }

  /** Starts the daemon, unlocked unless it is to stay locked. */
  async startDaemon({ locked = false } = {}): Promise<void> {
    const mode = locked ? [] : ["--unlock"];
    const daemon = spawn("gnome-keyring-daemon", ["--foreground", "--components=secrets", ...mode], {
      env: this.#home.env(this.env),
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#daemon = daemon;
    daemon.stdin?.end(locked ? undefined : password);
    this.#lifetime.after(() => this.killDaemon());
    await this.#named();
  }

  /**
   * Starts it again if it has died by itself, as the bus of a session would: gnome-keyring may when a client dies in
   * the middle of a conversation. Says whether it had.
   */
  async revive(error: unknown): Promise<boolean> {
    const daemon = this.#daemon;
    if (daemon === undefined || !/it ended before it answered|not provided by any/.test(String(error))) {
      return false;
    }
    if (daemon.exitCode === null && daemon.signalCode === null) {
      await once(daemon, "exit");
    }
    await this.startDaemon();
    return true;
  }

  async killDaemon(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (daemon !== undefined && daemon.exitCode === null && daemon.signalCode === null) {
      const ended = once(daemon, "close");
      daemon.kill("SIGKILL");
      await ended;
    }
  }

  /** Stops it in its tracks: it holds its name and does not answer. */
  freeze(): void {
    this.#daemon?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#daemon?.kill("SIGCONT");
  }

  async lock(): Promise<void> {
    await this.#call("org.freedesktop.Secret.Service.Lock", "array:objpath:/org/freedesktop/secrets/aliases/default");
  }

  /** The accounts of our entries, sorted. */
  accounts(): string[] {
    const { stdout, stderr } = this.#run("secret-tool", ["search", "--all", "service", "clawdbot-plugin-auth"]);
    const found = `${stdout}\n${stderr}`.matchAll(/^attribute\.account = (.*)$/gm);
    return [...found].map(([, account]) => account as string).sort();
  }

  secret(account: string): string {
    const { stdout } = this.#run("secret-tool", ["lookup", "service", "clawdbot-plugin-auth", "account", account]);
    return stdout;
  }

  remove(account: string): void {
    this.#run("secret-tool", ["clear", "service", "clawdbot-plugin-auth", "account", account]);
  }

  #run(program: string, args: string[]): { stdout: string; stderr: string } {
    const { stdout, stderr } = spawnSync(program, args, { env: this.#home.env(this.env), encoding: "utf8" });
    return { stdout, stderr };
  }

  async #call(method: string, ...args: string[]): Promise<void> {
    const destination = ["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"];
    const call = spawn("dbus-send", [...destination, method, ...args], {
      env: this.#home.env(this.env),
      stdio: "ignore",
    });
    const [code] = await once(call, "close");
    if (code !== 0) throw new Error(`${method} failed (${code}).`);
  }

  /** Until the service has its name on the bus and answers. */
  async #named(): Promise<void> {
    for (;;) {
      const isThere = await this.#call("org.freedesktop.Secret.Service.ReadAlias", "string:default").then(
        () => true,
        () => false,
      );
      if (isThere) return;
      if (this.#daemon?.exitCode !== null) throw new Error("gnome-keyring did not start.");
    }
  }
}
