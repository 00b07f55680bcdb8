/**
 * A program in a process of its own. It reports by lines of JSON on its output, `{"event":"ready", …}`, and takes
 * commands by lines of JSON on its input. No IPC channel, which would keep its event loop alive.
 *
 *     const child = Child.start(t, "poller.mjs", { node: 18, env: home.env() });
 *     await child.event("waiting");
 *     child.signal("SIGINT");
 *     assert.deepEqual(await child.exit, { code: null, signal: "SIGINT" });
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Lifetime } from "./lifetime.ts";
import { type NodeMajor, nodeBinary } from "./nodes.ts";

export interface ChildOptions {
  /** The Node to run on. @default the one that runs the test */
  node?: NodeMajor;
  args?: string[];
  /** Options of Node itself. */
  nodeOptions?: string[];
  /** The whole environment, for example of a TempHome. */
  env: Record<string, string>;
  cwd?: string;
  /** A program with its arguments that becomes Node, nsenter for example: it must exec, not fork. */
  launcher?: string[];
  /** On a terminal, which shows what is typed and everything that is written. */
  terminal?: boolean;
}

/** Why there are no terminals, for `skip`; false where there are. */
export const scriptMissing =
  process.platform === "linux" && existsSync("/usr/bin/script") ? false : "script of util-linux is missing";

export interface ChildEvent {
  event: string;
  [member: string]: unknown;
}

export interface ChildExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export class Child {
  /** Its output so far; lines that report events included. */
  stdout = "";
  stderr = "";
  /** How it ended, once its output is read to the end. */
  readonly exit: Promise<ChildExit>;
  readonly #process: ChildProcessWithoutNullStreams;
  #events: ChildEvent[] = [];
  #waiting: { event: string; resolve: (event: ChildEvent) => void; reject: (error: Error) => void }[] = [];
  #ended: ChildExit | undefined;

  /** @param script Path of the program, absolute or in __test__/fixtures. */
  static start(lifetime: Lifetime, script: string, options: ChildOptions): Child {
    const path = isAbsolute(script) ? script : fileURLToPath(new URL(`../fixtures/${script}`, import.meta.url));
    const binary = options.node === undefined ? process.execPath : nodeBinary(options.node);
    const command = [
      ...(options.launcher ?? []),
      binary,
      ...(options.nodeOptions ?? []),
      path,
      ...(options.args ?? []),
    ];
    const [program, ...args] = options.terminal ? onTerminal(command) : command;
    const child = new Child(
      spawn(program as string, args, {
        env: options.env,
        ...(options.cwd !== undefined && { cwd: options.cwd }),
      }),
    );
    lifetime.after(() => child.kill());
    return child;
  }

  private constructor(process: ChildProcessWithoutNullStreams) {
    this.#process = process;
    process.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    process.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    // Its input may be closed already when something is sent.
    process.stdin.on("error", () => {});
    createInterface({ input: process.stdout }).on("line", (line) => this.#read(line));
    this.exit = new Promise((resolve, reject) => {
      process.once("error", reject);
      process.once("close", (code, signal) => {
        this.#ended = { code, signal };
        for (const { event, reject: fail } of this.#waiting) {
          fail(this.#tooLate(event));
        }
        resolve(this.#ended);
      });
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The next event of this name that was not asked for yet: now, or when it comes. Fails when the child ends first. */
  event(name: string): Promise<ChildEvent> {
    const found = this.#events.find(({ event }) => event === name);
    if (found !== undefined) {
      this.#events = this.#events.filter((event) => event !== found);
      return Promise.resolve(found);
    }
    if (this.#ended !== undefined) {
      return Promise.reject(this.#tooLate(name));
    }
    return new Promise((resolve, reject) => this.#waiting.push({ event: name, resolve, reject }));
  }

  /** How much it has written so far. */
  get mark(): { stdout: number; stderr: number } {
    return { stdout: this.stdout.length, stderr: this.stderr.length };
  }

  /** The first text like this that it has written, or will write, to either output since the mark. */
  written(pattern: RegExp, since = { stdout: 0, stderr: 0 }): Promise<string> {
    const { stdout, stderr } = this.#process;
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(`${this.stdout.slice(since.stdout)}\n${this.stderr.slice(since.stderr)}`)?.[0];
        if (found !== undefined) {
          stdout.off("data", look);
          stderr.off("data", look);
          resolve(found);
        }
        return found !== undefined;
      };
      if (!look()) {
        stdout.on("data", look);
        stderr.on("data", look);
        this.exit.then(() => look() || reject(this.#tooLate(String(pattern))), reject);
      }
    });
  }

  /** Writes a line of JSON to its input. */
  send(message: unknown): void {
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** Writes to its input, as fingers on a keyboard would. */
  type(text: string): void {
    this.#process.stdin.write(text);
  }

  endInput(): void {
    this.#process.stdin.end();
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Kills it as the system does when memory is short, with all its children: those hold its output open. */
  async kill(): Promise<void> {
    const started = this.#ended === undefined ? descendants(this.pid) : [];
    this.signal("SIGKILL");
    for (const pid of started) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {}
    }
    await this.exit;
  }

  #read(line: string): void {
    if (!line.startsWith('{"event":')) {
      return;
    }
    const event = JSON.parse(line) as ChildEvent;
    const at = this.#waiting.findIndex((waiting) => waiting.event === event.event);
    if (at === -1) {
      this.#events.push(event);
    } else {
      this.#waiting.splice(at, 1)[0]?.resolve(event);
    }
  }

  #tooLate(event: string): Error {
    const how = JSON.stringify(this.#ended);
    return new Error(`The child ended (${how}) without "${event}".\n${this.stdout}\n${this.stderr}`);
  }
}

function descendants(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
    return children.flatMap((child) => [child, ...descendants(child)]);
  } catch {
    // It has ended, or this is no Linux.
    return [];
  }
}

function onTerminal(command: string[]): string[] {
  const quoted = command.map((argument) => `'${argument.replaceAll("'", "'\\''")}'`).join(" ");
  return ["/usr/bin/script", "--quiet", "--flush", "--return", "--command", `exec ${quoted}`, "/dev/null"];
}
