"use strict";

const { parse } = JSON;

/** A value that native code gives as JSON; also where somebody has changed what reads that. */
function read(text) {
  try {
    return parse(text);
  } catch {
    return require("node:vm").runInThisContext(`(${text})`);
  }
}

module.exports = { read };
