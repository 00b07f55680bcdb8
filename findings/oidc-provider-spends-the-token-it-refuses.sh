#!/usr/bin/env bash
# oidc-provider 9.13.3 with rotating refresh tokens and resource indicators (RFC 8707): a refresh for a resource that the login was not
# made for is answered `invalid_target`, and the refresh token is spent all the same. The new one is stored and never sent. The
# next refresh with the only token that the client has is `invalid_grant` ("refresh token already used"), and revokes the grant.
#
# What that means: one request with a wrong `resource` ends the login. A client has to know by itself which resources its login is for.
# A wrong `scope` is seen before anything is spent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund oidc-provider@9.13.3
cat >main.mjs <<'JS'
import http from "node:http";
import Provider from "oidc-provider";

const server = http.createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const warn = console.warn;
console.warn = () => {};
console.info = () => {};
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "client",
      token_endpoint_auth_method: "none",
      grant_types: ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  scopes: ["openid", "offline_access", "notes"],
  rotateRefreshToken: true,
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  features: {
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ scope: "notes", audience: resource }),
    },
  },
});
console.warn = warn;
server.on("request", provider.callback());

const client = await provider.Client.find("client");
async function login() {
  const grant = new provider.Grant({ accountId: "ada", clientId: "client" });
  grant.addOIDCScope("offline_access notes");
  grant.addResourceScope("https://notes.example/", "notes");
  const grantId = await grant.save();
  const resource = "https://notes.example/";
  const scope = "offline_access notes";
  return new provider.RefreshToken({ accountId: "ada", client, grantId, gty: "device_code", scope, resource }).save();
}
async function refresh(refresh_token, more = {}) {
  const body = new URLSearchParams({ grant_type: "refresh_token", client_id: "client", refresh_token, ...more });
  const answer = await fetch(`${issuer}/token`, { method: "POST", body });
  const { error = "a token" } = await answer.json();
  return `${answer.status} ${error}`;
}
const first = await login();
console.log("another resource:", await refresh(first, { resource: "https://files.example/" }));
const next = await refresh(first);
console.log("then without one:", next);
const second = await login();
console.log("an unknown scope:", await refresh(second, { scope: "unheard-of" }));
console.log("then without one:", await refresh(second));
server.close();
process.exit(next === "400 invalid_grant" ? 0 : 1);
JS
node main.mjs 2>/dev/null
