"use strict";

// A config as the addon takes it: without what is done on this side, and with a number for the plugin's store.
let givenStore;

function nativeConfig(image, config) {
  if (config === undefined || config === null) return config;
  let given = config;
  if (typeof config.adopt === "function") {
    // A function is asked by adoption.js.
    const { adopt: _, ...rest } = config;
    given = rest;
  }
  if (given.store === undefined) return given;
  givenStore ??= require("./given-store.js");
  return givenStore.numbered(image, given);
}

module.exports = { nativeConfig };
