/** Ctrl-C during a login on the command line, and what else asks the process to end. */

/**
 * Says what became of the login before anybody else hears of the signal: a host may end the process at once, and those
 * that run in a child of their own send it on, so that it comes twice.
 */
export class Interruption {
  readonly #stop = new AbortController();
  readonly #giveUp: () => void;
  #isApproved = false;
  #isSaid = false;

  /** @param giveUp Says that nothing was changed. Must not wait: the process may end right after it. */
  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
    // Not SIGHUP: nobody is left to read anything, and listening to it would undo `nohup`.
    process.prependListener("SIGINT", this.#onSignal).prependListener("SIGTERM", this.#onSignal);
  }

  /** For the login. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** From here on the login may be complete before it hears of a signal: its outcome has to say. */
  approved(): void {
    this.#isApproved = true;
  }

  /** The login was given up: says so unless that was said. */
  givenUp(): void {
    if (!this.#isSaid) {
      this.#isSaid = true;
      this.#giveUp();
    }
    process.exitCode = exitCode(this.#stop.signal.reason);
  }

  /** For a terminal in raw mode, which sends characters instead of a signal. */
  raise(signal: NodeJS.Signals): void {
    this.#onSignal(signal);
  }

  /** Leaves the signals to others. */
  end(): void {
    process.off("SIGINT", this.#onSignal).off("SIGTERM", this.#onSignal);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.#stop.signal.aborted) {
      process.exit(exitCode(signal));
    }
    this.#stop.abort(signal);
    if (this.#isApproved) {
      return;
    }
    this.givenUp();
    if (process.listenerCount(signal) === 1) {
      // Exit as without this handler. There is no moment without a handler: the host would report a second signal as a
      // failure.
      process.exit(exitCode(signal));
    }
    // A host that finds itself alone tidies up and ends the process; others have their own reasons to listen.
    this.end();
  };
}

/** 128 and the signal's number, as shells count. */
function exitCode(signal: unknown): number {
  return signal === "SIGTERM" ? 143 : 130;
}
