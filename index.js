"use strict";

// The public functions, and the first look of the fast path. All else is loaded when it is first needed.
const { AuthError } = require("./lib/auth-error.js");
const { whyUnusable } = require("./lib/unusable.js");

// Whatever else keeps the binary from loading, the first call says.
const unusable = whyUnusable();
if (unusable !== undefined) throw new Error(unusable);

let loaded;
function library() {
  loaded ??= {
    ...require("./lib/call.js"),
    ...require("./lib/given-store.js"),
    ...require("./lib/images.js"),
    letGo: require("./lib/shared.js").letGo,
  };
  return loaded;
}

// What the last fresh token of a config was, and what it depends on.
let remembered = new WeakMap();

function getValidAccessToken(config, options) {
  if (options === undefined) {
    const last = remembered.get(config);
    if (last !== undefined && isWatched(last.watched, config)) {
      const { question } = last;
      question[0] = last.stamp;
      question[1] = last.due;
      if (last.isFresh()) return last.promise;
    }
    const fresh = freshToken(config);
    if (fresh !== undefined) return fresh;
  }
  return tokenOf(library().start("getValidAccessToken", getValidAccessToken, config, options));
}

async function tokenOf(call) {
  const { token } = await call;
  return token;
}

function freshToken(config) {
  const { imageFor, numbered, watchOver } = library();
  const image = imageFor("getValidAccessToken", config);
  const fresh = image.native?.freshToken(numbered(image, config)) ?? null;
  // There is more to do, or a failure to be told.
  if (fresh === null) return undefined;
  const promise = resolved(fresh.token);
  watchOver(image);
  // Without a stamp only reading the file tells whether it still is the stored one.
  if (fresh.stamp !== undefined) {
    const { question, native } = image;
    const { stamp, due } = fresh;
    remembered.set(config, { watched: watched(config), question, isFresh: native.isFresh, stamp, due, promise });
  }
  return promise;
}

// A promise of the language, whatever the global of that name has become.
async function resolved(value) {
  return value;
}

/** All options that decide on whose token it is, and whether it is fresh. */
function watched(config) {
  return [
    config.pluginId,
    config.profile,
    config.order,
    config.stateDir,
    config.credentialsPath,
    config.credentialsFormat,
    config.agentId,
    config.profileId,
    config.store,
    config.issuer,
    config.tokenEndpoint,
    config.clientId,
    config.refreshBufferMs,
    config.storage,
  ];
}

// Written out: so the array is never made, and a fresh token costs what its system call does.
function isWatched(last, config) {
  const now = watched(config);
  return (
    now[0] === last[0] &&
    now[1] === last[1] &&
    now[2] === last[2] &&
    now[3] === last[3] &&
    now[4] === last[4] &&
    now[5] === last[5] &&
    now[6] === last[6] &&
    now[7] === last[7] &&
    now[8] === last[8] &&
    now[9] === last[9] &&
    now[10] === last[10] &&
    now[11] === last[11] &&
    now[12] === last[12] &&
    now[13] === last[13]
  );
}

async function authorizationHeaders(config, request, options) {
  const { imageFor, numbered } = library();
  await getValidAccessToken(config, options);
  for (let turn = 0; turn < 4; turn += 1) {
    // Signs for the token and the key that are stored by now, together: another process may have logged in meanwhile.
    const image = imageFor("authorizationHeaders", config);
    const signed = image.native.authorizationHeaders(numbered(image, config), request);
    if (Array.isArray(signed)) {
      const [Authorization, DPoP] = signed;
      return DPoP === undefined ? { Authorization } : { Authorization, DPoP };
    }
    if (signed !== null) throw new AuthError(signed);
    // What is stored by now lies in a keychain or a database, and was not fetched yet.
    await getValidAccessToken(config, options?.signal && { signal: options.signal });
  }
  throw new AuthError(KEEPS_CHANGING);
}

const KEEPS_CHANGING = {
  code: "STORE_LOCKED",
  message: "The login keeps changing while a request is signed with it. Try again.",
  retryable: true,
  needsLogin: false,
};

function login(config, options) {
  return changing(library().start("login", login, config, options));
}

function authorizeDevice(config, options) {
  return library().start("authorizeDevice", authorizeDevice, config, options);
}

function logout(config, options) {
  return changing(library().start("logout", logout, config, options));
}

function importToken(config, token) {
  return changing(library().start("importToken", importToken, config, undefined, token));
}

function profileOrder(config, order) {
  return changing(library().start("profileOrder", profileOrder, config, undefined, order));
}

// Another account of an order may be the preferred one now. Of other processes it is noticed within a second.
async function changing(call) {
  const outcome = await call;
  remembered = new WeakMap();
  library().letGo();
  return outcome;
}

function status(config) {
  return library().start("status", status, config);
}

function doctor(config, options) {
  return library().start("doctor", doctor, config, options);
}

function listProfiles(config) {
  return library().start("listProfiles", listProfiles, config);
}

function refreshTokens(config, refreshToken, options) {
  return library().start("refreshTokens", refreshTokens, config, options, refreshToken);
}

module.exports = {
  AuthError,
  authorizationHeaders,
  authorizeDevice,
  doctor,
  getValidAccessToken,
  importToken,
  listProfiles,
  login,
  logout,
  profileOrder,
  refreshTokens,
  status,
};
