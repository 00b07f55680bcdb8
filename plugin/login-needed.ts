import { AuthError } from "../index.js";

/**
 * The package's own error, with the sentence that says what to do, in what an SDK made of it ("Connection error." of
 * openai, for one). Any other error comes back as it is.
 */
export function loginNeeded(error: unknown): unknown {
  // SDKs put it into `cause`, `original`, `detail`, or a list. A set is walked with what is added meanwhile.
  const errors = new Set([error]);
  for (const found of errors) {
    if (found instanceof AuthError) {
      return found;
    }
    for (const { value } of Object.values(Object.getOwnPropertyDescriptors(found ?? {}))) {
      if (value instanceof Error || Array.isArray(value)) {
        errors.add(value);
      }
    }
  }
  return error;
}
