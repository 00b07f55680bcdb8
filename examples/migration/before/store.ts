import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

export interface Tokens {
  access_token: string;
  refresh_token: string;
  /** Seconds. */
  expires_at: number;
}

const file = () => join(homedir(), ".openclaw", "tea-shop", "auth.json");

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
