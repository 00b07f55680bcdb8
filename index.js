"use strict";

const fs = require("node:fs");

// What isFresh is asked: stamp and due. Arguments would cost it more than the answer.
const question = new Float64Array(2);

const native = asked(load("clawdbot-plugin-auth"));

const BRAND = Symbol.for("clawdbot-plugin-auth.AuthError");

class AuthError extends Error {
  constructor(details, options) {
    super(details.message, options);
    for (const name of Object.keys(details)) {
      if (name !== "message" && details[name] !== undefined) this[name] = details[name];
    }
  }

  // Hosts load several copies of a package into one process: what one copy rejects with, another recognizes.
  static [Symbol.hasInstance](value) {
    if (this !== AuthError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && value[BRAND] === true;
  }
}
Object.defineProperty(AuthError.prototype, "name", { value: "AuthError", writable: true, configurable: true });
Object.defineProperty(AuthError.prototype, BRAND, { value: true });

// What the last fresh token of a config was, and what it depends on.
let remembered = new WeakMap();

function getValidAccessToken(config, options) {
  if (options === undefined) {
    const last = remembered.get(config);
    if (
      last !== undefined &&
      last.pluginId === config.pluginId &&
      last.profile === config.profile &&
      last.order === config.order &&
      last.stateDir === config.stateDir &&
      last.credentialsPath === config.credentialsPath &&
      last.credentialsFormat === config.credentialsFormat &&
      last.agentId === config.agentId &&
      last.profileId === config.profileId &&
      last.store === config.store &&
      last.issuer === config.issuer &&
      last.tokenEndpoint === config.tokenEndpoint &&
      last.clientId === config.clientId &&
      last.refreshBufferMs === config.refreshBufferMs &&
      last.storage === config.storage
    ) {
      question[0] = last.stamp;
      question[1] = last.due;
      if (last.isFresh()) return last.promise;
    }
    const build = buildFor("getValidAccessToken", config);
    const fresh = build?.freshToken(numbered(config)) ?? null;
    if (fresh !== null) return remember(config, build, fresh);
  }
  return start("getValidAccessToken", getValidAccessToken, config, options).then((fresh) => fresh.token);
}

function remember(config, { isFresh }, { token, stamp, due }) {
  const promise = Promise.resolve(token);
  // Without a stamp only reading the file tells whether it still is the stored one.
  if (stamp === undefined) return promise;
  const {
    pluginId,
    profile,
    order,
    stateDir,
    credentialsPath,
    credentialsFormat,
    agentId,
    profileId,
    store,
    issuer,
    tokenEndpoint,
    clientId,
    refreshBufferMs,
    storage,
  } = config;
  remembered.set(config, {
    pluginId,
    profile,
    order,
    stateDir,
    credentialsPath,
    credentialsFormat,
    agentId,
    profileId,
    store,
    issuer,
    tokenEndpoint,
    clientId,
    refreshBufferMs,
    storage,
    isFresh,
    stamp,
    due,
    promise,
  });
  return promise;
}

async function authorizationHeaders(config, request, options) {
  await getValidAccessToken(config, options);
  for (let turn = 0; turn < 4; turn += 1) {
    // Signs for the token and the key that are stored by now, together: another process may have logged in meanwhile.
    const signed = buildFor("authorizationHeaders", config).authorizationHeaders(numbered(config), request);
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

function login(config, options) {
  return start("login", login, config, options).then(anew);
}

function authorizeDevice(config, options) {
  return start("authorizeDevice", authorizeDevice, config, options);
}

function logout(config, options) {
  return start("logout", logout, config, options).then(anew);
}

function importToken(config, token) {
  return start("importToken", importToken, config, undefined, token).then(anew);
}

function profileOrder(config, order) {
  return start("profileOrder", profileOrder, config, undefined, order).then(anew);
}

// Another account of an order may be the preferred one now. Of other processes it is noticed within a second.
function anew(outcome) {
  remembered = new WeakMap();
  return outcome;
}

function status(config) {
  return start("status", status, config);
}

function doctor(config, options) {
  return start("doctor", doctor, config, options);
}

function listProfiles(config) {
  return start("listProfiles", listProfiles, config);
}

function refreshTokens(config, refreshToken, options) {
  return start("refreshTokens", refreshTokens, config, options, refreshToken);
}

// Runs a native call: its events become callbacks, its outcome settles the promise, the signal cancels it.
function start(name, caller, config, options, argument) {
  return new Promise((resolve, reject) => {
    const origin = {};
    Error.captureStackTrace(origin, caller);
    const failure = (details, cause) => {
      const error = new AuthError(details, cause);
      // Made on a native callback, it would have no frame of the caller's.
      error.stack = `${error.name}: ${error.message}\n${origin.stack.split("\n").slice(1).join("\n")}`;
      return error;
    };
    const aborted = () => failure(ABORTED, { cause: signal.reason });

    const build = buildFor(name, config);
    if (build === undefined) {
      reject(failure(keychainBuild.failure));
      return;
    }
    bringCertificates(build);
    saveBeforeExit(build);
    const signal = options?.signal;
    if (signal?.aborted === true) {
      reject(aborted());
      return;
    }
    // The question that the person is asked, if there is one.
    let asking;
    let settled = false;
    const settle = (how, value) => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener?.("abort", onAbort);
      asking?.abort();
      how(value);
    };
    const ask = async ({ detail: message }) => {
      asking = new AbortController();
      const { signal } = asking;
      try {
        const text = await options.onPaste({ message, signal });
        if (!signal.aborted) operation.paste(typeof text === "string" ? text : "");
      } catch (error) {
        if (!signal.aborted) end(error);
      }
    };
    const onAbort = () => {
      // Too late when the outcome stands already: then it is what the caller gets.
      if (operation.cancel()) settle(reject, aborted());
    };
    // What the caller's own callback throws ends the call and passes unchanged.
    const end = (error) => {
      if (settled) return;
      operation.cancel();
      settle(reject, error);
    };
    const operation = build[name](
      numbered(config),
      options,
      (kind, payload) => {
        if (kind === "resolved") settle(resolve, payload);
        else if (kind === "rejected") settle(reject, failure(payload));
        else if (settled) return;
        else if (kind === "paste") ask(payload);
        else if (kind === "progress") {
          // The browser has come back by itself, or what was pasted is right.
          if (payload.type === "approved") asking?.abort();
          tolerate(() => options.onProgress?.(payload));
        } else {
          attempt(() => options.onVerification(payload), end);
          tolerate(() => options.openUrl?.(payload.verificationUriComplete ?? payload.verificationUri));
        }
      },
      argument,
    );
    signal?.addEventListener?.("abort", onAbort, { once: true });
  });
}

// Slim containers have no certificates of their own, but Node brings Mozilla's.
const haveCertificates = new Set();
function bringCertificates(build) {
  if (haveCertificates.has(build)) return;
  haveCertificates.add(build);
  if (build.mayLackCertificates()) build.bringCertificates(require("node:tls").rootCertificates.join("\n"));
}

// Node runs no clean-up hook of an addon at process.exit or an uncaught exception, except in workers. What was sent waits
// there for its answer, and an answer for the disk; nothing waits where nothing was sent.
const savedBeforeExit = new Set();
function saveBeforeExit(build) {
  if (savedBeforeExit.has(build)) return;
  savedBeforeExit.add(build);
  if (require("node:worker_threads").isMainThread) process.on("exit", () => build.leave(5_000));
}

const KEEPS_CHANGING = {
  code: "STORE_LOCKED",
  message: "The login keeps changing while a request is signed with it. Try again.",
  retryable: true,
  needsLogin: false,
};
const ABORTED = { code: "ABORTED", message: "The operation was aborted.", retryable: false, needsLogin: false };

// The addon knows a plugin's store by its number, and asks its functions through this file.
const numbers = new WeakMap();

function numbered(config) {
  const store = config?.store;
  if (store === undefined) return config;
  const isOne =
    typeof store === "object" &&
    store !== null &&
    ["read", "write", "withLock"].every((name) => typeof store[name] === "function");
  // What is none the addon refuses, with the right words.
  if (!isOne) return { ...config, store: null };
  if (!numbers.has(store)) numbers.set(store, give(store));
  return { ...config, store: numbers.get(store) };
}

function give(store) {
  const locks = new Map();
  const number = native.giveStore((what, [request, key, value, expected]) => {
    const id = Number(request);
    const answer = (...parts) => native.answerStore(number, id, parts);
    // Not its words: they may hold the password of a database.
    const failed = (error) => answer("failed", /^[\w.-]{1,40}$/.exec(error?.code ?? error?.name)?.[0] ?? "Error");
    const settle = async (ask, answered) => {
      try {
        answered(await ask());
      } catch (error) {
        failed(error);
      }
    };
    if (what === "read") {
      settle(
        () => store.read(key),
        (kept) => {
          const { value, version } = kept ?? {};
          const isValue = typeof value === "string" && typeof version === "string";
          if (kept === undefined || kept === null) answer("nothing");
          else if (isValue) answer("value", value, version);
          else answer("malformed");
        },
      );
    } else if (what === "write") {
      settle(
        () => store.write(key, value, expected),
        (version) => {
          if (version === undefined || version === null) answer("nothing");
          else if (typeof version === "string") answer("version", version);
          else answer("malformed");
        },
      );
    } else if (what === "lock") lock(id, key, answer, settle);
    else locks.get(id)?.letGo();
  });

  // One that is asked for again is waited for a little longer.
  function lock(id, key, answer, settle) {
    if (locks.has(id)) {
      locks.get(id).waitOn();
      return;
    }
    const controller = new AbortController();
    let timer;
    const waitOn = () => {
      clearTimeout(timer);
      timer = setTimeout(letGo, 5_000);
      timer.unref?.();
    };
    const letGo = () => controller.abort();
    locks.set(id, { waitOn, letGo });
    waitOn();
    const work = () =>
      new Promise((resolve) => {
        clearTimeout(timer);
        locks.set(id, { waitOn: () => {}, letGo: resolve });
        answer("granted");
      });
    settle(
      () =>
        Promise.resolve(store.withLock(key, work, { signal: controller.signal })).finally(() => {
          clearTimeout(timer);
          locks.delete(id);
        }),
      () => answer("ended"),
    );
  }

  return number;
}

// Calls what may throw or reject.
function attempt(callback, failed) {
  try {
    Promise.resolve(callback()).catch(failed);
  } catch (error) {
    failed(error);
  }
}

// Calls what must not end a login, and does not hide that it failed.
function tolerate(callback) {
  attempt(callback, (error) => {
    process.emitWarning(`A callback of clawdbot-plugin-auth failed: ${error?.message ?? error}`, "AuthWarning");
  });
}

// The build that a call goes to; undefined where `storage` wants the keychain and nothing here can reach it.
function buildFor(name, config) {
  const storage = config?.storage;
  if (storage === undefined || config.store !== undefined) return native;
  const isChange = name === "login" || name === "logout" || name === "importToken";
  // With "file" as well: what takes the place of a login in the keychain, or ends it, removes its secrets there.
  const isWanted = storage === "keychain" || storage === "auto" || (storage === "file" && isChange);
  if (!isWanted || name === "authorizeDevice" || name === "refreshTokens") return native;
  keychainBuild ??= loadKeychainBuild();
  if (keychainBuild.native !== undefined) return keychainBuild.native;
  // A login that is not to be changed is described without the keychain; and with "auto" there need not be one.
  const isReading = ["status", "listProfiles", "doctor", "profileOrder"].includes(name);
  const isOptional = isReading || storage === "file" || (storage === "auto" && keychainBuild.isMissing);
  return isOptional ? native : undefined;
}

// What knows the system's keychain is a package of its own, for its size: loaded when a config first asks for it.
let keychainBuild;

function loadKeychainBuild() {
  const name = "clawdbot-plugin-auth-keychain";
  try {
    return { native: asked(load(name)) };
  } catch (error) {
    const message =
      `\`storage: "keychain"\` takes the package ${name}: add it beside clawdbot-plugin-auth, in the same version. ` +
      error.message;
    const failure = { code: "INVALID_CONFIG", message, retryable: false, needsLogin: false };
    return { failure, isMissing: error.isMissing };
  }
}

function asked(build) {
  build.askThrough(question);
  return build;
}

// Package managers that hoist nothing let only a package itself see what it depends on.
function resolve(name, triple) {
  if (name === "clawdbot-plugin-auth") return require.resolve(`${name}-${triple}`);
  const { version, resolve: resolveBinary } = require(name);
  const own = require("./package.json").version;
  if (version !== own) throw new Error(`version ${version} is installed, and ${own} is needed`);
  return resolveBinary(triple);
}

function load(name) {
  const { platform, arch } = process;
  const abis = { linux: ["gnu", "musl"], darwin: [undefined], win32: ["msvc"] }[platform] ?? [];
  const failures = new Map();
  for (const abi of abis) {
    const triple = abi === undefined ? `${platform}-${arch}` : `${platform}-${arch}-${abi}`;
    // In a checkout it lies beside this file. Looking costs less than a require that fails.
    const built = `${__dirname}/${name}.${triple}.node`;
    try {
      const path = fs.existsSync(built) ? built : resolve(name, triple);
      if (platform === "linux") checkWhole(path);
      return require(path);
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") failures.set(abi, error.message.replace(/\s+/g, " "));
    }
  }
  throw Object.assign(new Error(unloadable(name, abis, failures)), { isMissing: failures.size === 0 });
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

function unloadable(name, abis, failures) {
  const { platform, arch } = process;
  const { version } = require("./package.json");
  if (abis.length === 0 || !["x64", "arm64"].includes(arch)) {
    return (
      `${name} has no working binary for ${platform} ${arch}: there are binaries for Linux, macOS and Windows on x64 ` +
      "and arm64. With Rust installed, it can be built in a checkout with `npm run build`."
    );
  }
  let abi = abis[0];
  if (platform === "linux") {
    process.report.excludeNetwork = true;
    abi = process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu";
  }
  const wanted = [name, platform, arch, abi].filter(Boolean).join("-");
  const reasons = failures.has(abi)
    ? [`its binary does not load (${failures.get(abi)})`]
    : [`the package ${wanted} is missing`];
  for (const [other, failure] of failures) {
    if (other !== abi) reasons.push(`the one for ${other}, which is there, does not load (${failure})`);
  }
  return (
    `${name} has no working binary for ${[platform, arch, abi].filter(Boolean).join(" ")}: ${reasons.join("; ")}. ` +
    `Install ${name} again, on the machine that runs it and without --omit=optional; where a lockfile from another ` +
    `machine leaves the package out, add ${wanted}@${version}. In a checkout run \`npm run build\`.`
  );
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
