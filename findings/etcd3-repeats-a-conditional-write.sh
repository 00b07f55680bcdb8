#!/usr/bin/env bash
# npm etcd3 1.1.2 with Debian 12's etcd-server 3.4.23, November 2026.
#
# Its default fault handling sends a request once more when the connection breaks, also one that is not safe to send twice. A
# transaction "write if the key does not exist" whose answer is lost on the way was carried out. The client connects again, repeats
# it, finds the key that it has written itself, and reports `succeeded: false`: "another was faster". Who takes a lock or writes by
# version that way believes that somebody else has it. With `faultHandling: { global: noop }` the loss is an error, as it should be,
# and the caller can read what is there.
set -euo pipefail
folder=$(mktemp -d)
etcd=
trap '[ -z "$etcd" ] || kill "$etcd"; rm -rf "$folder"' EXIT
cd "$folder"
apt-get -o APT::Sandbox::User=root download etcd-server=3.4.23-4+b4 > /dev/null
dpkg --extract etcd-server_*.deb .
npm init --yes > /dev/null
npm install --silent etcd3@1.1.2
client=http://127.0.0.1:23791 peer=http://127.0.0.1:23801
usr/bin/etcd --data-dir data --name one --listen-client-urls $client --advertise-client-urls $client \
  --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster one=$peer > etcd.log 2>&1 &
etcd=$!
cat > lost.cjs <<'JAVASCRIPT'
const { connect, createServer } = require("node:net");
const { Etcd3 } = require("etcd3");

// Carries everything until it is told to lose the next answer: then the connection ends in its place, once.
let loses = false;
const relay = createServer((near) => {
  const far = connect(23791, "127.0.0.1");
  let isAsked = false;
  near.on("data", (bytes) => {
    isAsked ||= loses && bytes.includes("the value");
    far.write(bytes);
  });
  far.on("data", (bytes) => {
    if (!isAsked) return void near.write(bytes);
    loses = false;
    // The first bytes only acknowledge the request; by then the answer is among what was swallowed.
    setTimeout(() => (near.destroy(), far.destroy()), 300);
  });
  near.on("error", () => far.destroy());
  far.on("error", () => near.destroy());
  near.on("close", () => far.destroy());
  far.on("close", () => near.destroy());
}).listen(23792);

const once = { execute: (run) => run({ signal: new AbortController().signal, attempt: 0 }) };
async function write(key, options) {
  const client = new Etcd3({ hosts: "http://127.0.0.1:23792", ...options });
  await client.get("warm").exec();
  loses = true;
  const said = await client.if(key, "Create", "==", 0).then(client.put(key).value("the value")).commit().then(
    ({ succeeded }) => `succeeded: ${succeeded}`,
    ({ constructor }) => constructor.name,
  );
  loses = false;
  const kept = await client.get(key).string().catch(() => client.get(key).string());
  client.close();
  return { said, kept };
}

(async () => {
  const byDefault = await write("a", {});
  const noRepeat = await write("b", { faultHandling: { global: once, host: () => once } });
  console.log("by default:", byDefault);
  console.log("sent once: ", noRepeat);
  relay.close();
  const asSeen = byDefault.said === "succeeded: false" && byDefault.kept === "the value" && /Error/.test(noRepeat.said) && noRepeat.kept === "the value";
  process.exit(asSeen ? 0 : 1);
})();
JAVASCRIPT
for _ in $(seq 100); do
  node -e "fetch('$client/health').then((r) => r.json()).then(({ health }) => process.exit(health === 'true' ? 0 : 1), () => process.exit(1))" && break
  sleep 0.2
done
node lost.cjs
