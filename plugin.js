"use strict";

// First, so that where nothing works, this says why.
require("./index.js");

module.exports = require("./dist/index.js");
