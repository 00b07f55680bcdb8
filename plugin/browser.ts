/** The browser of the desktop session, where there is one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";

/** The program that opens a page, and its arguments before the URL; nothing where nobody would see the page. */
export function browserCommand(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): [program: string, ...args: string[]] | undefined {
  if (env.SSH_CONNECTION || env.SSH_TTY) {
    return undefined;
  }
  if (platform === "darwin") {
    return ["open"];
  }
  if (platform === "win32") {
    return ["rundll32", "url.dll,FileProtocolHandler"];
  }
  return env.DISPLAY || env.WAYLAND_DISPLAY ? ["xdg-open"] : undefined;
}

/**
 * Opens the page. Rejects where the program is missing, or reports failure by its exit code. A program that still
 * runs after `patience` milliseconds is taken for the browser itself, in the foreground.
 */
export async function openPage(
  [program, ...args]: [string, ...string[]],
  url: string,
  patience = 10_000,
): Promise<void> {
  const opener = spawn(program, [...args, url], { stdio: "ignore", detached: true });
  opener.unref();
  const running = new AbortController();
  try {
    const [code] = await Promise.race([
      once(opener, "exit"),
      setTimeout(patience, [0], { ref: false, signal: running.signal }),
    ]);
    if (code !== 0) {
      throw new Error(`${program} ended with ${code}`);
    }
  } finally {
    running.abort();
  }
}
