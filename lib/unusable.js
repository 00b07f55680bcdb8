"use strict";

// Reasons, known without cost before the first call, that keep every binary from loading.

const ADDONS_DISABLED =
  "clawdbot-plugin-auth is a native addon, and addons are disabled in this Node: start it without --no-addons (look into " +
  "NODE_OPTIONS, too), or, where its permission model is on, with --allow-addons.";

function bundled(where) {
  return (
    `clawdbot-plugin-auth was bundled into ${where}, where its binary is not. Leave clawdbot-plugin-auth out of the bundle ` +
    "(as `external`) and install it beside: docs/guide/bundlers.md of the package says how, bundler by bundler."
  );
}

/** Why this process can use no binary; undefined where it may. */
function whyUnusable() {
  // An ES module that a bundler made: it has neither a place in the file system nor, with most, a `require` that works.
  if (typeof __filename !== "string") return bundled("an ES module");
  const options = process.env.NODE_OPTIONS ?? "";
  // No method of strings, which others may have changed: this runs before anybody can catch.
  const isGiven = (name) => process.execArgv.includes(name) || new RegExp(`(?:^|\\s)${name}(?:\\s|$)`).test(options);
  const has = (...names) => names.some(isGiven);
  const isDisabled = has("--no-addons") || (has("--permission", "--experimental-permission") && !has("--allow-addons"));
  return isDisabled ? ADDONS_DISABLED : undefined;
}

module.exports = { ADDONS_DISABLED, bundled, whyUnusable };
