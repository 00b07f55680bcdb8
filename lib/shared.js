"use strict";

// Operations on all images of the process, loaded by any copy of the package.
const images = require("./images.js");

/** The state that all copies share, with the members that `images.js` does not need. */
function shared() {
  const common = images.shared();
  common.chatAttempts ??= new Map();
  common.loginPages ??= new Map();
  return common;
}

/** How long an exit waits, in milliseconds. */
const PATIENCE = 5_000;

// Node runs no clean-up hook of an addon at process.exit or an uncaught exception, except in workers. This waits for
// the answer to a sent request, and for the disk to save it; where nothing was sent, nothing waits.
function saveBeforeExit() {
  const common = shared();
  if (common.isLeaving || !require("node:worker_threads").isMainThread) return;
  common.isLeaving = true;
  process.on("exit", () => {
    // Nobody could catch what is thrown here.
    try {
      const end = process.uptime() * 1000 + PATIENCE;
      everyImage((image) => image.leave(Math.max(0, end - process.uptime() * 1000)));
    } catch {}
  });
}

/** The channel of `node:diagnostics_channel` that takes a list for the looks of those who follow logins; between copies. */
const changes = "clawdbot-plugin-auth:changed";

/** Closes what is held of files that were replaced. */
function letGo() {
  everyImage((image) => image.letGo());
}

/** Resolves when every sent refresh of this process is saved, or after the given milliseconds. */
async function settled(limit) {
  const waits = [];
  everyImage((image) => waits.push(image.settled(limit)));
  for (const wait of waits) {
    try {
      await wait;
    } catch {
      // The other images are waited for anyway.
    }
  }
}

/** The time that the package sees, Unix milliseconds. */
function now() {
  return Date.now() + (shared().skipped ?? 0);
}

/** Puts it that many seconds ahead of the machine's: plugin/testing/clock.ts, in tests alone. */
function skipTime(seconds) {
  shared().skipped = seconds * 1000;
  everyImage(({ native }) => native.skipTime(seconds));
}

// One that fails, of another version perhaps, keeps nobody from the others.
function everyImage(call) {
  for (const image of shared().images.values()) {
    try {
      call(image);
    } catch {}
  }
}

/** Resolves when those who follow the logins of this process have looked. Never rejects. */
async function changed() {
  const looks = [];
  require("node:diagnostics_channel").channel(changes).publish(looks);
  for (const look of looks) {
    try {
      await look;
    } catch {
      // A look that fails ends nobody's login.
    }
  }
}

module.exports = { changed, changes, letGo, now, saveBeforeExit, settled, shared, skipTime };
