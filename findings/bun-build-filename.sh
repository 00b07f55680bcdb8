#!/usr/bin/env bash
# Bun 1.4.5 beside esbuild 0.28.2, November 2026.
#
# `bun build --target=node` writes the path that a CommonJS module had on the building machine into the bundle in place of
# __filename and __dirname, for CommonJS output as well. esbuild leaves them, so that they name the bundle. A package that looks
# for a file beside itself (a native addon, for one) works from Bun's bundle on the machine that built it, and nowhere else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund bun@1.4.5 esbuild@0.28.2
mkdir -p source away
echo 'console.log(__filename);' > source/module.cjs
npx bun build source/module.cjs --target=node --format=cjs --outfile=away/bun.cjs >/dev/null
npx esbuild source/module.cjs --bundle --platform=node --format=cjs --outfile=away/esbuild.cjs --log-level=error
said() { node "away/$1.cjs" | sed "s|$(pwd -P)/||; s|$folder/||"; }
echo "bun: $(said bun); esbuild: $(said esbuild)"
[ "$(said bun)" = source/module.cjs ] && [ "$(said esbuild)" = away/esbuild.cjs ]
