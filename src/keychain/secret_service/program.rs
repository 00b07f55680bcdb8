//! Identifies the program behind the Secret Service: its differences, and a person's next step in it.

use std::ffi::OsStr;
use std::path::Path;

use zbus::ObjectPath;

use super::super::failure::clean;
use super::bus::Bus;

const DBUS: &str = "org.freedesktop.DBus";

/// The names of `KWallet` on the bus, and its object.
const KWALLETS: [(&str, &str); 2] = [
    ("org.kde.kwalletd5", "/modules/kwalletd5"),
    ("org.kde.kwalletd6", "/modules/kwalletd6"),
];

const KEEPASSXC: &str = "keepassxc";

/// A person's next step that makes a program usable, by the start of the program's name.
const WAYS_OUT: [(&str, &str); 5] = [
    (
        "gnome-keyring",
        "gnome-keyring: its keyring opens with the password at the desktop's login, or in Passwords and Keys (seahorse).",
    ),
    (
        "oo7",
        "oo7: its keyring opens with the password at the desktop's login.",
    ),
    (
        "kwalletd",
        "KWallet: create or open the wallet in KWalletManager.",
    ),
    (
        "ksecretd",
        "KWallet: create or open the wallet in KWalletManager.",
    ),
    (
        KEEPASSXC,
        "KeePassXC: open the database, choose a group in Database Settings > Secret Service Integration, and switch off \
         \"Confirm when passwords are retrieved by clients\" in Settings > Secret Service Integration.",
    ),
];

/// The program that answers.
pub(super) struct Program {
    /// The name of its executable file, else the kernel's name for the process; empty if unknown.
    name: String,
    kwallet: Option<(&'static str, &'static str)>,
}

impl Program {
    pub(super) fn of(bus: &Bus) -> Self {
        let kwallet = KWALLETS
            .into_iter()
            .find(|(name, _)| owner(bus, name).as_deref() == Some(bus.service()));
        let name = process_id(bus).and_then(name_of).unwrap_or_default();
        Self { name, kwallet }
    }

    /// Whether it confirms a write before the write is on the disk: killed meanwhile, `KWallet` (kwalletd5 5.103) and
    /// `KeePassXC` (2.7.4) lose what they have confirmed.
    pub(super) fn writes_later(&self) -> bool {
        self.kwallet.is_some() || self.name.starts_with(KEEPASSXC)
    }

    /// The content type of entries. An entry of type text in `KWallet` (kwalletd5 5.103) becomes a Qt stream when a
    /// person moves it.
    pub(super) fn content_type(&self) -> &'static str {
        match self.kwallet {
            Some(_) => "application/octet-stream",
            None => "text/plain",
        }
    }

    /// Whether it has opened that wallet for its own protocol already.
    pub(super) fn has_open_wallet(&self, bus: &Bus, wallet: &str) -> bool {
        let Some((name, path)) = self.kwallet else {
            return false;
        };
        let path = ObjectPath::from_static_str_unchecked(path);
        let is_open: Option<bool> = bus
            .ask(name, &path, "org.kde.KWallet", "isOpen", &(wallet,))
            .ok();
        is_open.unwrap_or(false)
    }

    /// The name by which a person may know it.
    pub(super) fn name(&self) -> String {
        clean(&self.name)
    }

    /// A person's next step in it.
    pub(super) fn way_out(&self) -> String {
        let known = WAYS_OUT
            .into_iter()
            .find(|(name, _)| self.name.starts_with(name));
        match known {
            Some((_, way_out)) => format!(" {way_out}"),
            None if self.name.is_empty() => String::new(),
            None => format!(" It is kept by {}.", self.name()),
        }
    }
}

fn owner(bus: &Bus, name: &str) -> Option<String> {
    bus.ask(DBUS, &root(), DBUS, "GetNameOwner", &(name,)).ok()
}

fn process_id(bus: &Bus) -> Option<u32> {
    let id = bus.ask(
        DBUS,
        &root(),
        DBUS,
        "GetConnectionUnixProcessID",
        &(bus.service(),),
    );
    id.ok()
}

fn root() -> ObjectPath<'static> {
    ObjectPath::from_static_str_unchecked("/org/freedesktop/DBus")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's own file, not one of the store"
)]
fn name_of(process_id: u32) -> Option<String> {
    let process = Path::new("/proc").join(process_id.to_string());
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    let name = name.trim();
    // proc(5), comm: "truncated to TASK_COMM_LEN (16) bytes". The file has the whole name, where it may be looked at.
    let file = std::fs::read_link(process.join("exe")).ok();
    let whole = file
        .as_deref()
        .and_then(Path::file_name)
        .and_then(OsStr::to_str);
    Some(
        whole
            .filter(|whole| whole.starts_with(name))
            .unwrap_or(name)
            .to_owned(),
    )
}
