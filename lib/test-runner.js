"use strict";

// Tests that replace `fetch` or node:http (msw, nock, a mock of the runner) do not reach what native code sends: the
// request went to the real network, and its failure says nothing of that.

const VARIABLES = ["VITEST", "JEST_WORKER_ID", "NODE_TEST_CONTEXT"];
const CODES = ["NETWORK", "TIMEOUT", "SERVER_ERROR", "INVALID_RESPONSE"];
const LOOPBACK = /^https?:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/?#]|$)/i;
const HINT =
  " This is a test, and mocks of fetch or http do not see the requests of clawdbot-plugin-auth: use the server of " +
  "clawdbot-plugin-auth/testing, or its loggedIn().";

/** The details of an error; under a test runner, where the server is a real one, with what may be the reason. */
function explained(details, config) {
  try {
    if (!CODES.includes(details.code) || !VARIABLES.some((name) => process.env[name] !== undefined)) return details;
    const { issuer, tokenEndpoint, deviceAuthorizationEndpoint, resource } = config;
    const servers = [issuer, tokenEndpoint, deviceAuthorizationEndpoint, resource].flat();
    const isReal = servers.some((url) => typeof url === "string" && !LOOPBACK.test(url));
    return isReal ? { ...details, message: details.message + HINT } : details;
  } catch {
    // A getter of the config, perhaps.
    return details;
  }
}

module.exports = { explained };
