/** The error for an option or a call that no program may make: for the plugin's author, so nothing to log in for. */
export function invalidConfig(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: "INVALID_CONFIG", retryable: false, needsLogin: false });
}
