"use strict";

// The public functions, and the first look of the fast path. All else is loaded when it is first needed: a process that
// only takes a fresh token loads the image and no call.

// Where every binary may be kept from loading it is looked into now. Whatever else does so, the first call says.
const isSuspect = typeof __filename !== "string" || process.execArgv.length > 0 || process.env.NODE_OPTIONS;
const unusable = isSuspect ? require("./lib/unusable.js").whyUnusable() : undefined;
if (unusable !== undefined) throw new Error(unusable);

const errors = {
  get AuthError() {
    return require("./lib/auth-error.js").AuthError;
  },
};

let images;
function imageFor(name, config) {
  images ??= require("./lib/images.js");
  return images.imageFor(name, config);
}

let givenStore;
function numbered(image, config) {
  if (config?.store === undefined) return config;
  givenStore ??= require("./lib/given-store.js");
  return givenStore.numbered(image, config);
}

let call;
function start(name, caller, config, options, argument) {
  call ??= require("./lib/call.js");
  return call.start(name, caller, config, options, argument);
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
  return tokenOf(start("getValidAccessToken", getValidAccessToken, config, options));
}

async function tokenOf(answer) {
  const { token } = await answer;
  return token;
}

function freshToken(config) {
  const image = imageFor("getValidAccessToken", config);
  const fresh = image.native?.freshToken(numbered(image, config)) ?? null;
  // There is more to do, or a failure to be told.
  if (fresh === null) return undefined;
  const promise = resolved(fresh.token);
  images.watchOver(image);
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
  await getValidAccessToken(config, options);
  for (let turn = 0; turn < 4; turn += 1) {
    // Signs for the token and the key that are stored by now, together: another process may have logged in meanwhile.
    const image = imageFor("authorizationHeaders", config);
    const signed = image.native.authorizationHeaders(numbered(image, config), request);
    if (Array.isArray(signed)) {
      const [Authorization, DPoP] = signed;
      return DPoP === undefined ? { Authorization } : { Authorization, DPoP };
    }
    if (signed !== null) throw new errors.AuthError(signed);
    // What is stored by now lies in a keychain or a database, and was not fetched yet.
    await getValidAccessToken(config, options?.signal && { signal: options.signal });
  }
  throw new errors.AuthError(KEEPS_CHANGING);
}

const KEEPS_CHANGING = {
  code: "STORE_LOCKED",
  message: "The login keeps changing while a request is signed with it. Try again.",
  retryable: true,
  needsLogin: false,
};

function login(config, options) {
  return changing(start("login", login, config, options));
}

function beginLogin(config, options) {
  return require("./lib/pending-login.js").beginLogin({ login, profileOrder }, config, options);
}

function authorizeDevice(config, options) {
  return start("authorizeDevice", authorizeDevice, config, options);
}

function logout(config, options) {
  return changing(start("logout", logout, config, options));
}

function importToken(config, token) {
  return changing(start("importToken", importToken, config, undefined, token));
}

function profileOrder(config, order) {
  return changing(start("profileOrder", profileOrder, config, undefined, order));
}

// Another account of an order may be the preferred one now. Of other processes it is noticed within a second.
async function changing(answer) {
  const outcome = await answer;
  remembered = new WeakMap();
  require("./lib/shared.js").letGo();
  return outcome;
}

function status(config) {
  return start("status", status, config);
}

function doctor(config, options) {
  const report = start("doctor", doctor, config, options);
  if (typeof config?.store?.inspect !== "function") return report;
  givenStore ??= require("./lib/given-store.js");
  return givenStore.inspected(report, config.store);
}

function listProfiles(config) {
  return start("listProfiles", listProfiles, config);
}

function refreshTokens(config, refreshToken, options) {
  return start("refreshTokens", refreshTokens, config, options, refreshToken);
}

module.exports = {
  authorizationHeaders,
  authorizeDevice,
  beginLogin,
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

// In a form by which Node finds the name for `import`.
Object.defineProperty(module.exports, "AuthError", {
  enumerable: true,
  get() {
    return errors.AuthError;
  },
});
