/** The contents of an installed package, in a folder of its own, as openclaw's captures make them. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TempHome } from "./temp-home.ts";

/** Copies the package into that folder of the home, and gives its path. */
export function copyOfThePackage(home: TempHome, name: string, wanted = (_name: string) => true): string {
  const folder = join(home.path, name);
  mkdirSync(folder, { recursive: true });
  const root = fileURLToPath(new URL("../..", import.meta.url));
  for (const file of readdirSync(root)) {
    if (/^(index\.js|index\.mjs|plugin\.js|lib|dist|package\.json|.*\.node)$/.test(file) && wanted(file)) {
      cpSync(join(root, file), join(folder, file), { recursive: true });
    }
  }
  return folder;
}
