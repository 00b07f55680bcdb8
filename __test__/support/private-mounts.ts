/**
 * Disks of a test's own: mounts that only the processes of one mount namespace see, and that end with it. Linux, and
 * root; elsewhere tests say why they are skipped.
 *
 *     const mounts = await PrivateMounts.create(t);
 *     mounts.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder);
 *     const plugin = await PluginProcess.start(t, { env, launcher: mounts.launcher });
 *     readFileSync(mounts.outside(path));
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Lifetime } from "./lifetime.ts";

export class PrivateMounts {
  readonly #keeper: ChildProcess;

  /** Why nothing can be mounted here; false where it can. */
  static unavailable(): string | false {
    if (process.platform !== "linux") {
      return "mount namespaces are for Linux";
    }
    if (process.getuid?.() !== 0) {
      return "only root may mount";
    }
    const { status, stderr, error } = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    return status === 0 ? false : `nothing can be mounted here: ${error?.message ?? stderr.toString().trim()}`;
  }

  static async create(lifetime: Lifetime): Promise<PrivateMounts> {
    // Keeps the namespace alive until its input ends, with this process at the latest.
    const keeper = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", "echo ready; exec cat"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    lifetime.after(async () => {
      const ended = once(keeper, "close");
      keeper.stdin.end();
      await ended;
    });
    await once(keeper.stdout, "data");
    return new PrivateMounts(keeper);
  }

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
  }

  /** The command that starts a program inside. */
  get launcher(): string[] {
    return ["nsenter", "-t", `${this.#keeper.pid}`, "-m", "--"];
  }

  /** Runs a program inside to its end. */
  run(program: string, ...args: string[]): void {
    const [nsenter = "", ...options] = this.launcher;
    execFileSync(nsenter, [...options, program, ...args]);
  }

  /** The path outside of a path inside. */
  outside(path: string): string {
    return `/proc/${this.#keeper.pid}/root${path}`;
  }
}
