/**
 * A container, as far as the kernel makes one: the machine's files are its image, which nobody can write, and one
 * folder is its volume. Its first program has the process number 1; nobody in it is root.
 */
import { chownSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Child } from "../../support/child.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { PrivateMounts } from "../../support/private-mounts.ts";

/** Nobody's on this machine. */
const user = 12_345;
const asUser = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--no-new-privs", "--"];

export class Container {
  readonly #mounts: PrivateMounts;

  /** @param volume Has the same path inside. */
  static async create(lifetime: Lifetime, volume: string): Promise<Container> {
    const mounts = await PrivateMounts.create(lifetime);
    mounts.run("mount", "--bind", volume, "/mnt");
    mounts.run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp");
    mounts.run("mkdir", "-p", volume);
    mounts.run("mount", "--move", "/mnt", volume);
    mounts.run("mount", "-o", "remount,bind,ro", "/");
    give(volume);
    return new Container(mounts);
  }

  private constructor(mounts: PrivateMounts) {
    this.#mounts = mounts;
  }

  /** `docker run` */
  get launcher(): string[] {
    return [...this.#mounts.launcher, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", ...asUser];
  }

  /** `docker exec` */
  inside(first: Child): string[] {
    return ["nsenter", "-t", `${pidOfFirst(first)}`, "-m", "-p", "--", ...asUser];
  }

  /** `docker stop` */
  stop(first: Child): void {
    process.kill(pidOfFirst(first), "SIGTERM");
  }
}

/** The one below the program that made the namespace. */
function pidOfFirst({ pid }: Child): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
}

function give(folder: string): void {
  chownSync(folder, user, user);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) give(path);
    else if (!entry.isSymbolicLink()) chownSync(path, user, user);
  }
}
