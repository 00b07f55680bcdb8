/** The part that the kit uses; documented in `shared.js`. */
export interface SharedLogin {
  readonly verification: Promise<import("../index.js").Verification>;
  readonly outcome: Promise<import("../index.js").AuthStatus>;
  paste(text: string): Promise<import("../index.js").AuthStatus | string>;
  abort(): void;
  /** The only one who may take part; absent where all may, and in older versions of the package. */
  readonly owner?: string | undefined;
  readonly pluginId?: string;
  /** The account whose login it replaces. */
  before?: import("../index.js").LoginAccount;
  /** A chat reports how it ends. */
  isAnnounced?: boolean;
  /** The person gets the outcome as an answer already. */
  isAnswered?: boolean;
}

export interface LoginPage {
  /** Until it has ended. */
  login: SharedLogin | undefined;
  readonly pluginId: string;
  readonly madeAt: number;
  /** The cookie of the one browser that has opened the page. */
  cookie: string | undefined;
  outcome: { isDone: boolean; message?: string } | undefined;
}

export function shared(): {
  pendingLogins: Map<string, SharedLogin>;
  loginFailures: Map<string, string>;
  chatAttempts: Map<string, number[]>;
  loginPages: Map<string, LoginPage>;
  /** The async context in which the first copy of the kit was loaded: that of no call. */
  outside?: import("node:async_hooks").AsyncResource;
};
export function settled(limit: number): Promise<void>;
export function letGo(): void;
export function now(): number;
export function skipTime(seconds: number): void;
/** The channel that takes a list for the looks of those who follow logins. */
export const changes: string;
export function changed(): Promise<void>;
