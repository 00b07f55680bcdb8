"use strict";

// A login that the plugin itself knows of: `adopt`, where it is a function. Native code asks it under the lock of the
// login, and only while nobody is logged in and nobody has logged out.
const { start } = require("./call.js");

/** Calls that find a login that the plugin knows of. Those that say how things are fail for no reason of its. */
const PATIENT = { getValidAccessToken: false, logout: true, status: true, listProfiles: true };

function isBefore(name, config) {
  return typeof config?.adopt === "function" && name in PATIENT;
}

/** Brings the login in, if there is one. */
async function adopt(name, caller, config, options) {
  const signal = options?.signal;
  try {
    await start("importToken", caller, config, { ...(signal && { signal }), onPaste: () => told(config.adopt) });
  } catch (error) {
    if (!PATIENT[name]) throw error;
  }
}

/** Functions with a failure that was already reported. */
const failed = new WeakSet();

async function told(adopt) {
  try {
    return JSON.stringify((await adopt()) ?? null);
  } catch (error) {
    // Most read a file, which most users do not have.
    if (error?.code === "ENOENT") return "null";
    if (!failed.has(adopt)) {
      failed.add(adopt);
      const message = `\`adopt\` failed, so no earlier login is taken over: ${error?.message ?? error}`;
      process.emitWarning(message, "AuthWarning");
    }
    return "";
  }
}

module.exports = { adopt, isBefore };
