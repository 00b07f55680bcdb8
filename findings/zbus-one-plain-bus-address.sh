#!/usr/bin/env bash
# zbus takes DBUS_SESSION_BUS_ADDRESS for one address, and a socket's path as it is written.
#
# Run: zbus 6.2.1 (crates), gdbus (glib) and dbus-send (libdbus) of Debian 12 on one session bus. The D-Bus specification lets the variable name several
# addresses, "separated by semicolons", which are tried in order, and has "%20" for a space in a value. Output: gdbus and dbus-send reach the bus by both
# spellings, zbus by neither: it looks for a file named "…;unix:path=…", and for one with "%20" in its name.
#
# For a user: in a session with such an address, programs on zbus say that there is no bus while all others work. Whoever uses zbus splits and
# unescapes first (zbus::connection::Builder::address).
set -euo pipefail

folder=$(mktemp -d)
others=()
trap 'exec 2> /dev/null; kill -9 "${others[@]}" || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
mkdir -p src "a b"
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
zbus = { version = "=6.2.1", default-features = false, features = ["tokio"] }
tokio = { version = "1", features = ["rt", "macros"] }
TOML
cat > src/main.rs <<'RS'
#[tokio::main(flavor = "current_thread")]
async fn main() {
    match zbus::Connection::session().await {
        Ok(_) => println!("reached"),
        Err(error) => println!("{error}"),
    }
}
RS
cargo build --quiet
cat > bus.conf <<XML
<busconfig><type>session</type><listen>unix:path=$folder/a b/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
XML
sed -i 's#a b/bus</listen>#a%20b/bus</listen>#' bus.conf
dbus-daemon --config-file=bus.conf --nofork --nopidfile 2> /dev/null & others+=($!)
until [ -S "a b/bus" ]; do sleep 0.1; done
ln -s "a b" plain

same=0
for address in "unix:path=$folder/none;unix:path=$folder/plain/bus" "unix:path=$folder/a%20b/bus"; do
  export DBUS_SESSION_BUS_ADDRESS=$address
  bus=(org.freedesktop.DBus / org.freedesktop.DBus.GetId)
  gdbus call --session --dest "${bus[0]}" --object-path "${bus[1]}" --method "${bus[2]}" > /dev/null && gdbus=reached || gdbus=not
  dbus-send --session --print-reply --dest="${bus[0]}" "${bus[1]}" "${bus[2]}" > /dev/null && libdbus=reached || libdbus=not
  zbus=$(target/debug/finding)
  echo "${address//$folder/…}: gdbus $gdbus, dbus-send $libdbus, zbus: ${zbus//$folder/…}"
  [ "$gdbus $libdbus" = "reached reached" ] && [ "$zbus" != reached ] || same=1
done
exit $same
