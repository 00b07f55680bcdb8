"use strict";

// The native image that a call goes to: loaded at the first call that needs it, one for all copies of this version. In
// one file with what all copies share: a process that only takes a fresh token pays more for each file than for its
// token.
const fs = require("node:fs");

/**
 * The version in package.json. Reading that file would take as long as reading the token: `npm version` writes both.
 */
const VERSION = "0.1.0";

const MAIN = "clawdbot-plugin-auth";
const KEYCHAIN = "clawdbot-plugin-auth-keychain";

/** The path or name of a host's script; other scripts are not examined. */
const HOST_SCRIPT = /[\\/](?:moltbot|(?:clawdbot|openclaw)(?:-cn)?)(?:[\\/.]|$)/;

/** How often descriptors are looked through for those of files that were replaced, in milliseconds. */
const WATCH = 30_000;

// The state that all copies of this package in a process share. Hosts load several, and keep old ones after a reload.
//
// This is a contract between versions. A later one may add members; those below keep their names, types and meaning. An
// incompatible change takes the next number in the symbol's name, and both live side by side.
//
//   images          Map from "<package>@<version>" to the native image that all copies of that version use:
//     leave(limit)    blocks until every sent refresh is saved, at most `limit` milliseconds; none is sent afterwards
//     settled(limit)  the same as a promise, while the process lives on; more may be sent
//     letGo()         closes descriptors of credential files that were replaced; returns whether any is still open
//     native          the exports of the image: only for copies of its own version
//     stores          the numbers of the given stores: likewise
//     question        the array through which this thread asks its `isFresh`: likewise
//   pendingLogins   Map from an account of a plugin to its login that is under way:
//     verification, outcome  promises;  paste(text), abort()
//     pluginId, asked  its plugin and its request; owner  the only one who may take part, if set;  listeners, waiters  of it
//     isAnnounced, isAnswered  whether a chat reports how it ends, and whether its person gets that as an answer already
//     before  the account whose login it replaces
//   chatAttempts    Map from a sender in a chat to the times (Unix ms) of the attempts there within the last hour
//   loginPages      Map from the one-time address of a page to the login that it shows, only to the browser with its cookie
//   loginFailures   Map from an account of a plugin to the message of its last login that failed
//   skipped         milliseconds by which the tests of a plugin have advanced the clock
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

/** The image for that function and config, or the details of the error why there is none: `{ failure }`. */
function imageFor(name, config) {
  const storage = config?.storage;
  if (storage === undefined || config.store !== undefined) return mainImage();
  const isChange = name === "login" || name === "logout" || name === "importToken";
  // With "file" as well: replacing or ending a login in the keychain removes its secrets there.
  const isWanted = storage === "keychain" || storage === "auto" || (storage === "file" && isChange);
  if (!isWanted || name === "authorizeDevice" || name === "refreshTokens") return mainImage();
  keychainImage ??= loadKeychainImage();
  if (keychainImage.failure === undefined) return keychainImage;
  // A login that is not to be changed is described without the keychain; and with "auto" there need not be one.
  const isReading = name === "status" || name === "listProfiles" || name === "doctor" || name === "profileOrder";
  const isOptional = isReading || storage === "file" || (storage === "auto" && keychainImage.isMissing);
  return isOptional ? mainImage() : keychainImage;
}

let main;

function mainImage() {
  if (main !== undefined) return main;
  try {
    main = imageOf(MAIN);
    return main;
  } catch (error) {
    // Not kept: it may be installed by the next call.
    return { failure: invalid(error.message) };
  }
}

// The build that knows the system's keychain is a package of its own, for its size. It is loaded when a config first
// asks for it.
let keychainImage;

function loadKeychainImage() {
  try {
    return imageOf(KEYCHAIN);
  } catch (error) {
    const message =
      `\`storage: "keychain"\` takes the package ${KEYCHAIN}: add it beside ${MAIN}, in the same version. ` +
      error.message;
    return { failure: invalid(message), isMissing: error.isMissing };
  }
}

function invalid(message) {
  return { code: "INVALID_CONFIG", message, retryable: false, needsLogin: false };
}

function imageOf(name) {
  const { images } = shared();
  const key = `${name}@${VERSION}`;
  const known = images.get(key);
  if (known !== undefined) return known;
  const native = load(name);
  const offered = new Float64Array(2);
  const image = {
    native,
    // The question to isFresh: stamp and due. Arguments would cost more than the answer.
    stores: new WeakMap(),
    question: native.askThrough(offered, offered),
    leave: (limit) => native.leave(limit),
    settled: (limit) => new Promise((resolve) => native.settled(limit, () => resolve())),
    letGo: () => native.letGo(),
  };
  images.set(key, image);
  if (HOST_SCRIPT.test(process.argv[1])) native.runBy(require("./running-host.js").heeded());
  return image;
}

