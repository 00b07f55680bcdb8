"use strict";

// The host that runs this process, as far as it decides where logins are kept: docs/hosts.md 5. It is known by the
// script that Node was started with; a plugin's code started in any other way has no host.
const fs = require("node:fs");

// The places that a host reads, as bits that native code knows (src/environment/running_host.rs).
const OPENCLAW_STATE_DIR = 1;
const MOLTBOT_STATE_DIR = 2;
const CLAWDBOT_STATE_DIR = 4;
const OPENCLAW_FOLDER = 8;
const CLAWDBOT_FOLDER = 16;
const MOLTBOT_FOLDER = 32;
/** Its own logins are in auth-profiles.json. */
const AUTH_PROFILES = 64;

const FOLDERS = OPENCLAW_FOLDER | CLAWDBOT_FOLDER | MOLTBOT_FOLDER;

/**
 * From the newest to the oldest: the first row of a host that is not newer than the running one names the places that
 * it reads.
 */
const rows = [
  ["openclaw", "2026.6.1", OPENCLAW_STATE_DIR | FOLDERS],
  ["openclaw", "2026.3.22", OPENCLAW_STATE_DIR | FOLDERS | AUTH_PROFILES],
  ["openclaw", "0", OPENCLAW_STATE_DIR | CLAWDBOT_STATE_DIR | FOLDERS | AUTH_PROFILES],
  ["openclaw-cn", "0", OPENCLAW_STATE_DIR | OPENCLAW_FOLDER | AUTH_PROFILES],
  ["moltbot", "0", MOLTBOT_STATE_DIR | CLAWDBOT_STATE_DIR | CLAWDBOT_FOLDER | MOLTBOT_FOLDER | AUTH_PROFILES],
  ["clawdbot", "0", CLAWDBOT_STATE_DIR | CLAWDBOT_FOLDER | AUTH_PROFILES],
];

/** The places that the running host reads; 0 where no host is known to run. */
function heeded(script = process.argv[1]) {
  try {
    const host = hostOf(fs.realpathSync(script));
    const row = rows.find(([name, since]) => name === host?.name && isAtLeast(host.version, since));
    return row === undefined ? 0 : row[2];
  } catch {
    // A process that altered the language's own functions gets no error here.
    return 0;
  }
}

/** Name and version of the package that the script belongs to, where that is a host. */
function hostOf(script) {
  let folder = script;
  for (;;) {
    const parent = folder.slice(0, Math.max(folder.lastIndexOf("/"), folder.lastIndexOf("\\")));
    if (parent === folder || parent === "") return undefined;
    folder = parent;
    const { name, version } = manifestIn(folder) ?? {};
    if (rows.some(([host]) => host === name)) return { name, version };
    // The innermost package with a name: a package inside of a host is no host.
    if (name !== undefined) return undefined;
  }
}

function manifestIn(folder) {
  try {
    return JSON.parse(fs.readFileSync(`${folder}/package.json`, "utf8"));
  } catch {
    return undefined;
  }
}

/** Compares versions like 2026.4.15 and 2026.1.24-3, part by part. */
function isAtLeast(version, since) {
  const [have, need] = [version, since].map((text) => text.split(/[.-]/).map(Number));
  const at = need.findIndex((part, index) => part !== have[index]);
  return at === -1 || have[at] > need[at];
}

module.exports = { heeded };
