import { imageFor } from "../../lib/images.js";
import { now, skipTime } from "../../lib/shared.js";

/** The package's time. It runs on by itself, and can be moved ahead in tests. */
export interface Clock {
  /** The time that the package sees, Unix milliseconds. */
  now(): number;
  /**
   * Lets that many milliseconds pass at once, whole seconds of them: tokens end, codes expire, waits that a server
   * asked for are over. Timers do not fire earlier for it.
   *
   * @throws {Error} Where `NODE_ENV` is not `test`.
   */
  advance(milliseconds: number): void;
  /** Back to the machine's time. */
  reset(): void;
}

/**
 * Moves the time of this package in this process, and that of {@link startAuthorizationServer}. Fake timers of a test
 * runner do not reach native code.
 *
 * @example
 * ```ts
 * import { clock } from "clawdbot-plugin-auth/testing";
 *
 * clock.advance(3_600_000); // an hour later: the access token has ended
 * clock.reset();
 * ```
 */
export const clock: Clock = {
  now,
  advance(milliseconds) {
    const seconds = Math.round(milliseconds / 1000);
    if (!(milliseconds >= 0 && seconds < 2 ** 32)) {
      throw new RangeError(
        `clock.advance takes milliseconds, 0 or more, not ${milliseconds}. clock.reset() goes back.`,
      );
    }
    move(Math.round((now() - Date.now()) / 1000) + seconds);
  },
  reset: () => move(0),
};

function move(seconds: number): void {
  if (process.env.NODE_ENV !== "test") {
    throw new Error(
      "The clock of clawdbot-plugin-auth is moved in tests only: start them with NODE_ENV=test, or let them set process.env.NODE_ENV.",
    );
  }
  // Loads the image, if no call has done so yet.
  const { failure } = imageFor("status", {});
  if (failure !== undefined) {
    throw new Error(failure.message);
  }
  skipTime(seconds);
}
