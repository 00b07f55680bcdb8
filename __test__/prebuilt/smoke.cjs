// Does the binary work on this very platform? Loads the package, asks for a status, logs in over http and https at a
// server in this process. Plain CommonJS without dependencies: it runs on any Node, under an emulator and in a bare
// container.
//
//   NODE_EXTRA_CA_CERTS=__test__/fixtures/tls/authority.pem node __test__/prebuilt/smoke.cjs <folder of the package>
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const os = require("node:os");
const path = require("node:path");

const { AuthError, getValidAccessToken, login, logout, status } = require(path.resolve(process.argv[2]));
/** Wine cannot say whether a certificate is trusted. */
const withHttps = process.argv[3] !== "--without-https";
const tls = path.join(__dirname, "..", "fixtures", "tls");

async function main() {
  const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), "smoke-"));
  try {
    const before = await status({ pluginId: "smoke", issuer: "https://auth.example.com", stateDir });
    assert.equal(before.state, "logged_out");
    await logsIn("http", http.createServer(), stateDir);
    const identity = {
      key: fs.readFileSync(path.join(tls, "server.key")),
      cert: fs.readFileSync(path.join(tls, "server.pem")),
    };
    if (withHttps) await logsIn("https", https.createServer(identity), stateDir);
  } finally {
    fs.rmSync(stateDir, { recursive: true });
  }
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = process.platform === "linux" ? `, ${glibcVersionRuntime ? `glibc ${glibcVersionRuntime}` : "musl"}` : "";
  console.log(
    `works: ${process.platform} ${process.arch}${libc}, Node ${process.version}: status, login over http${withHttps ? " and https" : ""}`,
  );
}

async function logsIn(scheme, server, stateDir) {
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const issuer = `${scheme}://localhost:${server.address().port}`;
  let polls = 0;
  const answers = {
    "/.well-known/oauth-authorization-server": () => ({
      issuer,
      device_authorization_endpoint: `${issuer}/device_authorization`,
      token_endpoint: `${issuer}/token`,
      revocation_endpoint: `${issuer}/revocation`,
    }),
    "/device_authorization": () => ({
      device_code: "device-code",
      user_code: "WDJB-MJHT",
      verification_uri: `${issuer}/device`,
      expires_in: 60,
      interval: 1,
    }),
    "/token": () => {
      polls += 1;
      return polls === 1
        ? { error: "authorization_pending" }
        : { access_token: `token-${scheme}`, token_type: "Bearer", expires_in: 3600, refresh_token: "refresh-token" };
    },
    "/revocation": () => ({}),
  };
  server.on("request", (request, response) => {
    request.resume().on("end", () => {
      const body = answers[request.url.split("?")[0]]?.();
      response.writeHead(body === undefined ? 404 : body.error ? 400 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(body ?? {}));
    });
  });
  const config = { pluginId: "smoke", profile: scheme, issuer, clientId: "smoke", stateDir };
  const shown = [];
  const loggedIn = await login(config, { onVerification: (verification) => shown.push(verification.userCode) });
  assert.equal(loggedIn.state, "valid");
  assert.deepEqual(shown, ["WDJB-MJHT"]);
  assert.equal(polls, 2);
  assert.equal(await getValidAccessToken(config), `token-${scheme}`);
  assert.deepEqual(await logout(config), { revoked: true, removed: true });
  await assert.rejects(
    getValidAccessToken(config),
    (error) => error instanceof AuthError && error.code === "LOGIN_REQUIRED",
  );
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
}

main();
