/** A screen that nobody sees (Xvfb), with the windows that programs open on it. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Lifetime } from "./lifetime.ts";
import type { TempHome } from "./temp-home.ts";

export class Screen {
  readonly #home: TempHome;
  readonly env: { DISPLAY: string };

  static async start(lifetime: Lifetime, home: TempHome): Promise<Screen> {
    // It looks for a free number itself, and reports it.
    const server = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "1024x768x24", "-nolisten", "tcp"], {
      env: home.env(),
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
    const ended = once(server, "close");
    lifetime.after(async () => {
      server.kill("SIGKILL");
      await ended;
    });
    const [number] = (await once(server.stdio[3] as NodeJS.ReadableStream, "data")) as [Buffer];
    return new Screen(home, `:${number.toString().trim()}`);
  }

  private constructor(home: TempHome, display: string) {
    this.#home = home;
    this.env = { DISPLAY: display };
  }

  /** The windows that a person would see, by what kind they are: `Unlock Database`, `Delete entry?`. */
  windows(): string[] {
    const { stdout } = spawnSync("xwininfo", ["-root", "-tree"], { env: this.#home.env(this.env), encoding: "utf8" });
    return [...stdout.matchAll(/^\s+0x[0-9a-f]+ "(.*)": \(.*\)\s+(\d+)x(\d+)\+/gm)]
      .filter(([, , width, height]) => Number(width) > 10 && Number(height) > 10)
      .map(([, title]) => title as string);
  }

  /** Its contents, as a file of xwd; a copy is left where `SCREENSHOTS` names a folder. */
  picture(name: string): Buffer {
    const { stdout } = spawnSync("xwd", ["-root", "-silent"], {
      env: this.#home.env(this.env),
      maxBuffer: 64 * 1024 * 1024,
    });
    const folder = process.env.SCREENSHOTS;
    if (folder !== undefined) writeFileSync(join(folder, `${name}.xwd`), stdout);
    return stdout;
  }
}
