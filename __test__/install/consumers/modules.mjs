// The code of a user with ES modules.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import auth, { AuthError, getValidAccessToken, status } from "clawdbot-plugin-auth";

const config = {
  pluginId: "consumer",
  issuer: "https://auth.example.com",
  stateDir: fileURLToPath(new URL(".", import.meta.url)),
};
assert.equal(auth.status, status);
assert.equal((await status(config)).state, "logged_out");
await assert.rejects(getValidAccessToken(config), (error) => error instanceof AuthError && error.needsLogin);
