/** Renews a lock that ends by itself, for as long as it is held. */
import { setTimeout as pause } from "node:timers/promises";
import { within } from "./shared-store.ts";
import { StoreError } from "./store-error.ts";

export interface LockRenewal {
  /** How long the lock lasts without being renewed, in milliseconds. */
  lockMs: number;
  /** By `performance.now()`, before the lock was asked for: it may have begun then. */
  since: number;
  /** Ends the renewal. */
  signal: AbortSignal;
}

/**
 * `renew` says whether the lock is still held; it rejects where that is unknown, because the engine may be back before the lock
 * has ended. Rejects once the lock may have ended.
 */
export async function renewed(renew: () => Promise<boolean>, { lockMs, since, signal }: LockRenewal): Promise<void> {
  const turn = lockMs / 3;
  let until = since + lockMs;
  for (;;) {
    await pause(turn, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    const sent = performance.now();
    const isHeld = await within(renew(), { timeoutMs: turn }).catch(() => undefined);
    if (isHeld) {
      until = sent + lockMs;
    } else if (isHeld === false || performance.now() + turn >= until) {
      throw new StoreError("LOCK_LOST", "The lock has ended while it was held.");
    }
  }
}

/** No work takes longer, in milliseconds: one that never ends does not keep the lock for ever. */
const LONGEST = 120_000;

/** Does the work until its lock is `lost`. */
export async function held(work: () => Promise<void>, lost: Promise<void>): Promise<void> {
  await within(Promise.race([work(), lost]), { timeoutMs: LONGEST, code: "LOCK_LOST" });
}

/** Between two tries to take a lock: not all at once. */
export async function beforeNextTry(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await pause(25 + Math.random() * 50, undefined, { signal });
}
