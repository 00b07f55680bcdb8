#!/usr/bin/env bash
# KWallet's Secret Service gives an empty secret of an entry whose wallet is closed, instead of the error for a locked one.
#
# Run: kwalletd5 5.103.0 (Debian 12: libkf5wallet-bin 5.103.0-1, as root), its Secret Service switched on, a wallet that was opened as
# the session's login opens it; `secret-tool store` of libsecret-tools 0.20.5-3 (which wants libqca-qt5-2-plugins of KWallet) keeps "abc".
# Then one client (@jellybrick/dbus-next 0.11.3 of npm) searches, reads, the wallet is closed, and the client reads again. Output: first
# "abc"; then `GetSecret` answers without an error, with 0 bytes, and the collection's property `Locked` is true. The
# specification has `org.freedesktop.Secret.Error.IsLocked` for that, and gnome-keyring 42.1 and oo7-daemon 0.7.0-beta say so.
#
# For a user: a program that reads while the wallet closes takes the password for an empty one. Who reads an empty secret looks at `Locked` again.
set -euo pipefail

apt-get install --yes -qq --no-install-recommends libkf5wallet-bin=5.103.0-1 libqca-qt5-2-plugins=2.3.5-2 libsecret-tools=0.20.5-3 dbus-daemon libglib2.0-bin xvfb > /dev/null 2>&1
folder=$(mktemp -d)
wallet='' others=()
trap 'kill -9 $wallet "${others[@]}" 2>/dev/null || true; wait 2> /dev/null; rm -rf "$folder"' EXIT
cd "$folder"
mkdir -m 700 run config data
export HOME=$folder XDG_RUNTIME_DIR=$folder/run XDG_CONFIG_HOME=$folder/config XDG_DATA_HOME=$folder/data
cat > bus.conf <<XML
<busconfig><type>session</type><listen>unix:path=$folder/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
XML
dbus-daemon --config-file=bus.conf --nofork --nopidfile 2> /dev/null & others+=($!)
export DBUS_SESSION_BUS_ADDRESS=unix:path=$folder/run/bus
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3> display 2> /dev/null & others+=($!)
until [ -s display ] && [ -S run/bus ]; do sleep 0.1; done
DISPLAY=:$(cat display); export DISPLAY
printf '[Wallet]\nFirst Use=false\nPrompt on Open=false\n[org.freedesktop.secrets]\napiEnabled=true\n' > config/kwalletrc

# Starts it, and opens the wallet with the key that PAM derives from the password.
start() {
  kwalletd5 > /dev/null 2>&1 & wallet=$!
  local key; key=$(printf '0x41,%.0s' {1..56})
  until gdbus call --session -d org.kde.kwalletd5 -o /modules/kwalletd5 -m org.kde.KWallet.pamOpen kdewallet "[${key%,}]" 0 > /dev/null 2>&1; do sleep 0.1; done
}
stop() { kill "$1" $wallet; wait $wallet 2> /dev/null || true; }

# The first run makes the wallet; the second one serves it.
start; stop -TERM; start
printf abc | secret-tool store --label=finding entry one
npm install --silent --no-audit --no-fund --ignore-scripts @jellybrick/dbus-next@0.11.3 > /dev/null
cat > read.mjs <<'JS'
import { Message, sessionBus, Variant } from "@jellybrick/dbus-next";
const bus = sessionBus();
const call = async (destination, path, method, signature = "", body = []) => {
  const [, name, member] = /^(.*)\.(\w+)$/.exec(method);
  return (await bus.call(new Message({ destination, path, interface: name, member, signature, body }))).body;
};
const secrets = (path, method, ...more) => call("org.freedesktop.secrets", path, `org.freedesktop.${method}`, ...more);
const root = "/org/freedesktop/secrets";
const [, session] = await secrets(root, "Secret.Service.OpenSession", "sv", ["plain", new Variant("s", "")]);
const [keyring] = await secrets(root, "Secret.Service.ReadAlias", "s", ["default"]);
const [[entry]] = await secrets(keyring, "Secret.Collection.SearchItems", "a{ss}", [{ entry: "one" }]);
const read = async () => (await secrets(entry, "Secret.Item.GetSecret", "o", [session]))[0][2].toString();
const before = await read();
await call("org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet.closeAllWallets");
const [locked] = await secrets(keyring, "DBus.Properties.Get", "ss", ["org.freedesktop.Secret.Collection", "Locked"]);
console.log(`open: "${before}"; closed: "${await read()}", locked: ${locked.value}`);
process.exit(0);
JS
seen=$(node read.mjs)
echo "$seen"
[ "$seen" = 'open: "abc"; closed: "", locked: true' ]
