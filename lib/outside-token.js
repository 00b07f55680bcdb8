"use strict";

// A token that comes from elsewhere: `token` in the config. It is used before the stored login, or behind it.
const { AuthError } = require("./auth-error.js");
const { now } = require("./shared.js");

const invalid = (message) => new AuthError({ code: "INVALID_CONFIG", message, retryable: false, needsLogin: false });

const MEMBERS = { env: "string", value: "string", behindLogin: "boolean" };

/** The present token from outside, with its source; undefined where there is none. */
function outsideToken({ token: given }) {
  if (typeof given !== "object" || given === null) {
    throw invalid('`token` must be an object such as { env: "MY_SERVICE_TOKEN" }.');
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(MEMBERS, name)) {
      throw invalid("`token` has a member that it does not know: it takes `env`, `value` and `behindLogin`.");
    }
    const type = MEMBERS[name] === "string" ? "a string" : "true or false";
    if (typeof value !== MEMBERS[name]) throw invalid(`\`token.${name}\` must be ${type}.`);
  }
  const { env, value, behindLogin: isBehind = false } = given;
  const inEnvironment = env === undefined ? undefined : process.env[env]?.trim();
  const token = inEnvironment || value?.trim();
  if (!token) return undefined;
  const source = inEnvironment ? "env" : "config";
  const what = inEnvironment ? `the environment variable ${env}` : "the configuration";
  // RFC 6749 appendix A.12: access-token = 1*VSCHAR. Anything else comes from copying.
  if (!/^[!-~]+$/.test(token)) throw invalid(`The token of ${what} holds spaces or control characters: copy it again.`);
  return { token, source, what, isBehind };
}

/** A login that cannot be used, for any reason: then the next source of a token is used. */
const isUnusable = (error) => error instanceof AuthError && error.needsLogin;

/** `own` gives what the stored login has; `as` makes the same of a token. */
async function fromOutside(config, options, own, as) {
  const outside = outsideToken(config);
  if (outside === undefined) return own();
  const isRejected = options?.rejectedToken === outside.token;
  if (!outside.isBehind) {
    if (isRejected) throw refused(outside);
    return as(outside.token);
  }
  try {
    return await own();
  } catch (error) {
    if (!isUnusable(error)) throw error;
    if (isRejected) throw refused(outside);
    return as(outside.token);
  }
}

function refused({ what, isBehind }) {
  const login = isBehind ? ", or log in" : ", or remove it to use the stored login";
  return invalid(`The service has refused the token of ${what}: set another${login}.`);
}

/** The status, and where the token comes from. */
async function outsideStatus(config, own) {
  const outside = outsideToken(config);
  const found = await own();
  const isLogin = found.state === "valid" || found.state === "expiring";
  if (outside === undefined || (outside.isBehind && isLogin)) {
    return found.state === "logged_out" ? found : { ...found, source: "login" };
  }
  const { profile, path } = found;
  const expiresAt = endOf(outside.token);
  const state = expiresAt !== undefined && expiresAt <= now() ? "expired" : "valid";
  const end = expiresAt === undefined ? {} : { expiresAt };
  return { state, profile, path, ...end, refreshable: false, source: outside.source };
}

/** RFC 7519 section 4.1.4 `exp`, as a hint; nothing where the token does not say. */
function endOf(token) {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
    return Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

/** The doctor's check of the outside token. */
function outsideCheck(config) {
  const outside = outsideToken(config);
  if (outside === undefined) return [];
  const place = outside.isBehind ? "is used where the login cannot be" : "goes before the stored login";
  const end = endOf(outside.token);
  const message = `A token from ${outside.what} ${place}.`;
  if (end === undefined || end > now()) return [{ name: "token", level: "ok", message }];
  const fix = "Set another, or remove it.";
  return [{ name: "token", level: "error", message: `${message} It has ended.`, fix }];
}

module.exports = { fromOutside, outsideCheck, outsideStatus };
