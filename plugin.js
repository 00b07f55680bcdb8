"use strict";

// "clawdbot-plugin-auth/plugin" for those who load the package by its path instead of its name.
module.exports = require("./dist/index.js");
