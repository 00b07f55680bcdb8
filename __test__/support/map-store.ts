/** A `CredentialStore` in memory that can be made to fail. */
import type { CredentialStore } from "../../index.js";

type Call = "read" | "write" | "withLock";

export class MapStore implements CredentialStore {
  readonly kept = new Map<string, { value: string; version: string }>();
  readonly calls: { call: Call; key: string }[] = [];
  /** The faulty behaviour of a function; undefined for the correct one. */
  instead: { [Name in Call]?: ((proper: () => Promise<unknown>) => unknown) | undefined } = {};
  #locks = new Map<string, Promise<unknown>>();
  #writes = 0;

  read = (key: string) => this.#call("read", key, async () => this.kept.get(key)) as never;

  write = (key: string, value: string, expected: string | undefined) =>
    this.#call("write", key, async () => {
      if (this.kept.get(key)?.version !== expected) return undefined;
      this.#writes += 1;
      const version = `v${this.#writes}`;
      this.kept.set(key, { value, version });
      return version;
    }) as never;

  withLock = (key: string, work: () => Promise<void>, { signal }: { signal: AbortSignal }) =>
    this.#call("withLock", key, async () => {
      const before = this.#locks.get(key) ?? Promise.resolve();
      const turn = before.then(() => (signal.aborted ? undefined : work()));
      this.#locks.set(
        key,
        turn.catch(() => {}),
      );
      await turn;
    }) as never;

  /** The stored value of the credential. */
  json(key = "memory/default") {
    const value = this.kept.get(key)?.value;
    return value === undefined ? undefined : JSON.parse(value);
  }

  /** Changes what is kept, as another machine does. */
  put(value: unknown, key = "memory/default"): void {
    this.#writes += 1;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    this.kept.set(key, { value: text, version: `v${this.#writes}` });
  }

  count(call: Call): number {
    return this.calls.filter((made) => made.call === call).length;
  }

  #call(call: Call, key: string, proper: () => Promise<unknown>): unknown {
    this.calls.push({ call, key });
    const instead = this.instead[call];
    return instead === undefined ? proper() : instead(proper);
  }
}
