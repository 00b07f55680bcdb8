"use strict";

const fs = require("node:fs");

const native = load();
const { isFresh } = native;

// What isFresh is asked: stamp and due. Arguments would cost it more than the answer.
const question = new Float64Array(2);
native.askThrough(question);

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
const remembered = new WeakMap();

function getValidAccessToken(config, options) {
  if (options === undefined) {
    const last = remembered.get(config);
    if (
      last !== undefined &&
      last.pluginId === config.pluginId &&
      last.profile === config.profile &&
      last.stateDir === config.stateDir &&
      last.credentialsPath === config.credentialsPath &&
      last.issuer === config.issuer &&
      last.tokenEndpoint === config.tokenEndpoint &&
      last.clientId === config.clientId &&
      last.refreshBufferMs === config.refreshBufferMs
    ) {
      question[0] = last.stamp;
      question[1] = last.due;
      if (isFresh()) return last.promise;
    }
    const fresh = native.freshToken(config);
    if (fresh !== null) return remember(config, fresh);
  }
  return start("getValidAccessToken", getValidAccessToken, config, options).then((fresh) => fresh.token);
}

function remember(config, { token, stamp, due }) {
  const promise = Promise.resolve(token);
  // Without a stamp only reading the file tells whether it still is the stored one.
  if (stamp === undefined) return promise;
  const { pluginId, profile, stateDir, credentialsPath, issuer, tokenEndpoint, clientId, refreshBufferMs } = config;
  remembered.set(config, {
    pluginId,
    profile,
    stateDir,
    credentialsPath,
    issuer,
    tokenEndpoint,
    clientId,
    refreshBufferMs,
    stamp,
    due,
    promise,
  });
  return promise;
}

function login(config, options) {
  return start("login", login, config, options);
}

function authorizeDevice(config, options) {
  return start("authorizeDevice", authorizeDevice, config, options);
}

function logout(config, options) {
  return start("logout", logout, config, options);
}

function status(config) {
  return start("status", status, config);
}

function listProfiles(config) {
  return start("listProfiles", listProfiles, config);
}

function refreshTokens(config, refreshToken, options) {
  return start("refreshTokens", refreshTokens, config, options, refreshToken);
}

// Runs a native call: its events become callbacks, its outcome settles the promise, the signal cancels it.
function start(name, caller, config, options, argument) {
  bringCertificates();
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

    const signal = options?.signal;
    if (signal?.aborted === true) {
      reject(aborted());
      return;
    }
    let settled = false;
    const settle = (how, value) => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener?.("abort", onAbort);
      how(value);
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
    const operation = native[name](
      config,
      options,
      (kind, payload) => {
        if (kind === "resolved") settle(resolve, payload);
        else if (kind === "rejected") settle(reject, failure(payload));
        else if (settled) return;
        else if (kind === "progress") tolerate(() => options.onProgress?.(payload));
        else {
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
let broughtCertificates = false;
function bringCertificates() {
  if (broughtCertificates) return;
  broughtCertificates = true;
  if (native.mayLackCertificates()) native.bringCertificates(require("node:tls").rootCertificates.join("\n"));
}

const ABORTED = { code: "ABORTED", message: "The operation was aborted.", retryable: false, needsLogin: false };

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

function load() {
  const { platform, arch } = process;
  const abis = { linux: ["gnu", "musl"], darwin: [undefined], win32: ["msvc"] }[platform] ?? [];
  const failures = new Map();
  for (const abi of abis) {
    const triple = abi === undefined ? `${platform}-${arch}` : `${platform}-${arch}-${abi}`;
    // In a checkout it lies beside this file. Looking costs less than a require that fails.
    const built = `${__dirname}/clawdbot-plugin-auth.${triple}.node`;
    const path = fs.existsSync(built) ? built : `clawdbot-plugin-auth-${triple}`;
    try {
      if (platform === "linux") checkWhole(require.resolve(path));
      return require(path);
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") failures.set(abi, error.message.replace(/\s+/g, " "));
    }
  }
  throw new Error(unloadable(abis, failures));
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

function unloadable(abis, failures) {
  const { platform, arch } = process;
  const { name, version } = require("./package.json");
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
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  logout,
  refreshTokens,
  status,
};
