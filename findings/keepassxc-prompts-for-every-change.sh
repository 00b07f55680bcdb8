#!/usr/bin/env bash
# KeePassXC answers every CreateItem and Delete of the Secret Service with a prompt, also where nobody is asked anything.
#
# Run: KeePassXC 2.7.4 (Debian 12: keepassxc 2.7.4+dfsg.1-2, as root) with an open database that shows its root group, both confirmations
# switched off; @jellybrick/dbus-next 0.11.3 on a session bus of its own. Output: CreateItem gives the item "/" and a prompt, and a search
# finds nothing. After Prompt() it finds one. Delete gives a prompt as well, and the entry is there until Prompt() is called.
#
# For a user: a program that takes "a prompt" for "locked" never works with KeePassXC. The specification allows it: a prompt is to be run,
# whether or not anything is shown.
set -euo pipefail

apt-get install --yes -qq --no-install-recommends keepassxc=2.7.4+dfsg.1-2 dbus-daemon > /dev/null 2>&1
folder=$(mktemp -d)
others=()
trap 'kill -9 "${others[@]}" 2>/dev/null || true; wait 2> /dev/null; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . @jellybrick/dbus-next@0.11.3
mkdir -m 700 run
mkdir -p config/keepassxc
export HOME=$folder XDG_RUNTIME_DIR=$folder/run XDG_CONFIG_HOME=$folder/config QT_QPA_PLATFORM=offscreen
cat > bus.conf <<XML
<busconfig><type>session</type><listen>unix:path=$folder/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
XML
dbus-daemon --config-file=bus.conf --nofork --nopidfile 2> /dev/null & others+=($!)
export DBUS_SESSION_BUS_ADDRESS=unix:path=$folder/run/bus
until [ -S run/bus ]; do sleep 0.1; done
printf '[General]\nUpdateCheckMessageShown=true\n[FdoSecrets]\nEnabled=true\nConfirmAccessItem=false\nConfirmDeleteItem=false\n' > config/keepassxc/keepassxc.ini
cat > one.xml <<'XML'
<?xml version="1.0" encoding="UTF-8"?><KeePassFile><Meta><RecycleBinEnabled>False</RecycleBinEnabled>
<CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{00112233-4455-6677-8899-aabbccddeeff}</Value></Item></CustomData></Meta>
<Root><Group><UUID>ABEiM0RVZneImaq7zN3u/w==</UUID><Name>Root</Name></Group></Root></KeePassFile>
XML
printf 'password\npassword\n' | keepassxc-cli import -p -t 100 one.xml one.kdbx > /dev/null 2>&1
keepassxc --pw-stdin one.kdbx <<< password > /dev/null 2>&1 & others+=($!)

cat > main.mjs <<'JS'
import { once } from "node:events";
import { Message, Variant, sessionBus } from "@jellybrick/dbus-next";
const bus = sessionBus();
await once(bus, "connect");
const call = async (path, method, signature = "", body = []) => {
  const [, name, member] = /^(.*)\.(\w+)$/.exec(method);
  const reply = await bus.call(new Message({
    destination: name.startsWith("org.freedesktop.DBus") ? "org.freedesktop.DBus" : "org.freedesktop.secrets", path, interface: name, member, signature, body,
  }));
  return reply.body;
};
const root = "/org/freedesktop/secrets";
const secret = "org.freedesktop.Secret";
let keyring = "/";
while (keyring === "/") {
  [keyring] = await call(root, `${secret}.Service.ReadAlias`, "s", ["default"]).catch(() => ["/"]);
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await call("/org/freedesktop/DBus", "org.freedesktop.DBus.AddMatch", "s", [`type='signal',interface='${secret}.Prompt'`]);
const run = async (prompt) => {
  const completed = new Promise((resolve) => bus.on("message", (one) => one.member === "Completed" && one.path === prompt && resolve()));
  await call(prompt, `${secret}.Prompt.Prompt`, "s", [""]);
  await completed;
};
const found = async () => (await call(keyring, `${secret}.Collection.SearchItems`, "a{ss}", [{ finding: "one" }]))[0];
const [, session] = await call(root, `${secret}.Service.OpenSession`, "sv", ["plain", new Variant("s", "")]);
const [item, prompt] = await call(keyring, `${secret}.Collection.CreateItem`, "a{sv}(oayays)b", [
  { [`${secret}.Item.Label`]: new Variant("s", "one"), [`${secret}.Item.Attributes`]: new Variant("a{ss}", { finding: "one" }) },
  [session, Buffer.alloc(0), Buffer.from("a secret"), "text/plain"], false,
]);
const counts = [(await found()).length];
await run(prompt);
const [entry] = await found();
counts.push((await found()).length);
const [deletion] = await call(entry, `${secret}.Item.Delete`);
counts.push((await found()).length);
await run(deletion);
counts.push((await found()).length);
console.log(`CreateItem: item ${item}, ${prompt === "/" ? "no prompt" : "a prompt"}; Delete: ${deletion === "/" ? "no prompt" : "a prompt"}`);
console.log(`found after CreateItem, its prompt, Delete, its prompt: ${counts}`);
process.exit(item === "/" && prompt !== "/" && deletion !== "/" && `${counts}` === "0,1,1,0" ? 0 : 1);
JS
timeout 60 node main.mjs
