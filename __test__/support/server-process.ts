/** The process that authorization servers run in: one for all of a test file, started with the first. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { serverNodeBinary } from "./nodes.ts";

/** The waiters for a request, by the number of its interception. */
export type Arrivals = Map<number, (entry: unknown) => void>;

interface Reply {
  /** The arrival of a request that a test waits for, at the server of this number. */
  arrival?: { id: number; entry: unknown };
  server?: number;
  id?: number;
  result?: unknown;
  error?: string;
}

export class ServerProcess {
  static #shared: ServerProcess | undefined;

  readonly #child: ChildProcess;
  readonly #calls = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  readonly #servers = new Map<number, Arrivals>();
  #errors = "";
  #numbers = 0;

  static shared(): ServerProcess {
    const running = ServerProcess.#shared;
    ServerProcess.#shared = running?.isRunning ? running : new ServerProcess();
    return ServerProcess.#shared;
  }

  constructor(env: Record<string, string> = {}) {
    // Nothing of the test's environment: it may point at proxies and certificates that are meant for the addon.
    this.#child = fork(fileURLToPath(new URL("../fixtures/authorization-server.mjs", import.meta.url)), [], {
      execPath: serverNodeBinary(),
      execArgv: [],
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    this.#child.on("message", (message: Reply) => this.#receive(message));
    this.#child.on("error", (error) => this.#fail(error.message));
    this.#child.on("close", () => this.#fail("The authorization server has ended"));
    // It ends with this process, and must not keep it when no server is left.
    this.#child.unref();
    (this.#child.stderr as unknown as { unref(): void } | null)?.unref();
  }

  get isRunning(): boolean {
    return this.#child.connected;
  }

  /** A number for one more server, and where the requests go that it announces. */
  enter(): { number: number; arrivals: Arrivals } {
    const number = ++this.#numbers;
    const arrivals: Arrivals = new Map();
    this.#servers.set(number, arrivals);
    this.#child.channel?.ref();
    return { number, arrivals };
  }

  leave(number: number): void {
    this.#servers.delete(number);
    if (this.#servers.size === 0) {
      this.#child.channel?.unref();
    }
  }

  call<Result>(server: number, call: string, argument: unknown): Promise<Result> {
    const id = ++this.#numbers;
    return new Promise<Result>((resolve, reject) => {
      if (!this.#servers.has(server) || !this.#child.connected) {
        reject(new Error("The authorization server has ended."));
        return;
      }
      this.#calls.set(id, { resolve: (result) => resolve(result as Result), reject });
      this.#child.send({ server, id, call, argument });
    });
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, "close");
      this.#child.ref();
      this.#child.kill("SIGKILL");
      await closed;
    }
  }

  #receive(message: Reply): void {
    if (message.arrival) {
      this.#servers.get(message.server ?? 0)?.get(message.arrival.id)?.(message.arrival.entry);
      return;
    }
    const call = this.#calls.get(message.id ?? 0);
    this.#calls.delete(message.id ?? 0);
    if (message.error === undefined) {
      call?.resolve(message.result);
    } else {
      call?.reject(new Error(message.error));
    }
  }

  #fail(reason: string): void {
    for (const { reject } of this.#calls.values()) {
      reject(new Error(`${reason}:\n${this.#errors}`));
    }
    this.#calls.clear();
  }
}
