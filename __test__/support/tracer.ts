/**
 * strace at a running process: kills it, stops it or makes it fail at one certain system call, without a line of fault
 * code in the product. Linux only; where strace cannot be had, tests say why they are skipped.
 *
 *     test("…", { skip: await Tracer.unavailable() }, async (t) => {
 *       const tracer = await Tracer.attach(t, child.pid, { calls: "/^rename", path }, { kill: true });
 *       …
 *       await tracer.end;
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Lifetime } from "./lifetime.ts";

/** The system calls to trace. Each thread counts its own. */
export interface Calls {
  /** A name, several with commas, or a regular expression after a slash: processors differ in open and openat. */
  calls: string;
  /** Only those that name this path or a descriptor of it. */
  path?: string;
  /**
   * From which on, per thread, counted from the attachment: "1" only the first, "2+" all but the first. @default all
   */
  when?: string;
}

/** The fault at those calls. */
export type Fault =
  /** SIGKILL, instead of the call. */
  | { kill: true }
  /** SIGSTOP, right after the call. */
  | { stop: true }
  /** The call is not made and fails with this errno, ENOSPC for example. */
  | { error: string }
  /** Nothing: it is only seen. */
  | { none: true };

let reason: string | false | undefined;

export class Tracer {
  /** Resolves once it has detached from the process, or the process has ended. */
  readonly end: Promise<void>;
  /** Its output, for messages. */
  log = "";
  readonly #process: ChildProcess;
  #waiting: { text: string; resolve: () => void; reject: (error: Error) => void }[] = [];

  /** Why no process can be traced here; false where one can. */
  static async unavailable(): Promise<string | false> {
    reason ??= await obstacle();
    return reason;
  }

  /** Is in force when this resolves. */
  static async attach(lifetime: Lifetime, pid: number, { calls, path, when }: Calls, fault: Fault): Promise<Tracer> {
    const action = "error" in fault ? `error=${fault.error}` : `signal=${"kill" in fault ? "SIGKILL" : "SIGSTOP"}`;
    const nth = when === undefined ? "" : `:when=${when}`;
    const expression = "none" in fault ? `trace=${calls}` : `inject=${calls}:${action}${nth}`;
    const paths = path === undefined ? [] : ["-P", path];
    const tracer = new Tracer(
      spawn("strace", ["-f", "-y", "-p", `${pid}`, ...paths, "-e", expression], {
        stdio: ["ignore", "ignore", "pipe"],
      }),
    );
    lifetime.after(() => tracer.detach());
    await tracer.#shows("attached");
    return tracer;
  }

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.end = once(process, "close").then(() => {
      for (const { text, reject } of this.#waiting) {
        reject(new Error(`strace ended without "${text}":\n${this.log}`));
      }
    });
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.log += text;
      this.#waiting = this.#waiting.filter((waiting) => {
        const isShown = this.log.includes(waiting.text);
        if (isShown) {
          waiting.resolve();
        }
        return !isShown;
      });
    });
  }

  /** When a process with the fault `stop` has stopped. */
  async stopped(): Promise<void> {
    await this.#shows("stopped by SIGSTOP");
  }

  /** When a call has failed by itself. */
  async failed(errno: string): Promise<void> {
    await this.#shows(errno);
  }

  /** When a call was made to fail. */
  async injected(): Promise<void> {
    await this.#shows("(INJECTED)");
  }

  /** Lets the process go on undisturbed. */
  async detach(): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.end;
  }

  #shows(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.log.includes(text)) {
        resolve();
      } else {
        this.#waiting.push({ text, resolve, reject });
      }
    });
  }
}

/** Tries what the tests do: attach to a process that is not our own child. */
async function obstacle(): Promise<string | false> {
  if (process.platform !== "linux") {
    return "strace is for Linux";
  }
  if (spawnSync("strace", ["--version"]).error !== undefined) {
    return "strace is not installed";
  }
  const victim = spawn("cat", { stdio: ["pipe", "ignore", "ignore"] });
  try {
    await once(victim, "spawn");
    const strace = spawn("strace", ["-p", `${victim.pid}`, "-e", "inject=read:error=EIO"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [text] = (await once(strace.stderr, "data")) as [Buffer];
    const isAttached = text.toString().includes("attached");
    strace.kill();
    return isAttached ? false : `strace may not attach to a process here: ${text.toString().trim()}`;
  } finally {
    victim.kill("SIGKILL");
  }
}
