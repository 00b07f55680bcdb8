/**
 * Hears of changes for as long as it is wanted: connects again where the connection breaks, and asks whether it still
 * answers.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type StoreListener, within } from "./shared-store.ts";

/** One connection that reports changes from the moment it was made. */
export interface Hearing {
  /** Rejects once the connection is known to be broken. */
  broken: Promise<never>;
  /** Asks the engine for a sign of life. */
  ping(): Promise<unknown>;
  close(): void;
}

/**
 * A network that swallows everything breaks no connection: this often it is asked, and so long it may take, in
 * milliseconds.
 */
const BEAT = 1_000;

/**
 * `connect` resolves once changes are reported. Nothing here keeps a process alive. Ends by the function that is
 * returned.
 */
export function hearing(listener: StoreListener, connect: () => Promise<Hearing>): () => Promise<void> {
  const end = new AbortController();
  const { signal } = end;
  let current: Hearing | undefined;
  const later = () => pause(BEAT, undefined, { ref: false, signal });
  const listen = async (): Promise<void> => {
    try {
      current = await connect();
      listener.live(true);
      while (!signal.aborted) {
        await Promise.race([later(), current.broken]);
        await within(Promise.race([current.ping(), current.broken]), { timeoutMs: BEAT, signal });
      }
    } catch {
      // Connected again below.
    }
    listener.live(false);
    current?.close();
    current = undefined;
  };
  const run = async () => {
    while (!signal.aborted) {
      await listen();
      await later().catch(() => {});
    }
  };
  void run();
  return async () => {
    end.abort();
    current?.close();
  };
}
