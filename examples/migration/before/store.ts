import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Tokens {
  access_token: string;
  refresh_token: string;
  /** Seconds. */
  expires_at: number;
}

let folder = "";

export function keepIn(stateDir: string): void {
  folder = join(stateDir, "extensions", "tea-shop");
}

const file = () => join(folder, "credentials.json");

export function load(): Tokens | undefined {
  try {
    return JSON.parse(readFileSync(file(), "utf8"));
  } catch {
    return undefined;
  }
}

export function save(tokens: Tokens): void {
  mkdirSync(dirname(file()), { recursive: true });
  writeFileSync(file(), JSON.stringify(tokens));
  chmodSync(file(), 0o600);
}

export function clear(): void {
  rmSync(file(), { force: true });
}
