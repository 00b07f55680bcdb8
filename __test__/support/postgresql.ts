/** A real PostgreSQL server of a test's own, in a temp folder and on a port of loopback that was free. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { postgresql } from "../../scripts/postgresql.mjs";
import { type Engine, freePort, type StoreTold } from "./engine.ts";
import type { Lifetime } from "./lifetime.ts";

const installation = postgresql();

/** It refuses to run as root, and tests may run as root. */
const launcher = process.getuid?.() === 0 ? ["unshare", "--user", "--ipc", "--map-user=1", "--map-group=1"] : [];

export class PostgreSql implements Engine {
  /** Why there can be none here; false where there can. */
  static readonly unavailable = installation === undefined ? "PostgreSQL is not installed" : false;

  /** An empty database, made for the first test of a file and copied for each. */
  static #template: string | undefined;

  readonly connection: pg.ClientConfig;
  readonly #folder: string;
  readonly port: number;
  #server: ChildProcess | undefined;

  /** `isOpen`: for other machines as well, and durable. */
  static async start(lifetime: Lifetime, isOpen = false, more: string[] = []): Promise<PostgreSql> {
    const folder = mkdtempSync(join(tmpdir(), "plugin-auth-pg-"));
    const database = new PostgreSql(folder, await freePort(), isOpen, more);
    lifetime.after(async () => {
      await database.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    cpSync(PostgreSql.#template ?? database.#initialize(), join(folder, "data"), { recursive: true });
    if (isOpen) appendFileSync(join(folder, "data", "pg_hba.conf"), "host all all 10.77.0.0/16 trust\n");
    await database.startAgain();
    return database;
  }

  /** A copy of `primary` that follows it by streaming replication, through this port. */
  static async replicaOf(lifetime: Lifetime, primary: PostgreSql, port: number): Promise<PostgreSql> {
    const folder = mkdtempSync(join(tmpdir(), "plugin-auth-pg-"));
    const replica = new PostgreSql(folder, await freePort(), false, [
      `primary_conninfo=host=127.0.0.1 port=${port} user=plugin`,
    ]);
    lifetime.after(async () => {
      await replica.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    const from = ["--host", "127.0.0.1", "--port", `${primary.port}`, "--username", "plugin", "--checkpoint", "fast"];
    replica.#run("pg_basebackup", [...from, "--no-sync", "--pgdata", join(folder, "data")]);
    writeFileSync(join(folder, "data", "standby.signal"), "");
    await replica.startAgain();
    return replica;
  }

  async promote(): Promise<void> {
    await this.query("SELECT pg_promote()");
  }

  readonly #isOpen: boolean;

  readonly #more: string[];

  private constructor(folder: string, port: number, isOpen: boolean, more: string[]) {
    this.#isOpen = isOpen;
    this.#more = more;
    this.#folder = folder;
    this.port = port;
    this.connection = { host: "127.0.0.1", port, user: "plugin", database: "postgres" };
  }

  async startAgain(): Promise<void> {
    const [program = "", ...args] = this.#command("postgres", [
      ...["-D", join(this.#folder, "data"), "-p", `${this.port}`, "-k", this.#folder],
      ...["-c", `listen_addresses=${this.#isOpen ? "0.0.0.0" : "127.0.0.1"}`, "-c", "max_connections=100"],
      ...["-c", `fsync=${this.#isOpen ? "on" : "off"}`],
      ...this.#more.flatMap((setting) => ["-c", setting]),
    ]);
    this.#server = spawn(program, args, { env: this.#env, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    const ready = new Promise<void>((resolve, reject) => {
      this.#server?.stderr?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (/ready to accept (?:read-only )?connections/.test(log)) resolve();
      });
      this.#server?.once("close", () => reject(new Error(`PostgreSQL has ended:\n${log}`)));
    });
    await ready;
  }

  /**
   * At once: the server and the processes of its connections are killed, what was committed stays. Outside of a namespace of its
   * own, where its shared memory would stay behind, the server does it itself, as after the crash of one of them.
   */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const ended = once(server, "close");
    if (launcher.length > 0) {
      server.kill("SIGSTOP");
      for (const pid of connectionsOf(server)) signal(pid, "SIGKILL");
    }
    server.kill(launcher.length > 0 ? "SIGKILL" : "SIGQUIT");
    await ended;
  }

  /** The store in the form for a plugin's process. */
  get told(): StoreTold {
    return this.toldThrough(this.port);
  }

  toldThrough(port: number, host = "127.0.0.1"): StoreTold {
    return { engine: "postgres", options: { client: { ...this.connection, port, host } } };
  }

  /** The server and the processes of its connections. */
  freeze(isFrozen: boolean): void {
    if (this.#server === undefined) return;
    for (const pid of [Number(this.#server.pid), ...connectionsOf(this.#server)]) {
      signal(pid, isFrozen ? "SIGSTOP" : "SIGCONT");
    }
  }

  /** Ends every lock that is held, as a broken connection does. */
  async breakLocks(): Promise<void> {
    await this.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
  }

  /** The rows of one statement. */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const client = new pg.Client(this.connection);
    await client.connect();
    try {
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  #initialize(): string {
    const template = mkdtempSync(join(tmpdir(), "plugin-auth-pg-"));
    process.once("exit", () => rmSync(template, { recursive: true, force: true }));
    const options = ["--pgdata", template, "--username", "plugin", "--auth", "trust", "--no-sync"];
    this.#run("initdb", [...options, "--encoding", "UTF8", "--locale", "C"]);
    PostgreSql.#template = template;
    return template;
  }

  get #env(): NodeJS.ProcessEnv {
    const libraries = installation?.libraries ?? "";
    const machine = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
    return { PATH: process.env.PATH, LD_LIBRARY_PATH: `${libraries}/${machine}:${libraries}`, TZ: "UTC" };
  }

  #command(program: string, args: string[]): string[] {
    return [...launcher, join(installation?.programs ?? "", program), ...args];
  }

  #run(program: string, args: string[]): void {
    const [command = "", ...rest] = this.#command(program, args);
    execFileSync(command, rest, { env: this.#env, stdio: ["ignore", "ignore", "pipe"] });
  }
}

/** The processes of its connections, and its other ones. */
function connectionsOf({ pid }: ChildProcess): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // That connection has ended.
  }
}
