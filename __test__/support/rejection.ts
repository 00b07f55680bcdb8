/** The rejection of a call, checked for the properties that every rejection must have. */
import assert from "node:assert/strict";
import { AuthError, type AuthErrorCode } from "../../index.js";

/** Fails unless the promise is rejected with an AuthError of this code; its message must be a sentence or more. */
export async function rejection(promise: Promise<unknown>, code: AuthErrorCode): Promise<AuthError> {
  const error = await promise.then(
    (value) => assert.fail(`Resolved to ${JSON.stringify(value)} instead of being rejected with ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof AuthError, `Not an AuthError: ${error}`);
  assert.ok(error instanceof Error);
  assert.equal(error.code, code, error.message);
  assert.equal(error.name, "AuthError");
  assert.match(error.message, /[A-Za-z].{10,}[.!?)]$/s, "a sentence");
  return error;
}
