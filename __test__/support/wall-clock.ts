/**
 * A wall clock of its own for other processes, which a test sets as a person or NTP would. Their monotonic clock, and
 * with it their timers, is unchanged: libfaketime replaces the C library's wall clock alone.
 *
 *     const clock = WallClock.create(home);
 *     const plugin = await PluginProcess.start(t, { env: home.env(clock.env) });
 *     clock.set("+7h");
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TempHome } from "./temp-home.ts";

/** Offset from the real time. */
export type Offset = "+0" | "+7h" | "-7h";

export class WallClock {
  /** Why it is missing here; undefined where it is installed. Installs the package where it may. */
  static readonly missing: string | undefined = missing();

  readonly env: Record<string, string>;
  readonly #path: string;

  /** Starts as the real one. */
  static create(home: TempHome, name = "wall-clock"): WallClock {
    return new WallClock(join(home.path, name));
  }

  private constructor(path: string) {
    this.#path = path;
    this.set("+0");
    this.env = {
      LD_PRELOAD: library() ?? "",
      FAKETIME_TIMESTAMP_FILE: path,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
  }

  /** All processes that have this clock see the jump at once. */
  set(offset: Offset): void {
    // Never half-written: they read it whenever they look at the time.
    writeFileSync(`${this.#path}.new`, `${offset}\n`);
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function missing(): string | undefined {
  if (process.platform !== "linux") {
    return "libfaketime is for Linux here";
  }
  if (library() === undefined && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
    const quietly = (...args: string[]) => spawnSync("apt-get", args, { stdio: "ignore" }).status === 0;
    const install = () => quietly("install", "--yes", "--no-install-recommends", "libfaketime");
    if (!install() && quietly("update")) {
      install();
    }
  }
  return library() === undefined
    ? "libfaketime is not installed, and could not be: apt-get install libfaketime"
    : undefined;
}

/** The path that Debian uses, on any architecture. */
function library(): string | undefined {
  const folders = existsSync("/usr/lib") ? readdirSync("/usr/lib") : [];
  return folders
    .filter((folder) => folder.endsWith("-linux-gnu"))
    .map((folder) => `/usr/lib/${folder}/faketime/libfaketime.so.1`)
    .find((path) => existsSync(path));
}
