#!/usr/bin/env bash
# KWallet's Secret Service gives another secret once the label of its entry names another folder.
#
# Run: kwalletd5 5.103.0 (Debian 12: libkf5wallet-bin 5.103.0-1, as root), its Secret Service switched on, a wallet that was opened as
# the session's login opens it; `secret-tool store` of libsecret-tools 0.20.5-3 (which wants libqca-qt5-2-plugins of KWallet)
# keeps "abc" as "folder/finding", then the property `Label` is set to "renamed". Output: before, the secret is 3 bytes, `616263`; then 10,
# `00000006006100620063`: the length, and the text in UTF-16, as Qt writes a string to a stream. A secret whose content type
# is no text stays as it was, and so does one whose label changes within its folder.
#
# For a user: a password that is moved within the wallet no longer works in the program that keeps it there. Programs that store what they
# alone read do better with `application/octet-stream`.
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
lookup() { secret-tool lookup entry one | od -An -tx1 | tr -d ' \n'; }

# The first run makes the wallet; the second one serves it.
start; stop -TERM; start
printf abc | secret-tool store --label=folder/finding entry one
before=$(lookup)
item=$(gdbus call --session -d org.freedesktop.secrets -o /org/freedesktop/secrets -m org.freedesktop.Secret.Service.SearchItems "{'entry': 'one'}" |
  grep -o "/org/freedesktop/secrets/collection/[^']*" | head -1)
gdbus call --session -d org.freedesktop.secrets -o "$item" -m org.freedesktop.DBus.Properties.Set org.freedesktop.Secret.Item Label "<'renamed'>" > /dev/null
after=$(lookup)
echo "before: $before; in another folder: $after"
[ "$before" = 616263 ] && [ "$after" = 00000006006100620063 ]
