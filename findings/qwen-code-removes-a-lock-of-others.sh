#!/usr/bin/env bash
# A Qwen Code that ends removes the refresh lock of whoever holds it.
#
# Run: @qwen-code/qwen-code 0.24.4, `qwen -p hi --auth-type qwen-oauth` with a login that is good for a day, while another process holds
# `~/.qwen/oauth_creds.lock`. Output: Qwen Code needs no refresh, says that the login was discontinued, ends, and the lock file is gone.
#
# For a user: of two Qwen Codes, one of which refreshes, the end of the other lets a third refresh at the same time; a server that rotates
# refuses one of them, and that one deletes the login. A program that takes this lock has to look whether it still has it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . @qwen-code/qwen-code@0.24.4
mkdir -p home/.qwen
node -e 'console.log(JSON.stringify({ access_token: "a", refresh_token: "r", token_type: "Bearer", resource_url: "portal.qwen.ai",
  expiry_date: Date.now() + 86400000 }))' > home/.qwen/oauth_creds.json
printf somebody > home/.qwen/oauth_creds.lock

HOME=$folder/home timeout 60 node node_modules/@qwen-code/qwen-code/cli.js -p hi --auth-type qwen-oauth < /dev/null 2>&1 | grep -m1 -i discontinued || true
if [ -e home/.qwen/oauth_creds.lock ]; then
  echo "the lock of somebody else is still there"
  exit 1
fi
echo "the lock of somebody else is gone"
