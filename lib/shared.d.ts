/** What the kit uses of it; `shared.js` says what it is. */
export interface SharedLogin {
  readonly verification: Promise<import("../index.js").Verification>;
  readonly outcome: Promise<import("../index.js").AuthStatus>;
  paste(text: string): Promise<import("../index.js").AuthStatus | string>;
  abort(): void;
  /** Who alone may take part; nothing where whoever may log in may. Missing in older versions of the package. */
  readonly owner?: string | undefined;
  readonly pluginId?: string;
  /** Whose login it takes the place of. */
  before?: import("../index.js").LoginAccount;
  /** A chat is told how it ends. */
  isAnnounced?: boolean;
  /** Its person has that as an answer already. */
  isAnswered?: boolean;
}

export interface LoginPage {
  /** Until it has ended. */
  login: SharedLogin | undefined;
  readonly pluginId: string;
  readonly madeAt: number;
  /** Of the one browser that has opened it. */
  cookie: string | undefined;
  outcome: { isDone: boolean; message?: string } | undefined;
}

export function shared(): {
  pendingLogins: Map<string, SharedLogin>;
  loginFailures: Map<string, string>;
  chatAttempts: Map<string, number[]>;
  loginPages: Map<string, LoginPage>;
};
export function settled(limit: number): Promise<void>;
export function letGo(): void;
export function now(): number;
export function skipTime(seconds: number): void;
