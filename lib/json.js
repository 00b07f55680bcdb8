"use strict";

const { parse } = JSON;
const { isArray } = Array;

/** Parses a value that native code gives as JSON, even if the global JSON was changed. */
function read(text) {
  const value = parsed(text);
  if (isArray(value)) makeWhole(value);
  else if (isArray(value?.skipped)) nameMembers(value.skipped);
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
 * An account that was passed over is the array of its members; its state is a number. Without a message it has the last
 * one, for its own name.
 */
function nameMembers(skipped) {
  let before;
  let after;
  for (let at = 0; at < skipped.length; at += 1) {
    let { 0: profile, 1: state, 2: message } = skipped[at];
    if (message === undefined) message = before + profile + after;
    else {
      const name = message.lastIndexOf(profile);
      if (name !== -1) {
        before = message.slice(0, name);
        after = message.slice(name + profile.length);
      }
    }
    skipped[at] = { profile, state: STATES[state], message };
  }
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
