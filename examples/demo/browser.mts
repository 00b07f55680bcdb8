/** The browser of the desktop session, where there is one. */
import { spawn } from "node:child_process";
import { once } from "node:events";

/** The program that opens a page, with its arguments before the URL; undefined where nobody would see the page. */
export function browserCommand(): [program: string, ...args: string[]] | undefined {
  if (process.platform === "darwin") {
    return ["open"];
  }
  if (process.platform === "win32") {
    return ["rundll32", "url.dll,FileProtocolHandler"];
  }
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  return DISPLAY || WAYLAND_DISPLAY ? ["xdg-open"] : undefined;
}

/** Opens the page, and does not wait for the browser to end. Rejects where the program is missing. */
export async function openPage([program, ...args]: [string, ...string[]], url: string): Promise<void> {
  const opener = spawn(program, [...args, url], { stdio: "ignore", detached: true });
  opener.unref();
  await once(opener, "spawn");
}
