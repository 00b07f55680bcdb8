#!/usr/bin/env bash
# oo7-daemon, locked, finds no entry by its attributes, and lists it all the same.
#
# Run: oo7-daemon 0.7.0-beta (crates.io, built here: minutes), a keyring that was opened with a password; secret-tool of Debian 12
# (libsecret-tools 0.20.5-3, as root) stores one entry, then the keyring is locked. Output: the collection's property `Items` has one entry,
# its `Locked` is true, and `SearchItems` of the service finds nothing: neither among the unlocked nor among the locked.
#
# For a user: "not found" of a locked oo7 does not mean that there is none. A program that takes it for that asks for a new login.
set -euo pipefail

apt-get install --yes -qq --no-install-recommends libsecret-tools=0.20.5-3 dbus-daemon libglib2.0-bin > /dev/null 2>&1
folder=$(mktemp -d)
others=()
trap 'kill -9 "${others[@]}" 2>/dev/null || true; wait 2> /dev/null; rm -rf "$folder"' EXIT
cargo install --quiet --locked --root "$folder/oo7" oo7-daemon --version 0.7.0-beta
cd "$folder"
mkdir -m 700 run data
export HOME=$folder XDG_RUNTIME_DIR=$folder/run XDG_DATA_HOME=$folder/data
cat > bus.conf <<XML
<busconfig><type>session</type><listen>unix:path=$folder/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
XML
dbus-daemon --config-file=bus.conf --nofork --nopidfile 2> /dev/null & others+=($!)
export DBUS_SESSION_BUS_ADDRESS=unix:path=$folder/run/bus
until [ -S run/bus ]; do sleep 0.1; done
oo7/bin/oo7-daemon --login > /dev/null 2>&1 < <(printf 'a long password') & others+=($!)

service() { gdbus call --session -d org.freedesktop.secrets -o "${2:-/org/freedesktop/secrets}" -m "$1" "${@:3}"; }
keyring=/
while [ "$keyring" = / ]; do
  keyring=$(service org.freedesktop.Secret.Service.ReadAlias '' default 2> /dev/null | grep -o '/[^'"'"']*' || echo /)
  sleep 0.1
done
printf 'a secret' | secret-tool store --label=finding entry one
search() { service org.freedesktop.Secret.Service.SearchItems '' "{'entry': 'one'}"; }
property() { service org.freedesktop.DBus.Properties.Get "$keyring" org.freedesktop.Secret.Collection "$1"; }
before=$(search)
service org.freedesktop.Secret.Service.Lock '' "['$keyring']" > /dev/null
locked=$(property Locked) items=$(property Items) after=$(search)
printf '%s\n' "unlocked, SearchItems: $before" "locked: $locked" "Items: $items" "SearchItems: $after"
[[ $before == *"$keyring"/* && $locked == *true* && $items == *"$keyring"/* && $after != *"$keyring"/* ]]
