#!/usr/bin/env bash
# Codex counts an empty login as a login.
#
# Run: @openai/codex 0.171.0, `codex login status`, with `$CODEX_HOME/auth.json` of `{}`, of `{"auth_mode":"chatgpt"}` and of a mode "apikey"
# with tokens and without a key. Output: "Logged in using ChatGPT" (exit code 0) for the first two, "API key auth is missing a key." (1) for
# the third. Without the file: "Not logged in" (1).
#
# For a user: whoever takes the login out of the file and leaves the file has not logged Codex out; `codex logout` removes the file. A script
# that asks `codex login status` does not learn whether there is a token.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . @openai/codex@0.171.0
codex=node_modules/.bin/codex
mkdir home
export HOME=$folder/home CODEX_HOME=$folder/home

changed=0
expect() { # what, expected words, text of auth.json
  if [ "$3" = none ]; then rm -f home/auth.json; else printf '%s' "$3" > home/auth.json; fi
  said=$("$codex" login status 2>&1 | tail -1) || true
  echo "$1: $said"
  [[ $said == *"$2"* ]] || changed=1
}
expect "no file" "Not logged in" none
expect "{}" "Logged in using ChatGPT" '{}'
expect "a mode and no tokens" "Logged in using ChatGPT" '{"auth_mode":"chatgpt"}'
expect "the mode of a key, tokens, no key" "missing a key" \
  '{"auth_mode":"apikey","tokens":{"id_token":"e30.e30.x","access_token":"a","refresh_token":"r"}}'
exit "$changed"
