"use strict";

// The native image that a call goes to: loaded at the first call that needs it, one for all copies of this version.
const { load } = require("./binary.js");
const { saveBeforeExit, shared } = require("./shared.js");
const { version } = require("../package.json");

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
  const key = `${name}@${version}`;
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
  saveBeforeExit();
  return image;
}

/** For as long as an image holds a descriptor, one of a file that another process replaces is closed within a minute. */
function watchOver(image) {
  if (image.isWatched) return;
  image.isWatched = true;
  const timer = setTimeout(() => {
    image.isWatched = false;
    try {
      if (image.letGo()) watchOver(image);
    } catch {}
  }, WATCH);
  timer.unref?.();
}

module.exports = { imageFor, watchOver };
