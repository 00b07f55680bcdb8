/** What the kit uses of it; `shared.js` says what it is. */
export interface SharedLogin {
  readonly verification: Promise<import("../index.js").Verification>;
  readonly outcome: Promise<import("../index.js").AuthStatus>;
  paste(text: string): Promise<import("../index.js").AuthStatus | string>;
  abort(): void;
}

export function shared(): { pendingLogins: Map<string, SharedLogin>; loginFailures: Map<string, string> };
export function settled(limit: number): Promise<void>;
export function letGo(): void;
