/** The browser of the desktop session, where there is one. */
import { spawn } from "node:child_process";
import { once } from "node:events";

/** The program that opens a page, with what it is told before the URL; nothing where nobody would see the page. */
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

/** Opens the page, and does not wait for the browser to end. Rejects where the program is missing. */
export async function openPage([program, ...args]: [string, ...string[]], url: string): Promise<void> {
  const opener = spawn(program, [...args, url], { stdio: "ignore", detached: true });
  opener.unref();
  await once(opener, "spawn");
}
