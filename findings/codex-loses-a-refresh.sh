#!/usr/bin/env bash
# Codex throws a new refresh token away when it cannot lock its file.
#
# Run: @openai/codex 0.171.0, `codex exec` with an access token that has ended, while another process holds a `flock` on
# `$CODEX_HOME/auth.json.lock` for 20 s. The token endpoint (CODEX_REFRESH_TOKEN_URL_OVERRIDE, on loopback) answers at once with a new refresh
# token. Output: it asks several times with the same refresh token, and afterwards `auth.json` still has that one.
#
# For a user: a server that rotates refresh tokens takes the old one for stolen, and a login is needed. Nobody should hold
# that lock for longer than a moment.
set -euo pipefail

folder=$(mktemp -d)
server=
holder=
trap 'kill $server $holder 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . @openai/codex@0.171.0
mkdir home

cat > server.mjs <<'JS'
import { appendFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const jwt = (exp) => `${part({ alg: "none" })}.${part({ exp, "https://api.openai.com/auth": { chatgpt_account_id: "a" } })}.x`;
const seconds = Math.floor(Date.now() / 1000);
const tokens = (exp, refresh_token) => ({ id_token: jwt(exp), access_token: jwt(exp), refresh_token });
writeFileSync("home/auth.json", JSON.stringify({
  auth_mode: "chatgpt",
  tokens: { ...tokens(seconds - 60, "old"), account_id: "a" },
  last_refresh: "2026-01-01T00:00:00Z",
}));
createServer((request, response) => {
  request.resume().on("end", () => {
    appendFileSync("requests", "x");
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ ...tokens(seconds + 3600, "new"), expires_in: 3600, token_type: "Bearer" }));
  });
}).listen(0, "127.0.0.1", function () { writeFileSync("port", String(this.address().port)); });
JS
touch requests
node server.mjs & server=$!
until [ -s port ]; do sleep 0.1; done
touch home/auth.json.lock
flock home/auth.json.lock sleep 20 & holder=$!

# Whatever else it asks for is refused at once.
HOME=$folder/home CODEX_HOME=$folder/home CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://127.0.0.1:$(cat port)/token \
  HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 NO_PROXY=127.0.0.1 \
  timeout 18 node_modules/.bin/codex exec --skip-git-repo-check hi > /dev/null 2>&1 < /dev/null || true

requests=$(wc -c < requests)
kept=$(grep -c '"old"' home/auth.json || true)
echo "requests: $requests; the file has the old refresh token: $([ "$kept" -gt 0 ] && echo yes || echo no)"
[ "$requests" -ge 1 ] && [ "$kept" -gt 0 ]
