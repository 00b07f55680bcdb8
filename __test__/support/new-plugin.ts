/** A plugin as `npx clawdbot-plugin-auth init` writes it, with what `npm install` would bring. */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs this package's command, in a folder. */
export function command(args: string[], folder: string): string {
  const script = join(root, manifest.bin["clawdbot-plugin-auth"]);
  return execFileSync(process.execPath, [script, ...args], { cwd: folder, encoding: "utf8", stdio: "pipe" });
}

/** Writes it into a new folder there, and compiles it as its `npm test` does. */
export function newPlugin(parent: string, id: string, ...flags: string[]): string {
  command(["init", id, ...flags], parent);
  const folder = join(parent, id);
  for (const name of ["@types/node", "typescript", manifest.name]) {
    const target = name === manifest.name ? root : join(root, "node_modules", name);
    mkdirSync(dirname(join(folder, "node_modules", name)), { recursive: true });
    symlinkSync(target, join(folder, "node_modules", name), "junction");
  }
  execFileSync(process.execPath, [join(folder, "node_modules", "typescript", "bin", "tsc")], {
    cwd: folder,
    stdio: "pipe",
  });
  return folder;
}
