"use strict";

const { name, version } = require("./package.json");

// Package managers that hoist nothing let only this package see its binaries.
module.exports = { version, resolve: (platform) => require.resolve(`${name}-${platform}`) };
