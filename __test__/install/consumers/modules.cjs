// The code of a user with CommonJS: every way into the package gives the same functions.
"use strict";

const assert = require("node:assert/strict");
const required = require("clawdbot-plugin-auth");

async function main() {
  const imported = await import("clawdbot-plugin-auth");
  const names = Object.keys(required).sort();
  assert.ok(names.includes("getValidAccessToken"));
  assert.deepEqual(
    Object.keys(imported)
      .filter((name) => name !== "default" && name !== "module.exports")
      .sort(),
    names,
  );
  for (const name of names) assert.equal(imported[name], required[name], name);
  const answer = await required.status({
    pluginId: "consumer",
    issuer: "https://auth.example.com",
    stateDir: __dirname,
  });
  assert.equal(answer.state, "logged_out");
  await assert.rejects(
    required.getValidAccessToken({ pluginId: "consumer", issuer: "https://auth.example.com", stateDir: __dirname }),
    (error) => error instanceof required.AuthError && error.code === "LOGIN_REQUIRED",
  );
}

main();
