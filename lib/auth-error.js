"use strict";

const BRAND = Symbol.for("clawdbot-plugin-auth.AuthError");
const everyObject = Object.prototype;

class AuthError extends Error {
  constructor(details, options) {
    super(details.message, options);
    for (const name in details) {
      if (name !== "message" && !(name in everyObject) && details[name] !== undefined) this[name] = details[name];
    }
  }

  // Hosts load several copies of a package into one process: each copy recognizes the errors of the others.
  static [Symbol.hasInstance](value) {
    if (this !== AuthError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && value[BRAND] === true;
  }
}
Object.defineProperty(AuthError.prototype, "name", { value: "AuthError", writable: true, configurable: true });
Object.defineProperty(AuthError.prototype, BRAND, { value: true });

module.exports = { AuthError };
