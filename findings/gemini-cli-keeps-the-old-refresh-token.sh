#!/usr/bin/env bash
# Gemini CLI keeps the old refresh token when the server gives a new one.
#
# Run: @google/gemini-cli 0.61.0, `gemini -p hi` with a login whose access token has ended. A proxy on loopback (certificates of
# @peculiar/x509 2.2.0, known through NODE_EXTRA_CA_CERTS) plays the token endpoint and answers with a new access token and a new refresh
# token. Output: `~/.gemini/oauth_creds.json` has the new access token and the old refresh token.
#
# For a user: Google does not rotate, so nothing is lost there. Where something between answers with a rotated token, the second refresh
# fails, and a program that shares this file must not take the refresh token in it for the newest.
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . @google/gemini-cli@0.61.0 @peculiar/x509@2.2.0 reflect-metadata@0.2.2
mkdir -p home/.gemini

cat > server.mjs <<'JS'
import "reflect-metadata";
import { webcrypto as crypto } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createSecureContext, TLSSocket } from "node:tls";
import * as x509 from "@peculiar/x509";
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const times = { notBefore: new Date(Date.now() - 3.6e6), notAfter: new Date(Date.now() + 3.6e6), signingAlgorithm: algorithm };
const pair = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
const keys = await pair();
const authority = await x509.X509CertificateGenerator.createSelfSigned(
  { serialNumber: "01", name: "CN=loopback", keys, ...times, extensions: [new x509.BasicConstraintsExtension(true, 0, true)] }, crypto);
writeFileSync("ca.pem", authority.toString("pem"));
const certified = async (host) => {
  const own = await pair();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: "02", subject: `CN=${host}`, issuer: authority.subject, publicKey: own.publicKey, signingKey: keys.privateKey, ...times,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: host }])],
  }, crypto);
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", own.privateKey)).toString("base64").replace(/.{64}/g, "$&\n");
  return { cert: certificate.toString("pem"), key: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n` };
};
const service = createServer((request, response) => {
  request.resume().on("end", () => {
    const isToken = request.url === "/token";
    response.writeHead(isToken ? 200 : 400, { "content-type": "application/json" });
    response.end(JSON.stringify(isToken
      ? { access_token: "new-access", refresh_token: "new-refresh", expires_in: 3600, token_type: "Bearer", scope: "openid" }
      : { error: "not here" }));
  });
});
createServer().on("connect", async (request, socket) => {
  socket.on("error", () => {});
  const secureContext = createSecureContext(await certified(request.url.replace(/:\d+$/, "")));
  socket.write("HTTP/1.1 200 OK\r\n\r\n");
  service.emit("connection", new TLSSocket(socket, { isServer: true, secureContext }).on("error", () => {}));
}).listen(0, "127.0.0.1", function () { writeFileSync("port", String(this.address().port)); });
JS
node server.mjs & server=$!
until [ -s port ]; do sleep 0.1; done
echo '{"access_token":"old-access","refresh_token":"old-refresh","scope":"openid","token_type":"Bearer","expiry_date":1}' > home/.gemini/oauth_creds.json

HOME=$folder/home GOOGLE_GENAI_USE_GCA=true HTTPS_PROXY=http://127.0.0.1:$(cat port) NODE_EXTRA_CA_CERTS=$folder/ca.pem \
  timeout 60 node node_modules/@google/gemini-cli/bundle/gemini.js -p hi --skip-trust > /dev/null 2>&1 < /dev/null || true

file=home/.gemini/oauth_creds.json
access=$(node -p "JSON.parse(require('fs').readFileSync('$file')).access_token")
refresh=$(node -p "JSON.parse(require('fs').readFileSync('$file')).refresh_token")
echo "access token: $access; refresh token: $refresh"
[ "$access" = new-access ] && [ "$refresh" = old-refresh ]
