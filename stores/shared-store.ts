/** Every store of this package: a `CredentialStore` of logins that several machines share, and what else it can do. */
import type { CredentialStore } from "../index.js";
import { Encryption, type EncryptionKey } from "./encryption.ts";
import { StoreError } from "./store-error.ts";

/** Options that all stores take. */
export interface SharedStoreOptions {
  /**
   * Encrypts what is stored (AES-256-GCM). While a key is changed: the new one, then the one before; the first
   * encrypts, both decrypt. Without it the values hold tokens in plain text.
   */
  encryptionKey?: EncryptionKey | [EncryptionKey, EncryptionKey] | undefined;
  /** How long a request to the engine may take, in milliseconds. @default 5000 */
  timeoutMs?: number | undefined;
}

/** One thing that `inspect` has looked at. */
export interface StoreCheck {
  name: string;
  level: "ok" | "warning" | "error";
  message: string;
  fix?: string;
}

/** The callback of a store that watches its engine. */
export interface StoreListener {
  /** This key was written, on whichever machine. */
  changed(key: string): void;
  /** Whether changes are being reported; changes before that are not reported later. */
  live(isLive: boolean): void;
}

export interface SharedStore extends CredentialStore {
  read(key: string): Promise<{ value: string; version: string } | undefined>;
  write(key: string, value: string, expected: string | undefined): Promise<string | undefined>;
  withLock(key: string, work: () => Promise<void>, options: { signal: AbortSignal }): Promise<void>;
  /** The keys that begin so. */
  list(prefix: string): Promise<string[]>;
  /** Reports every change until the function that it resolves to is called. */
  watch(listener: StoreListener): Promise<() => Promise<void>>;
  /** Version, durability, clock, rights and latency of the engine. */
  inspect(): Promise<StoreCheck[]>;
  /** Closes all connections. A store that has ended rejects. */
  end(): Promise<void>;
}

/** Values go into the engine encrypted where there is a key. */
export function sealed(engine: SharedStore, { encryptionKey }: SharedStoreOptions): SharedStore {
  if (encryptionKey === undefined) {
    return engine;
  }
  const encryption = new Encryption(encryptionKey);
  return {
    ...engine,
    async read(key) {
      const kept = await engine.read(key);
      return kept && { ...kept, value: encryption.open(key, kept.value) };
    },
    write: (key, value, expected) => engine.write(key, encryption.seal(key, value), expected),
  };
}

/** A check that found what has to be changed. */
export function problem(message: string, fix: string, level: "warning" | "error" = "error"): StoreCheck {
  return { name: "store", level, message, fix };
}

/**
 * The clock of the engine's machine, in Unix milliseconds, beside this one. `took` is how long the answer may have
 * been on its way.
 */
export function clockCheck(now: number, took = 0): StoreCheck[] {
  const apart = Math.abs(now - Date.now());
  return apart <= 30_000 + took
    ? []
    : [
        problem(
          `The server's clock is ${Math.round(apart / 1000)} s from this machine's.`,
          "Set both by NTP.",
          "warning",
        ),
      ];
}

/** The client of an engine, which the plugin's author installs. */
export async function peer<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "MODULE_NOT_FOUND" && code !== "ERR_MODULE_NOT_FOUND") {
      throw error;
    }
    throw new StoreError("PEER_MISSING", `This store needs the npm package ${name}: npm install ${name}.`);
  }
}

/** Rejects when the signal fires or the time is over; the work itself is given up by its owner. */
export async function within<Result>(
  work: Promise<Result>,
  { signal, timeoutMs, code = "ETIMEDOUT" }: { signal?: AbortSignal; timeoutMs?: number; code?: string },
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const given = new Promise<never>((_, reject) => {
    if (timeoutMs !== undefined) {
      timer = setTimeout(() => reject(new StoreError(code, "The engine did not answer in time.")), timeoutMs);
    }
    onAbort = () => reject(signal?.reason);
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, given]);
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
  }
}
