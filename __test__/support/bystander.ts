/**
 * A user without root's powers, whom permissions mean something to: the one that runs the tests, or nobody where that
 * is root.
 */
import { spawnSync } from "node:child_process";
import { chownSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TempHome } from "./temp-home.ts";

const nobody = 65_534;
const setpriv = ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];
const fixtures = fileURLToPath(new URL("../fixtures", import.meta.url));

/** Why no other user can run a plugin here; false where one can. */
function unavailable(): string | false {
  if (process.platform === "win32") {
    return "permissions are those of Unix";
  }
  if (process.getuid?.() !== 0) {
    return false;
  }
  const [program = "", ...options] = setpriv;
  const { status } = spawnSync(program, [
    ...options,
    process.execPath,
    "-p",
    `fs.readdirSync(${JSON.stringify(fixtures)})`,
  ]);
  return status === 0 ? false : "nobody but root may run Node or read the tests here";
}

/** The command that starts a program as that user; the home becomes that user's. */
function launcher(home: TempHome): string[] {
  if (process.getuid?.() !== 0) {
    return [];
  }
  chownSync(home.path, nobody, nobody);
  for (const entry of readdirSync(home.path, { recursive: true }) as string[]) {
    chownSync(join(home.path, entry), nobody, nobody);
  }
  return setpriv;
}

export const Bystander = { unavailable, launcher };
