/** A real engine of a store, in a temp folder and on a port of loopback that was free. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { engine } from "../../scripts/engines.mjs";
import type { Lifetime } from "./lifetime.ts";

/** The store in the form for a plugin's process: the subpath of the package, and its options. */
export interface StoreTold {
  engine: "postgres" | "redis" | "etcd";
  options: Record<string, unknown>;
}

export interface Engine {
  readonly told: StoreTold;
  readonly port: number;
  /** The same store through another port, which leads there. */
  toldThrough(port: number, host?: string): StoreTold;
  /** Stops it in the middle of any work, or lets it go on. */
  freeze(isFrozen: boolean): void;
  /** By SIGKILL or the like: connections are broken, what was confirmed stays. */
  stop(): Promise<void>;
  startAgain(): Promise<void>;
  /** Ends every lock that is held. */
  breakLocks(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** An engine that is one program: killed with SIGKILL, started again on the same data. */
abstract class Program implements Engine {
  readonly port: number;
  protected readonly folder: string;
  #process: ChildProcess | undefined;

  protected constructor(lifetime: Lifetime, port: number) {
    this.port = port;
    this.folder = mkdtempSync(join(tmpdir(), "plugin-auth-engine-"));
    lifetime.after(async () => {
      await this.stop();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get told(): StoreTold {
    return this.toldThrough(this.port);
  }

  abstract toldThrough(port: number, host?: string): StoreTold;
  protected abstract readonly program: "redis-server" | "valkey-server" | "etcd";
  protected abstract readonly options: string[];
  abstract breakLocks(): Promise<void>;
  /** Whether it takes requests. */
  protected abstract answers(): Promise<boolean>;

  async startAgain(): Promise<void> {
    const { command = [], libraries = "" } = engine(this.program) ?? {};
    const [program = "", ...args] = [...command, ...this.options];
    this.#process = spawn(program, args, {
      cwd: this.folder,
      env: { PATH: process.env.PATH, LD_LIBRARY_PATH: libraries },
      stdio: "ignore",
    });
    // Neither says on its output that it is ready.
    while (!(await this.answers())) {
      if (this.#process.exitCode !== null) throw new Error(`${program} has ended with ${this.#process.exitCode}.`);
      await pause(20);
    }
  }

  freeze(isFrozen: boolean): void {
    this.#process?.kill(isFrozen ? "SIGSTOP" : "SIGCONT");
  }

  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "close");
    running.kill("SIGKILL");
    await ended;
  }
}

export class Redis extends Program {
  static readonly unavailable: string | false = engine("redis-server") === undefined ? "Redis is not installed" : false;

  /** `isOpen`: for other machines as well. */
  static async start(lifetime: Lifetime, isOpen = false, more: string[] = []): Promise<Redis> {
    const redis = new this(lifetime, await freePort(), isOpen, more);
    await redis.startAgain();
    return redis;
  }

  protected readonly program: "redis-server" | "valkey-server" = "redis-server";
  readonly #isOpen: boolean;

  readonly #more: string[];

  protected constructor(lifetime: Lifetime, port: number, isOpen: boolean, more: string[]) {
    super(lifetime, port);
    this.#isOpen = isOpen;
    this.#more = more;
  }

  toldThrough(port: number, host = "127.0.0.1"): StoreTold {
    return { engine: "redis", options: { url: `redis://${host}:${port}` } };
  }

  protected get options(): string[] {
    const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
    const bound = this.#isOpen ? ["--bind", "0.0.0.0", "--protected-mode", "no"] : ["--bind", "127.0.0.1"];
    return ["--port", `${this.port}`, ...bound, "--dir", this.folder, ...durable, ...this.#more];
  }

  async breakLocks(): Promise<void> {
    await this.send(
      "EVAL \"for _, k in ipairs(redis.call('KEYS', 'plugin_auth:lock:*')) do redis.call('DEL', k) end\" 0",
    );
  }

  /** One command, as a person would type it. */
  async send(line: string): Promise<string> {
    const socket = connect(this.port, "127.0.0.1");
    socket.setEncoding("utf8").write(`${line}\r\n`);
    try {
      const [answer] = await once(socket, "data");
      return String(answer);
    } finally {
      socket.destroy();
    }
  }

  /** Several commands on one connection. */
  session(): { send(line: string): Promise<string>; end(): void } {
    const socket = connect(this.port, "127.0.0.1").setEncoding("utf8");
    const send = async (line: string) => {
      socket.write(`${line}\r\n`);
      const [answer] = await once(socket, "data");
      return String(answer);
    };
    return { send, end: () => void socket.destroy() };
  }

  protected async answers(): Promise<boolean> {
    return await this.send("PING").then(
      (answer) => /^(?:\+PONG|-NOAUTH)/.test(answer),
      () => false,
    );
  }
}

/** Takes the same options and commands. */
export class Valkey extends Redis {
  static override readonly unavailable =
    engine("valkey-server") === undefined ? "Valkey is not installed (npm run test:long does so)" : false;
  protected override readonly program = "valkey-server";
}

export class Etcd extends Program {
  static readonly unavailable = engine("etcd") === undefined ? "etcd is not installed" : false;

  /** `isOpen`: for other machines as well. */
  static async start(lifetime: Lifetime, isOpen = false, secured?: { port: number; options: string[] }): Promise<Etcd> {
    const etcd = new Etcd(lifetime, await freePort(), await freePort(), isOpen, secured);
    await etcd.startAgain();
    return etcd;
  }

  protected readonly program = "etcd";
  readonly #peerPort: number;
  readonly #isOpen: boolean;
  readonly #secured: { port: number; options: string[] } | undefined;

  private constructor(
    lifetime: Lifetime,
    port: number,
    peerPort: number,
    isOpen: boolean,
    secured?: { port: number; options: string[] },
  ) {
    super(lifetime, port);
    this.#secured = secured;
    this.#peerPort = peerPort;
    this.#isOpen = isOpen;
  }

  toldThrough(port: number, host = "127.0.0.1"): StoreTold {
    return { engine: "etcd", options: { hosts: `http://${host}:${port}` } };
  }

  protected get options(): string[] {
    const client = `http://127.0.0.1:${this.port}`;
    const peer = `http://127.0.0.1:${this.#peerPort}`;
    return [
      ...["--data-dir", join(this.folder, "data"), "--name", "one"],
      ...[
        "--listen-client-urls",
        [
          this.#isOpen ? `http://0.0.0.0:${this.port}` : client,
          ...(this.#secured ? [`https://127.0.0.1:${this.#secured.port}`] : []),
        ].join(),
        "--advertise-client-urls",
        client,
      ],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `one=${peer}`],
      ...(this.#secured?.options ?? []),
    ];
  }

  async breakLocks(): Promise<void> {
    const text = (value: string) => Buffer.from(value).toString("base64");
    await this.post("/v3/kv/deleterange", { key: text("plugin_auth/lock:"), range_end: text("plugin_auth/lock;") });
  }

  protected async answers(): Promise<boolean> {
    return await fetch(`http://127.0.0.1:${this.port}/health`).then(
      async (response) => ((await response.json()) as { health?: string }).health === "true",
      () => false,
    );
  }

  /** Raises the alarm of a used-up quota, or clears it. */
  async alarm(isOn: boolean): Promise<void> {
    const told = await fetch(`http://127.0.0.1:${this.port}/v3/maintenance/status`, { method: "POST", body: "{}" });
    const { header } = (await told.json()) as { header: { member_id: string } };
    const action = isOn ? "ACTIVATE" : "DEACTIVATE";
    await this.post("/v3/maintenance/alarm", { action, memberID: header.member_id, alarm: "NOSPACE" });
  }

  /** To its JSON gateway. */
  async post(path: string, body: object): Promise<void> {
    await fetch(`http://127.0.0.1:${this.port}${path}`, { method: "POST", body: JSON.stringify(body) });
  }
}

/** A real pgbouncer in front of a PostgreSQL of this machine. */
export class PgBouncer {
  static readonly unavailable = engine("pgbouncer") === undefined ? "pgbouncer is not installed" : false;

  readonly port: number;

  static async start(
    lifetime: Lifetime,
    to: number,
    mode: "transaction" | "session",
    size: number,
  ): Promise<PgBouncer> {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), "plugin-auth-pgbouncer-"));
    const settings = [
      `[databases]\n* = host=127.0.0.1 port=${to} user=plugin`,
      `[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =`,
      `auth_type = any\npool_mode = ${mode}\ndefault_pool_size = ${size}\nignore_startup_parameters = extra_float_digits`,
    ];
    writeFileSync(join(folder, "pgbouncer.ini"), `${settings.join("\n")}\n`);
    const { command: program = [], libraries = "" } = engine("pgbouncer") ?? {};
    // It refuses to run as root, and tests may run as root.
    const launcher = process.getuid?.() === 0 ? ["unshare", "--user", "--map-user=1", "--map-group=1"] : [];
    const [command = "", ...args] = [...launcher, ...program, join(folder, "pgbouncer.ini")];
    const child = spawn(command, args, {
      env: { PATH: process.env.PATH, LD_LIBRARY_PATH: libraries },
      stdio: ["ignore", "ignore", "pipe"],
    });
    lifetime.after(async () => {
      child.kill("SIGKILL");
      await once(child, "close");
      rmSync(folder, { recursive: true, force: true });
    });
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("process up")) resolve();
      });
      child.once("close", () => reject(new Error(`pgbouncer has ended:\n${log}`)));
    });
    return new PgBouncer(port);
  }

  private constructor(port: number) {
    this.port = port;
  }
}
