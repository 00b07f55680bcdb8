#!/usr/bin/env bash
# KWallet says that an entry is stored some seconds before it is on the disk.
#
# Run: kwalletd5 5.103.0 (Debian 12: libkf5wallet-bin 5.103.0-1, as root), its Secret Service switched on, a wallet that was opened as
# the session's login opens it; `secret-tool store` of libsecret-tools 0.20.5-3 (which wants
# libqca-qt5-2-plugins of KWallet). Output: `secret-tool` exits 0, and finds the secret. Killed
# (SIGKILL) then and started again, KWallet has no secret of that entry. With 8 s between the two it has it whole.
#
# For a user: a login that was just renewed is lost when the session ends abruptly. Who keeps tokens in KWallet keeps the older ones
# until the newer ones are some seconds old.
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
store() { printf '%s' "$1" | secret-tool store --label=finding entry "$1"; }
lookup() { secret-tool lookup entry "$1" || true; }

# The first run makes the wallet; the second one serves it.
start; stop -TERM; start
store late
confirmed=$(lookup late)
stop -KILL; start
lost=$(lookup late)
store early
sleep 8
stop -KILL; start
kept=$(lookup early)
echo "confirmed: '$confirmed'; killed at once: '$lost'; killed after 8 s: '$kept'"
[ "$confirmed" = late ] && [ "$lost" = '' ] && [ "$kept" = early ]
