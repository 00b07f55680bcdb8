import { now } from "../lib/shared.js";

/**
 * Where a service refuses new tokens at once: there the token is not the reason, and another refresh would help
 * nobody. By origin and path, each with all below it.
 */
export class Refusals {
  /** The last token that was accepted in place of one that had been refused: the refresh that gave it was of use. */
  helpful: string | undefined;
  /** Until when. Then a new token is tried there once more. */
  readonly #places = new Map<string, number>();

  /** A token that came from a refresh was refused there at once. */
  note(url: URL): void {
    if (this.#places.size > 100) {
      this.#places.clear();
    }
    this.#places.set(placeOf(url), now() + 5 * 60_000);
  }

  /** Any token was accepted there. */
  forget(url: URL): void {
    for (const place of this.#around(url)) {
      this.#places.delete(place);
    }
  }

  has(url: URL): boolean {
    return this.#around(url).some((place) => now() < (this.#places.get(place) ?? 0));
  }

  #around(url: URL): string[] {
    if (this.#places.size === 0) {
      return [];
    }
    const at = placeOf(url);
    return [...this.#places.keys()].filter((place) => `${at}/`.startsWith(`${place}/`));
  }
}

function placeOf({ origin, pathname }: URL): string {
  return origin + pathname.replace(/\/$/, "");
}
