/** Headless Chromium, the distribution's, driven from outside. */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import type { Lifetime } from "./lifetime.ts";
import type { TempHome } from "./temp-home.ts";

const program = "/usr/bin/chromium";

/** Why it is missing, for `skip`; false where it is installed. */
export const chromiumMissing = existsSync(program) ? false : `${program} is missing (npm test installs it as root)`;

/** Starts it with a profile of its own, and nothing that it would do by itself. */
export async function startChromium(lifetime: Lifetime, home: TempHome): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: program,
    headless: true,
    env: home.env(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // The pages of the authorization server would like fonts from elsewhere.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  });
  lifetime.after(() => browser.close());
  return browser;
}
