"use strict";

// The native image that a call goes to: loaded at the first call that needs it, one for all copies of this version.
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { shared } = require("./shared.js");

/** That of package.json, which would take as long to read as the token does: `npm version` writes both. */
const VERSION = "0.1.0";

const MAIN = "clawdbot-plugin-auth";
const KEYCHAIN = "clawdbot-plugin-auth-keychain";

/** How often descriptors are looked through for those of files that were replaced, in milliseconds. */
const WATCH = 30_000;

/** The image for that function and config, or why there is none: `{ failure }`, the details of an error. */
function imageFor(name, config) {
  const storage = config?.storage;
  if (storage === undefined || config.store !== undefined) return mainImage();
  const isChange = name === "login" || name === "logout" || name === "importToken";
  // With "file" as well: what takes the place of a login in the keychain, or ends it, removes its secrets there.
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

// What knows the system's keychain is a package of its own, for its size: loaded when a config first asks for it.
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
    // What isFresh is asked: stamp and due. Arguments would cost it more than the answer.
    stores: new WeakMap(),
    question: native.askThrough(offered, offered),
    leave: (limit) => native.leave(limit),
    settled: (limit) => new Promise((resolve) => native.settled(limit, () => resolve())),
    letGo: () => native.letGo(),
  };
  images.set(key, image);
  // Slim containers have no certificates of their own, but Node brings Mozilla's.
  if (native.mayLackCertificates()) native.bringCertificates(require("node:tls").rootCertificates.join("\n"));
  return image;
}

function load(name) {
  const { platform, arch } = process;
  // Where there is no binary of ours there may be one that the user has built.
  const abis = { linux: ["gnu", "musl"], win32: ["msvc"] }[platform] ?? [undefined];
  const failures = new Map();
  for (const abi of abis) {
    const triple = abi === undefined ? `${platform}-${arch}` : `${platform}-${arch}-${abi}`;
    try {
      const path = lasting(name, triple) ?? beside(__dirname, name, triple) ?? installed(name, triple);
      if (platform === "linux") checkWhole(path);
      return requireHere(path);
    } catch (error) {
      if (error.code === "ERR_DLOPEN_DISABLED") throw new Error(require("./unusable.js").ADDONS_DISABLED);
      if (error.code !== "MODULE_NOT_FOUND") failures.set(abi, error.message.replace(/\s+/g, " "));
    }
  }
  const { unloadable } = require("./unloadable.js");
  throw Object.assign(new Error(unloadable(name, abis, failures)), { isMissing: failures.size === 0 });
}

// What is found at run time is asked for through this: a bundler that meets a computed `require` takes every file that could
// be meant. Where a module cannot require by itself, it was bundled.
function requireHere(path) {
  const here = module;
  return typeof here.require === "function" ? here.require(path) : createRequire(__filename)(path);
}

// In a checkout it lies beside index.js, or beside a bundle; npm puts its package inside this one or beside. Looking costs
// less than a search.
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
function installed(name, triple, requireThere = createRequire(__filename)) {
  if (name === MAIN) return requireThere.resolve(`${name}-${triple}`);
  const { version, resolve } = requireThere(name);
  if (version !== VERSION) throw new Error(`version ${version} is installed, and ${VERSION} is needed`);
  return resolve(triple);
}

let pluginFolder;

/** Where the host has the plugin from. It may run a copy, and delete that at a reload: a binary of it would stay on the disk. */
function loadFrom(folder) {
  pluginFolder = folder;
}

/** The same binary where it stays; undefined where that is another version by now. */
function lasting(name, triple) {
  if (typeof pluginFolder !== "string") return undefined;
  try {
    const manifest = createRequire(`${pluginFolder}/package.json`).resolve(`${MAIN}/package.json`);
    if (JSON.parse(fs.readFileSync(manifest, "utf8")).version !== VERSION) return undefined;
    const folder = manifest.slice(0, -"package.json".length);
    return beside(`${folder}lib`, name, triple) ?? installed(name, triple, createRequire(manifest));
  } catch {
    return undefined;
  }
}

// The system maps a truncated binary all the same; then touching what is not there kills the process with SIGBUS.
function checkWhole(path) {
  const file = fs.openSync(path, "r");
  try {
    const header = new DataView(new ArrayBuffer(64));
    fs.readSync(file, header);
    // 64-bit little-endian ELF ends with its section headers. What is none, the system's loader refuses.
    if (header.getUint32(0) !== 0x7f454c46 || header.getUint16(4) !== 0x0201) return;
    const end = header.getUint32(40, true) + header.getUint16(58, true) * header.getUint16(60, true);
    if (fs.readSync(file, header, 0, 1, end - 1) === 0) throw new Error(`${path}: the file is truncated`);
  } finally {
    fs.closeSync(file);
  }
}

/** For as long as an image holds a descriptor, one of a file that another process replaces is closed within a minute. */
function watchOver(image) {
  if (image.isWatched) return;
  image.isWatched = true;
  const look = () => {
    image.isWatched = false;
    try {
      if (image.letGo()) watchOver(image);
    } catch {}
  };
  const begin = () => {
    try {
      setTimeout(look, WATCH).unref?.();
    } catch {}
  };
  try {
    // The first timer of a process costs as much as reading the token: whoever waits for that does not wait for it.
    setImmediate(begin).unref?.();
  } catch {
    begin();
  }
}

module.exports = { imageFor, loadFrom, watchOver };
