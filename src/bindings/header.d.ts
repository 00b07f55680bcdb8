/* Generated from the doc comments in src/bindings. */

/** What a rejection of this library is about; each has its own way out, see the README. */
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
  | "STORE_LOCKED"
  | "STORE_CORRUPT"
  | "STORE_VERSION"
  | "STORE_IO";

/**
 * What every function of this library rejects with. `instanceof` works across copies of the package in one process.
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
  /** What went wrong; stable. */
  readonly code: AuthErrorCode;
  /** Whether the same call may succeed later, without anybody doing anything. */
  readonly retryable: boolean;
  /** Whether a login mends it. */
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
}

