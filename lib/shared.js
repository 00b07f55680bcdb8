"use strict";

// What all copies of this package in a process have in common. Hosts load several, and keep old ones after a reload.
//
// This is a contract between versions. A later one may add members; those below keep their names, types and meaning. For
// what cannot keep them there is the next number in the symbol's name, and both live side by side.
//
//   images          Map from "<package>@<version>" to the native image that all copies of that version use:
//     leave(limit)    blocks until no refresh that was sent waits to be saved, at most `limit` milliseconds; none is sent then
//     settled(limit)  a promise for the same while the process lives on; more may be sent
//     letGo()         closes descriptors of credential files that were replaced; whether any is held still
//     native          what the image exports: for copies of its own version alone
//     stores          the numbers of the given stores: likewise
//     question        the array through which this thread asks its `isFresh`: likewise
//   pendingLogins   Map from an account of a plugin to its login that is under way:
//     verification, outcome  promises;  paste(text), abort()
//   loginFailures   Map from an account of a plugin to the message of its last login that failed
//   isLeaving       whether an exit of the process waits for all images: one listener does for all
const SYMBOL = Symbol.for("clawdbot-plugin-auth.process.1");

let fallback;

function shared() {
  const known = globalThis[SYMBOL] ?? fallback;
  if (known !== undefined) return known;
  const made = { images: new Map(), pendingLogins: new Map(), loginFailures: new Map(), isLeaving: false };
  try {
    Object.defineProperty(globalThis, SYMBOL, { value: made });
  } catch {
    // Globals that are frozen: each copy for itself.
    fallback = made;
  }
  return made;
}

/** How long an exit waits, in milliseconds. */
const PATIENCE = 5_000;

// Node runs no clean-up hook of an addon at process.exit or an uncaught exception, except in workers. What was sent waits
// there for its answer, and an answer for the disk; nothing waits where nothing was sent.
function saveBeforeExit() {
  const common = shared();
  if (common.isLeaving || !require("node:worker_threads").isMainThread) return;
  common.isLeaving = true;
  process.on("exit", () => {
    const end = process.uptime() * 1000 + PATIENCE;
    everyImage((image) => image.leave(Math.max(0, end - process.uptime() * 1000)));
  });
}

/** Closes what is held of files that were replaced. */
function letGo() {
  everyImage((image) => image.letGo());
}

/** Resolves when no refresh of this process is between sent and saved, after so many milliseconds at the latest. */
async function settled(limit) {
  const waits = [];
  everyImage((image) => waits.push(image.settled(limit)));
  for (const wait of waits) {
    try {
      await wait;
    } catch {
      // The others are waited for all the same.
    }
  }
}

// One that fails, of another version perhaps, keeps nobody from the others.
function everyImage(call) {
  for (const image of shared().images.values()) {
    try {
      call(image);
    } catch {}
  }
}

module.exports = { letGo, saveBeforeExit, settled, shared };
