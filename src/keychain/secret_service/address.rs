//! Where the session bus is, as the D-Bus specification writes it: zbus 6.2 takes one address, and its values as they
//! stand.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use zbus::address::transport::{Transport, Unix, UnixSocket};
use zbus::connection::Builder;
use zbus::{Address, Connection, Error};

/// A connection to the session bus: the first that can be had.
#[expect(
    clippy::disallowed_methods,
    reason = "the session's bus, which zbus reads here as well"
)]
pub(super) async fn connect() -> Result<Connection, Error> {
    let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let mut outcome = None;
    // D-Bus specification, Server Addresses: several are "separated by semicolons".
    for address in named.split(';').filter(|address| !address.is_empty()) {
        let connected = match parsed(address) {
            Ok(address) => Builder::address(address).build().await,
            Err(error) => Err(error),
        };
        if connected.is_ok() {
            return connected;
        }
        outcome = Some(connected);
    }
    if let Some(failed) = outcome {
        return failed;
    }
    // The place that systemd uses. As in libdbus, an empty variable counts as unset.
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
        || format!("/run/user/{}", rustix::process::geteuid().as_raw()).into(),
        PathBuf::from,
    );
    let socket = UnixSocket::File(runtime.join("bus"));
    Builder::address(of(socket)).build().await
}

fn parsed(address: &str) -> Result<Address, Error> {
    let options = address.strip_prefix("unix:").unwrap_or_default();
    let mut options = options.split(',').filter_map(|one| one.split_once('='));
    let socket = options.find_map(|(key, value)| match key {
        "path" => Some(UnixSocket::File(unescaped(value).into())),
        "abstract" => Some(UnixSocket::Abstract(unescaped(value))),
        _ => None,
    });
    socket.map_or_else(|| address.try_into(), |socket| Ok(of(socket)))
}

fn of(socket: UnixSocket) -> Address {
    Transport::Unix(Unix::new(socket)).into()
}

fn unescaped(value: &str) -> OsString {
    OsString::from_vec(percent_decode_str(value).collect())
}
