"use strict";

// The public functions, and the first look of the fast path. All else is loaded when it is first needed: a process that
// only takes a fresh token loads the image and no call.

// Reasons that may keep every binary from loading are looked for now. Any other failure is reported by the first call.
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

let nativeConfig;
/** The config as native code takes it. */
function natively(image, config) {
  if (config?.store === undefined && typeof config?.adopt !== "function") return config;
  nativeConfig ??= require("./lib/native-config.js").nativeConfig;
  return nativeConfig(image, config);
}

let givenStore;

let Content;
function contentOf(config) {
  Content ??= require("./lib/content.js").Content;
  return new Content(config);
}

let call;
function start(name, caller, config, options, argument) {
  call ??= require("./lib/call.js");
  if (hasAdoption(config)) return adopting(name, caller, config, options, argument);
  return call.start(name, caller, config, options, argument);
}

/** Whether the plugin knows of a login, or looks as if. */
function hasAdoption(config) {
  try {
    return typeof config?.adopt === "function";
  } catch {
    return false;
  }
}

async function adopting(name, caller, config, options, argument) {
  const { adopt, isBefore } = require("./lib/adoption.js");
  if (isBefore(name, config)) await adopt(name, caller, config, options);
  return call.start(name, caller, config, options, argument);
}

// The last fresh token of a config, with all that it depends on. A caller that keeps its config finds it by the
// object, in any number; one that makes a config for each call finds it by its content, among the last few.
let byObject = new WeakMap();
let byContent = [];
const FEW = 32;
// Most calls are for the one that was found last.
let latest;

/** Whether the config names a token from outside, or looks as if. */
function hasToken(config) {
  try {
    return config?.token !== undefined;
  } catch {
    return false;
  }
}

function outside() {
  return require("./lib/outside-token.js");
}

function getValidAccessToken(config, options) {
  if (!hasToken(config)) return storedToken(config, options);
  return outside().fromOutside(
    config,
    options,
    () => storedToken(config, options),
    (token) => token,
  );
}

function storedToken(config, options) {
  const fresh = freshToken(config, options);
  if (fresh !== undefined) return fresh.promise;
  return tokenOf(start("getValidAccessToken", getValidAccessToken, config, options));
}

async function tokenOf(answer) {
  const { token } = await answer;
  return token;
}

/** Returns the remembered fresh token, where the call asks for nothing else; undefined where there is more to do. */
function freshToken(config, options) {
  try {
    const known = find(config);
    if (options !== undefined && !isContent(options, known?.token)) return undefined;
    if (known !== undefined) {
      ask(known);
      if (known.isFresh()) return known;
    }
    const fresh = look(config, known);
    return options === undefined || fresh === undefined || isContent(options, fresh.token) ? fresh : undefined;
  } catch {
    // A getter may have thrown: the call itself meets the same error, and rejects with it.
    return undefined;
  }
}

/** Sets the question that this thread asks native code from here on. */
function ask({ question, stamp, due }) {
  question[0] = stamp;
  question[1] = due;
}

/** Whether these options are known ones, and have nothing against that token. All others are looked at by the call. */
function isContent(options, token) {
  if (typeof options !== "object" || options === null) return false;
  for (const name in options) {
    if (name !== "signal" && name !== "rejectedToken" && name !== "wasAccepted") return false;
  }
  const { signal, rejectedToken, wasAccepted } = options;
  return (
    (signal === undefined ||
      (typeof signal === "object" && signal?.aborted === false && typeof signal.addEventListener === "function")) &&
    (rejectedToken === undefined || (typeof rejectedToken === "string" && rejectedToken !== token)) &&
    (wasAccepted === undefined || typeof wasAccepted === "boolean")
  );
}

function find(config) {
  const known = byObject.get(config);
  if (known !== undefined && config.store === known.store?.deref() && known.content.isStillOf(config)) return known;
  if (latest !== undefined && isOf(latest, config)) return latest;
  for (let at = 0; at < byContent.length; at += 1) {
    if (isOf(byContent[at], config)) {
      latest = byContent[at];
      return latest;
    }
  }
  return undefined;
}

// JavaScript finds a member by its name even where native code does not: native code sees only members that can be
// listed. The account first: of several configs in turn it is what differs.
function isOf({ content, profile, storage, store }, config) {
  if (config.profile !== profile || config.storage !== storage || config.store !== store?.deref()) return false;
  return content.isOf(config);
}

let isFirst = true;

/** Looks into the file, on this thread. */
function look(config, known) {
  // The first token of a process waits for no file that only further ones need.
  const content = isFirst ? undefined : contentOf(config);
  isFirst = false;
  const copy = content === undefined ? config : content.copy;
  const image = imageFor("getValidAccessToken", copy);
  if (copy.store !== config.store || copy.storage !== config.storage) return undefined;
  const fresh = image.native?.freshToken(natively(image, copy)) ?? null;
  if (fresh === null) {
    // There is more to do, or a failure to report. The token handed out before is not kept.
    if (known !== undefined) byContent = byContent.filter((one) => one !== known);
    byObject.delete(config);
    latest = undefined;
    return undefined;
  }
  images.watchOver(image);
  const { token, bound, stamp, due } = fresh;
  const header = bound === true ? undefined : `Bearer ${token}`;
  const now = { token, header, promise: resolved(token), stamp, due };
  // Without a stamp, only reading the file shows whether the token is still the stored one.
  if (stamp === undefined || content === undefined) return now;
  // A getter may have answered differently by now: the token is that of what native code was given.
  if (known?.content.equals(content)) return Object.assign(known, now);
  content.copy = undefined;
  const { question, native } = image;
  const { storage } = copy;
  const store = copy.store === undefined ? undefined : new WeakRef(copy.store);
  const made = { content, profile: copy.profile, storage, store, question, native, isFresh: native.isFresh, ...now };
  if (byContent.length === FEW) byContent.shift();
  byContent.push(made);
  byObject.set(config, made);
  return made;
}

