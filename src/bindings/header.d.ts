/* Generated from the doc comments in src/bindings. */

/** The kind of a rejection. Each has its own remedy: see docs/reference/errors.md. */
export type AuthErrorCode =
  | "INVALID_CONFIG"
  | "NETWORK"
  | "TIMEOUT"
  | "SERVER_ERROR"
  | "INVALID_RESPONSE"
  | "ISSUER_MISMATCH"
  | "DEVICE_FLOW_UNSUPPORTED"
  | "REGISTRATION_FAILED"
  | "OAUTH_ERROR"
  | "ACCESS_DENIED"
  | "DEVICE_CODE_EXPIRED"
  | "ABORTED"
  | "LOGIN_REQUIRED"
  | "SCOPE_REQUIRED"
  | "STORE_LOCKED"
  | "STORE_CORRUPT"
  | "STORE_VERSION"
  | "STORE_IO";

/**
 * The error with which every function of this library rejects. `instanceof` works across copies of the package in one process.
 *
 * @example
 * ```ts
 * import { AuthError, getValidAccessToken } from "clawdbot-plugin-auth";
 *
 * try {
 *   await getValidAccessToken({ pluginId: "my-memory", issuer: "https://auth.example.com" });
 * } catch (error) {
 *   if (error instanceof AuthError && error.needsLogin) console.log("Run: clawdbot my-memory login");
 *   else throw error;
 * }
 * ```
 */
export declare class AuthError extends Error {
  private constructor();
  readonly name: "AuthError";
  /** The kind of failure; stable. */
  readonly code: AuthErrorCode;
  /** Whether the same call may succeed later, without anybody doing anything. */
  readonly retryable: boolean;
  /** Whether a new login fixes it. */
  readonly needsLogin: boolean;
  /** The server's `error` (RFC 6749 §5.2). */
  readonly oauthError?: string;
  /** The server's `error_description`, without control characters and secrets. */
  readonly oauthErrorDescription?: string;
  /** The server's `error_uri`. */
  readonly oauthErrorUri?: string;
  /** The HTTP status of the server's answer. */
  readonly status?: number;
  /** How long to wait before trying again, in milliseconds. */
  readonly retryAfterMs?: number;
  /** With `SCOPE_REQUIRED`: the scopes that the service requires. The next login requests them as well. */
  readonly scopes?: string[];
}


/** How a login is begun that another call ends. */
export interface BeginLoginOptions {
  /** Called at each step of the wait. Its failure never ends the login. */
  onProgress?: (event: ProgressEvent) => void;
  /** With `flow: "authorization_code"`: where the browser is sent instead of the config's `redirectUri`. */
  redirectUri?: string;
  /** Ends the login for this caller: `done` rejects with `ABORTED`. It goes on for others that wait for it. */
  signal?: AbortSignal;
}

/** A login that waits for a person. */
export interface PendingLogin {
  /** Instructions for the person: the code and where to enter it, or the page to open. */
  readonly verification: Verification;
  /** How it ends, as {@link login} does. It keeps the process alive; nobody has to wait for it. */
  readonly done: Promise<AuthStatus>;
  /**
   * With `flow: "authorization_code"`: takes the address or code that the browser shows in the end, as {@link
   * LoginOptions.onPaste} does. Resolves when the login is complete. Rejects with `INVALID_RESPONSE` where the text
   * was wrong, three tries in all; else as `done` does.
   */
  paste(text: string): Promise<void>;
  /** Ends the login, for all who wait for it: nothing is stored any more. */
  cancel(): void;
}

/**
 * {@link login} in two calls: resolves as soon as there is something to show. Asked again while the login of the same account is
 * under way, in this process or another, it gives the same code. A logout ends it, whichever process it is called in.
 *
 * Rejects as {@link login} does.
 *
 * @example
 * ```ts
 * import { beginLogin } from "clawdbot-plugin-auth";
 *
 * const pending = await beginLogin({ pluginId: "my-memory", issuer: "https://auth.example.com" });
 * console.log(pending.verification.message);
 * console.log((await pending.done).state);
 * ```
 */
export declare function beginLogin(config: AuthConfig, options?: BeginLoginOptions): Promise<PendingLogin>;
