"use strict";

// `allowHttp`: origins on other machines to which a token may travel without TLS, named one by one.
const { AuthError } = require("./auth-error.js");

/** Checks them. */
function unencrypted({ allowHttp = [] }) {
  const isOrigin = (text) => {
    try {
      const { protocol, origin } = new URL(text);
      return protocol === "http:" && !text.includes("*") && (text === origin || text === `${origin}/`);
    } catch {
      return false;
    }
  };
  if (Array.isArray(allowHttp) && allowHttp.every(isOrigin)) return allowHttp.map((text) => new URL(text).origin);
  const message = '`allowHttp` must name http origins one by one, such as ["http://api:8080"].';
  throw new AuthError({ code: "INVALID_CONFIG", message, retryable: false, needsLogin: false });
}

/** The doctor's checks of unencrypted origins. */
function unencryptedChecks(config) {
  return unencrypted(config).map((origin) => ({
    name: "http",
    level: "warning",
    message: `Tokens may travel to ${origin} without encryption (\`allowHttp\`): whoever is on that network can read them.`,
    fix: "Use https there, or keep that network to yourself.",
  }));
}

module.exports = { unencrypted, unencryptedChecks };