// A promise of the language, even if the global of that name was replaced.
async function resolved(value) {
  return value;
}

function authorizationHeaders(config, request, options) {
  if (!hasToken(config)) return storedAuthorization(config, request, options);
  return outside().fromOutside(
    config,
    options,
    () => storedAuthorization(config, request, options),
    (token) => ({ Authorization: `Bearer ${token}` }),
  );
}

function storedAuthorization(config, request, options) {
  const fresh = freshToken(config, options);
  if (fresh?.header !== undefined && isTaken(request)) return resolved({ Authorization: fresh.header });
  return authorized(config, request, options, fresh);
}

async function authorized(config, given, options, fresh) {
  const valid = (options) => tokenOf(start("getValidAccessToken", authorizationHeaders, config, options));
  if (fresh === undefined) await valid(options);
  const request = readOnce(given);
  for (let turn = 0; turn < 5; turn += 1) {
    // Signs for the token and the key as they are stored by now, together: another process may have logged in
    // meanwhile. Native code knows the token that was found fresh just now by its question.
    const isKnown = turn === 0 && fresh?.native !== undefined;
    const image = isKnown ? fresh : imageFor("authorizationHeaders", config);
    if (isKnown) ask(fresh);
    const signed = image.native.authorizationHeaders(isKnown ? undefined : natively(image, config), request, options);
    if (Array.isArray(signed)) {
      take(request);
      const [Authorization, DPoP] = signed;
      return DPoP === undefined ? { Authorization } : { Authorization, DPoP };
    }
    if (signed !== null) throw new errors.AuthError(signed);
    // The stored login is in a keychain or a database, and was not fetched yet.
    if (!isKnown) await valid(options && again(options));
  }
  throw new errors.AuthError(KEEPS_CHANGING);
}

/** What the same token is asked for with once more. */
function again({ signal, resource, scopes }) {
  return { signal, resource, scopes };
}

// Methods that native code has accepted, for later requests. Anything may come after the host.
const methods = new Set();
const hosts = new Set();
const MANY = 64;
const HOST = /^https?:\/\/[\w.:[\]-]+(?=[/?#]|$)/;
/** Without a character that takes more room in a URL than here. */
const PLAIN = /^[!#-;=?-~]{1,2048}$/;

function isTaken(request) {
  try {
    for (const name in request) {
      if (name !== "method" && name !== "url" && name !== "nonce") return false;
    }
    const { method, url, nonce } = request;
    const isKnown = methods.has(method) && hosts.has(HOST.exec(url)?.[0]) && PLAIN.test(url);
    return isKnown && (nonce === undefined || typeof nonce === "string");
  } catch {
    return false;
  }
}

/** Reads a request once: only values that native code has seen are remembered as valid. */
function readOnce(request) {
  if (typeof request !== "object" || request === null) return request;
  const { method, url, nonce } = request;
  const read = { method, url, nonce };
  for (const name in request) read[name] ??= request[name];
  return read;
}

function take({ method, url }) {
  const [host] = HOST.exec(url) ?? [];
  if (methods.size === MANY) methods.clear();
  if (hosts.size === MANY) hosts.clear();
  methods.add(method);
  if (host !== undefined) hosts.add(host);
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
  byObject = new WeakMap();
  byContent = [];
  latest = undefined;
  const { changed, letGo } = require("./lib/shared.js");
  letGo();
  await changed();
  return outcome;
}

function status(config) {
  return hasToken(config) ? outside().outsideStatus(config, () => storedStatus(config)) : storedStatus(config);
}

function storedStatus(config) {
  return atOnce("status", "statusAtOnce", config) ?? start("status", status, config);
}

let json;

/** Answers without a thread; undefined where the disk has to be read. */
function atOnce(name, look, config) {
  try {
    const image = imageFor(name, config);
    const said = image.native[look](natively(image, config));
    if (said === null) return undefined;
    images.watchOver(image);
    json ??= require("./lib/json.js");
    const status = json.read(said);
    // The plugin may know of a login.
    return typeof config?.adopt === "function" && status.state === "logged_out" ? undefined : resolved(status);
  } catch {
    // There is a failure to report.
    return undefined;
  }
}

function doctor(config, options) {
  const report = checked(start("doctor", doctor, config, options), config);
  if (typeof config?.store?.inspect !== "function") return report;
  givenStore ??= require("./lib/given-store.js");
  return givenStore.inspected(report, config.store);
}

/** The report, with what is looked into on this side. */
async function checked(report, config) {
  const found = await report;
  const more = [
    ...(hasToken(config) ? outside().outsideCheck(config) : []),
    ...(config.allowHttp === undefined ? [] : require("./lib/unencrypted.js").unencryptedChecks(config)),
  ];
  if (more.length === 0) return found;
  return { ...found, ok: found.ok && more.every(({ level }) => level !== "error"), checks: [...found.checks, ...more] };
}

function listProfiles(config) {
  return atOnce("listProfiles", "profilesAtOnce", config) ?? start("listProfiles", listProfiles, config);
}

function moveLogin(config, to) {
  return changing(start("moveLogin", moveLogin, config, undefined, to));
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
  moveLogin,
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
