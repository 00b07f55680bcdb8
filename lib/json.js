"use strict";

const { parse } = JSON;
const { isArray } = Array;

/** Parses a value that native code gives as JSON, even if the global JSON was changed. */
function read(text) {
  const value = parsed(text);
  if (isArray(value)) makeWhole(value);
  else if (isArray(value?.skipped)) value.skipped = withNames(value.skipped);
  return value;
}

function parsed(text) {
  try {
    return parse(text);
  } catch {
    return require("node:vm").runInThisContext(`(${text})`);
  }
}

/** In a list of statuses, an array has the members in which a status differs from the last one that is an object. */
function makeWhole(list) {
  let last;
  for (let at = 0; at < list.length; at += 1) {
    if (isArray(list[at])) list[at] = like(last, list[at]);
    else last = list[at];
  }
}

const STATES = ["expired", "login_required", "logged_out"];

/**
 * An account that was passed over is the array of its members; its state is a number. Those without a message have the
 * first of all, around their names.
 */
function withNames(skipped) {
  const { 0: before, 1: after } = skipped[0];
  const made = [];
  for (let at = 1; at < skipped.length; at += 1) {
    const { 0: profile, 1: state, 2: message = before + profile + after } = skipped[at];
    made[at - 1] = { profile, state: STATES[state], message };
  }
  return made;
}

function like(last, values) {
  const status = { ...last, profile: values[0], path: values[1] };
  if (last.scopes !== undefined) status.scopes = copied(last.scopes);
  if (last.missingScopes !== undefined) status.missingScopes = copied(last.missingScopes);
  if (last.expiresAt !== undefined) status.expiresAt += values[2];
  if (last.loginEndsAt !== undefined) status.loginEndsAt += values[3];
  if (last.createdAt !== undefined) status.createdAt += values[4];
  if (last.refreshedAt !== undefined) status.refreshedAt += values[5];
  return status;
}

function copied(texts) {
  const copy = [];
  for (let at = 0; at < texts.length; at += 1) copy[at] = texts[at];
  return copy;
}

module.exports = { read };
