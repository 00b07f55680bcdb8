"use strict";

// A native call: its events become callbacks, its outcome settles the promise, the signal cancels it.
const { AuthError } = require("./auth-error.js");
const { release, use } = require("./given-store.js");
const { imageFor, watchOver } = require("./images.js");
const { read } = require("./json.js");
const { nativeConfig } = require("./native-config.js");
const { saveBeforeExit } = require("./shared.js");
// With this file: one that is loaded after a host has replaced the package would bring its copy back into the cache of
// modules.
const { explained } = require("./test-runner.js");

const ABORTED = { code: "ABORTED", message: "The operation was aborted.", retryable: false, needsLogin: false };

// The language's own Promise, even if the global of that name was replaced.
const LanguagePromise = (async () => {})().constructor;

function start(name, caller, config, options, argument) {
  return new LanguagePromise((resolve, reject) => {
    const origin = {};
    // Where these functions were removed, the error lacks the caller's frames.
    tolerate(() => Error.captureStackTrace(origin, caller), ignore);
    const failure = (details, cause) => withStackOf(origin, new AuthError(explained(details, config), cause));
    const aborted = () => failure(ABORTED, { cause: signal.reason });

    const image = imageFor(name, config);
    if (image.failure !== undefined) {
      reject(failure(image.failure));
      return;
    }
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
      how(value);
      tolerate(() => signal?.removeEventListener?.("abort", onAbort), ignore);
      tolerate(() => asking?.abort(), ignore);
      watchOver(image);
      release(image, config);
    };
    const ask = async ({ detail: message }) => {
      asking = new AbortController();
      const { signal } = asking;
      let text;
      try {
        text = await options.onPaste({ message, signal });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
      if (!signal.aborted) operation.paste(typeof text === "string" ? text : "");
    };
    const onAbort = () => {
      // If the outcome is decided already, the caller gets it.
      if (operation.cancel()) settle(reject, aborted());
    };
    // An error of the caller's own callback ends the call and passes unchanged.
    const end = (error) => {
      if (settled) return;
      operation.cancel();
      settle(reject, error);
    };
    const hear = (kind, payload) => {
      if (kind === "resolved") settle(resolve, typeof payload === "string" ? read(payload) : payload);
      else if (kind === "rejected") settle(reject, failure(payload));
      else if (settled) return;
      else if (kind === "paste") attempt(() => ask(payload), end);
      else if (kind === "progress") {
        // The browser has come back by itself, or what was pasted is right.
        if (payload.type === "approved") tolerate(() => asking?.abort(), ignore);
        attempt(() => options.onProgress?.(payload), warn);
      } else {
        attempt(() => options.onVerification(payload), end);
        attempt(() => options.openUrl?.(payload.verificationUriComplete ?? payload.verificationUri), warn);
      }
    };
    // Native code calls this: nobody could catch what it throws, and the process would end.
    const listener = (kind, payload) => tolerate(() => hear(kind, payload), end);
    // A call for a fresh token sends nothing: no exit has to wait for it, and it needs no certificates.
    saveBeforeExit();
    bringCertificates(image);
    const operation = image.native[name](nativeConfig(image, config), options, listener, argument);
    use(config);
    signal?.addEventListener?.("abort", onAbort, { once: true });
  });
}

/** Slim containers have no certificates of their own, but Node brings Mozilla's. */
function bringCertificates(image) {
  if (image.isPrepared) return;
  image.isPrepared = true;
  const { native } = image;
  if (native.mayLackCertificates()) native.bringCertificates(require("node:tls").rootCertificates.join("\n"));
}

/** An error that is made in a native callback has no frame of the caller's: it gets those of the call. */
function withStackOf(origin, error) {
  tolerate(() => {
    const { stack } = origin;
    // Others may have made it something else than text, an array of call sites perhaps, or nothing.
    if (typeof stack === "string") {
      const frames = stack.indexOf("\n");
      error.stack = `${error.name}: ${error.message}${frames === -1 ? "" : stack.slice(frames)}`;
    } else if (stack !== undefined) error.stack = stack;
  }, ignore);
  return error;
}

/** Calls what may throw or reject. Does neither itself. */
async function attempt(callback, failed) {
  try {
    await callback();
  } catch (error) {
    tolerate(() => failed(error), ignore);
  }
}

/** Calls what may throw. Does not itself. */
function tolerate(callback, failed) {
  try {
    callback();
  } catch (error) {
    if (failed !== ignore) tolerate(() => failed(error), ignore);
  }
}

function ignore() {}

// Reports a failure that must not end a login.
function warn(error) {
  let what = "it threw what has no text";
  tolerate(() => {
    what = `${error?.message ?? error}`;
  }, ignore);
  process.emitWarning(`A callback of clawdbot-plugin-auth failed: ${what}`, "AuthWarning");
}

module.exports = { start };
