/**
 * Ends the processes and servers that a test has started, also when the test fails. A node:test context is one
 * (`start(t, …)`), and so are the hooks of a suite (`start({ after }, …)`).
 */
export interface Lifetime {
  after(end: () => void | Promise<void>): void;
}

/** A lifetime outside of a test: ends everything in reverse order. */
export class Scope implements Lifetime {
  readonly #ends: (() => void | Promise<void>)[] = [];

  after(end: () => void | Promise<void>): void {
    this.#ends.push(end);
  }

  async end(): Promise<void> {
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) {
      await end();
    }
  }
}