function load(name) {
  const { platform, arch } = process;
  // Where no published binary exists, the user may have built one.
  const abis = { linux: ["gnu", "musl"], win32: ["msvc"] }[platform] ?? [undefined];
  const failures = new Map();
  for (const abi of abis) {
    const triple = abi === undefined ? `${platform}-${arch}` : `${platform}-${arch}-${abi}`;
    try {
      const path = lasting(name, triple) ?? beside(__dirname, name, triple) ?? installed(name, triple);
      if (platform === "linux" || platform === "android") checkWhole(path);
      return loaded(path);
    } catch (error) {
      if (error.code === "ERR_DLOPEN_DISABLED") throw new Error(require("./unusable.js").ADDONS_DISABLED);
      if (error.code !== "MODULE_NOT_FOUND") failures.set(abi, error.message.replace(/\s+/g, " "));
    }
  }
  const { ownBuild, unloadable } = require("./unloadable.js");
  const own = ownBuild(name, abis);
  try {
    if (own !== undefined) return loaded(own.path);
  } catch (error) {
    failures.set(own.abi, error.message.replace(/\s+/g, " "));
  }
  throw Object.assign(new Error(unloadable(name, abis, failures)), { isMissing: failures.size === 0 });
}

// Not by `require`, which looks for the file again. Nor does a bundler meet a computed `require` here, which would
// have it take every file that could be meant.
function loaded(path) {
  const addon = { exports: {} };
  process.dlopen(addon, process.platform === "win32" ? require("node:path").toNamespacedPath(path) : path);
  return addon.exports;
}

// In a checkout the binary is beside index.js, or beside a bundle; npm puts its package inside this one or beside it.
// Looking costs less than a search.
function beside(folder, name, triple) {
  const file = `${name}.${triple}.node`;
  const there = `${MAIN}-${triple}/${file}`;
  return (
    existing(`${folder}/../${file}`) ??
    existing(`${folder}/${file}`) ??
    (name === MAIN
      ? (existing(`${folder}/../node_modules/${there}`) ?? existing(`${folder}/../../${there}`))
      : undefined)
  );
}

function existing(path) {
  return fs.existsSync(path) ? path : undefined;
}

// Package managers that hoist nothing let only a package itself see what it depends on.
function installed(name, triple, requireThere = requireFrom(__filename)) {
  if (name === MAIN) return requireThere.resolve(`${name}-${triple}`);
  const { version, resolve } = requireThere(name);
  if (version !== VERSION) throw new Error(`version ${version} is installed, and ${VERSION} is needed`);
  return resolve(triple);
}

function requireFrom(path) {
  return require("node:module").createRequire(path);
}

let pluginFolder;

/**
 * Where the host has the plugin from. It may run a copy, and delete that at a reload: a binary of it would stay on the
 * disk.
 */
function loadFrom(folder) {
  pluginFolder = folder;
}

/** The same binary in its lasting place; undefined where another version is there by now. */
function lasting(name, triple) {
  if (typeof pluginFolder !== "string") return undefined;
  try {
    const manifest = requireFrom(`${pluginFolder}/package.json`).resolve(`${MAIN}/package.json`);
    if (JSON.parse(fs.readFileSync(manifest, "utf8")).version !== VERSION) return undefined;
    const folder = manifest.slice(0, -"package.json".length);
    return beside(`${folder}lib`, name, triple) ?? installed(name, triple, requireFrom(manifest));
  } catch {
    return undefined;
  }
}

// The system maps a truncated binary anyway; reading beyond its end then kills the process with SIGBUS.
function checkWhole(path) {
  const file = fs.openSync(path, "r");
  try {
    const header = new DataView(new ArrayBuffer(64));
    // The quickest of the functions that read, the first time.
    fs.readvSync(file, [header], 0);
    // 64-bit little-endian ELF ends with its section headers. A file that is not ELF, the system's loader refuses.
    if (header.getUint32(0) !== 0x7f454c46 || header.getUint16(4) !== 0x0201) return;
    const end = header.getUint32(40, true) + header.getUint16(58, true) * header.getUint16(60, true);
    if (fs.readvSync(file, [new Uint8Array(1)], end - 1) === 0) throw new Error(`${path}: the file is truncated`);
  } finally {
    fs.closeSync(file);
  }
}

/**
 * For as long as an image holds a descriptor, one of a file that another process replaces is closed within a minute.
 */
function watchOver(image) {
  if (image.isWatched) return;
  image.isWatched = true;
  lookLater(image);
}

async function lookLater(image) {
  // The first timer of a process costs as much as reading the token, so a waiting caller gets its token first.
  for (let turn = 0; turn < 4; turn += 1) await undefined;
  const look = () => {
    image.isWatched = false;
    try {
      if (image.letGo()) watchOver(image);
    } catch {}
  };
  try {
    setTimeout(look, WATCH).unref?.();
  } catch {
    // Timers are gone. The next call tries again.
    image.isWatched = false;
  }
}

module.exports = { imageFor, loadFrom, shared, watchOver };
