//! The item of macOS' login keychain that Claude Code uses there instead of a file.
//!
//! It is read and written with the system's own `security`, as Claude Code does: the item then belongs to that
//! program, and nobody is asked. Values go through its standard input, where no list of processes shows them. Not run
//! on a Mac yet; the tests run it against a stand-in.

#[cfg(any(target_os = "macos", test))]
pub(crate) use tool::KeychainItem;

/// Other systems have no such item.
#[cfg(not(any(target_os = "macos", test)))]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeychainItem {}

#[cfg(not(any(target_os = "macos", test)))]
impl KeychainItem {
    pub(super) fn read(
        &self,
        _: &crate::time::SharedClock,
        _: crate::blocking::MayBlock,
    ) -> Result<Option<crate::secret::Secret>, crate::error::Error> {
        match *self {}
    }

    pub(super) fn read_recent(
        &self,
        _: &crate::time::SharedClock,
        _: crate::blocking::Look,
    ) -> Result<Option<crate::secret::Secret>, crate::error::Error> {
        match *self {}
    }

    pub(super) fn write(
        &self,
        _: &[u8],
        _: &crate::time::SharedClock,
        _: crate::blocking::MayBlock,
    ) -> Result<(), crate::error::Error> {
        match *self {}
    }

    pub(super) fn require_room(&self, _: &[u8]) -> Result<(), crate::error::Error> {
        match *self {}
    }
}

#[cfg(any(target_os = "macos", test))]
mod tool {
    use std::io::{self, Write as _};
    use std::path::PathBuf;
    use std::process::{Command, Output, Stdio};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use crate::blocking::{Look, MayBlock};
    use crate::error::{Error, ErrorCode};
    use crate::secret::{Secret, hex};
    use crate::time::{BootInstant, SharedClock};

    /// How long what was read is believed: each look starts a program.
    const RECENT: Duration = Duration::from_secs(1);

    /// A longer line is cut by `security`.
    const LONGEST_LINE: usize = 4000;

    /// How long `security` may take: it answers at once, unless it asks a person.
    const PATIENCE: Duration = Duration::from_secs(10);
    const LOOK: Duration = Duration::from_millis(5);

    /// `errSecItemNotFound`, as its exit code.
    const NOT_FOUND: i32 = 44;

    /// The item, and the command that asks for it.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub(crate) struct KeychainItem {
        program: PathBuf,
        service: String,
        account: String,
    }

    static READ: Mutex<Vec<(KeychainItem, BootInstant, Option<Secret>)>> = Mutex::new(Vec::new());

    impl KeychainItem {
        pub(in crate::store) fn new(program: PathBuf, service: String, account: String) -> Self {
            Self {
                program,
                service,
                account,
            }
        }

        /// Reads the item, as of a second ago or later.
        pub(in crate::store::foreign) fn read_recent(
            &self,
            clock: &SharedClock,
            look: Look,
        ) -> Result<Option<Secret>, Error> {
            let now = clock.boot();
            let known = READ
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .find(|(item, read, _)| item == self && now.since(*read) < RECENT)
                .map(|(_, _, held)| held.clone());
            match (known, look.may_block()) {
                (Some(held), _) => Ok(held),
                (None, Some(may)) => self.read(clock, may),
                (None, None) => Err(self.failed("has to be asked for it first")),
            }
        }

        /// Reads the item as it is now; `None` if it does not exist.
        pub(in crate::store::foreign) fn read(
            &self,
            clock: &SharedClock,
            may: MayBlock,
        ) -> Result<Option<Secret>, Error> {
            let now = clock.boot();
            let arguments = ["find-generic-password", "-w", "-a", &self.account, "-s"];
            let output = self.run(
                Command::new(&self.program)
                    .args(arguments)
                    .arg(&self.service),
                "",
                may,
            )?;
            let held = match output.status.code() {
                Some(0) => {
                    Some(text_of(&output.stdout).ok_or_else(|| self.failed("gave no text"))?)
                }
                Some(NOT_FOUND) => None,
                _ => return Err(self.failed("refused it")),
            };
            let mut all = READ.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|(item, ..)| item != self);
            all.push((self.clone(), now, held.clone()));
            Ok(held)
        }

        /// The account under which Claude Code keeps it.
        pub(in crate::store) fn account(user: Option<&str>) -> &str {
            let is_plain = |user: &&str| {
                let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                !user.is_empty() && user.bytes().all(is_usual)
            };
            user.filter(is_plain).unwrap_or("claude-code-user")
        }

        /// Proves, as far as that can be known, that such a text can be changed and written.
        pub(in crate::store::foreign) fn require_room(&self, text: &[u8]) -> Result<(), Error> {
            // The rest is in a second item, tied to a digest of the login: Claude Code would lose it if the login
            // changed.
            if String::from_utf8_lossy(text).contains(r#""keychainOverflow""#) {
                return Err(self.failed(
                    "keeps a part of it in a second item, which only Claude Code can change with it, so it is not refreshed",
                ));
            }
            let longest = LONGEST_LINE.saturating_sub(self.command("").len()) / 2;
            if text.len() <= longest {
                return Ok(());
            }
            Err(self.failed("takes no more than 4,000 characters, and it is larger"))
        }

        /// Replaces what it holds, and reads it back.
        pub(in crate::store::foreign) fn write(
            &self,
            text: &[u8],
            clock: &SharedClock,
            may: MayBlock,
        ) -> Result<(), Error> {
            self.require_room(text)?;
            let line = Secret::new(self.command(&hex(text)));
            let output = self.run(Command::new(&self.program).arg("-i"), line.expose(), may)?;
            let held = self.read(clock, may)?;
            let is_written = held.is_some_and(|held| held.expose().as_bytes() == trimmed(text));
            if output.status.success() && is_written {
                return Ok(());
            }
            Err(self.failed("did not take it"))
        }

        fn command(&self, hex: &str) -> String {
            let quoted = |text: &str| text.replace(['"', '\\', '\n'], "");
            format!(
                "add-generic-password -U -a \"{}\" -s \"{}\" -X \"{hex}\"\n",
                quoted(&self.account),
                quoted(&self.service)
            )
        }

        #[expect(
            clippy::disallowed_methods,
            reason = "for a moment, on a thread that may block"
        )]
        fn run(&self, command: &mut Command, input: &str, _: MayBlock) -> Result<Output, Error> {
            let mut run = || -> io::Result<Output> {
                let mut child = command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()?;
                if let Some(mut stdin) = child.stdin.take() {
                    stdin.write_all(input.as_bytes())?;
                }
                // The output fits into the pipe.
                let mut waited = Duration::ZERO;
                while child.try_wait()?.is_none() {
                    if waited >= PATIENCE {
                        child.kill()?;
                        child.wait()?;
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    std::thread::sleep(LOOK);
                    waited += LOOK;
                }
                child.wait_with_output()
            };
            run().map_err(|error| self.failed(&format!("could not be run: {error}")))
        }

        fn failed(&self, how: &str) -> Error {
            Error::new(
                ErrorCode::StoreIo,
                format!(
                    "The login lies in the keychain's item \"{}\", and {} {how}. Unlock the keychain, or give `credentialsPath`.",
                    self.service,
                    self.program.display()
                ),
            )
        }
    }

    /// `security` prints text beyond ASCII as hexadecimal digits.
    fn text_of(printed: &[u8]) -> Option<Secret> {
        let printed = std::str::from_utf8(printed).ok()?.trim_end_matches('\n');
        if printed.starts_with('{') {
            return Some(Secret::from(printed));
        }
        let digits = printed.as_bytes().chunks(2);
        let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?)
            .ok()
            .map(Secret::new)
    }

    fn trimmed(text: &[u8]) -> &[u8] {
        text.strip_suffix(b"\n").unwrap_or(text)
    }
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;
    use crate::store::credential::Stored;
    use crate::store::credential::tests::sample;
    use crate::store::location::Location;
    use crate::store::location::tests::claude_code_with;
    use crate::store::locked::Locked;
    use crate::store::outcome::Saved;
    use crate::store::reading;

    /// Keeps one item in a file, and notes what it was called with.
    const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> arguments
case "$1" in
find-generic-password) [ -e item ] || exit 44; cat item; echo ;;
-i) read -r line; [ -e locked ] && exit 36
    printf '%s' "$line" | sed 's/.*-X "//; s/"$//' | perl -ne 'print pack("H*", $_)' > item ;;
esac
"#;

    const TEXT: &str = r#"{"claudeAiOauth":{"accessToken":"a1","refreshToken":"r1","expiresAt":1700003600000,"subscriptionType":"max"},"mcpOAuth":{"n":1e3}}"#;

    struct Mac {
        folder: TempDir,
        location: Location,
    }

    impl Mac {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let program = folder.path().join("security");
            std::fs::write(&program, STAND_IN).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
            let item = KeychainItem::new(program, "Claude Code-credentials".into(), "ann".into());
            let location = claude_code_with(&folder.path().join("home"), item);
            Self { folder, location }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn item(&self) -> String {
            std::fs::read_to_string(self.at("item")).unwrap()
        }

        fn locked(&self) -> Locked {
            Locked::try_acquire(&self.location, crate::blocking::MayBlock::in_test())
                .unwrap()
                .unwrap()
        }
    }

    fn access(stored: &Stored) -> Option<&str> {
        Some(stored.credential()?.access().expose())
    }

    fn file_of(mac: &Mac) -> &Path {
        mac.location.path()
    }

    #[test]
    fn a_refresh_is_written_back_and_nothing_else_changes() {
        let mac = Mac::new();
        std::fs::write(mac.at("item"), TEXT).unwrap();
        assert_eq!(
            access(&reading::read(&mac.location, crate::blocking::Look::LONG).unwrap()),
            Some("a1")
        );
        let mut locked = mac.locked();
        let reserved = locked
            .reserve(crate::blocking::MayBlock::in_test())
            .unwrap();
        let saved = locked
            .save(
                reserved,
                &sample("a2", Some("r2")),
                crate::blocking::MayBlock::in_test(),
            )
            .unwrap();
        assert_eq!(saved, Saved::Written);
        let expected = TEXT.replace("a1", "a2").replace("r1", "r2");
        let item = mac.item();
        let without_scopes = item.replace(r#","scopes":["memory","offline_access"]"#, "");
        assert_eq!(without_scopes, expected);
        assert_eq!(
            access(&reading::read(&mac.location, crate::blocking::Look::LONG).unwrap()),
            Some("a2")
        );
        assert!(!file_of(&mac).exists());
        let arguments = std::fs::read_to_string(mac.at("arguments")).unwrap();
        assert!(
            !arguments.contains("a2") && arguments.contains("-a ann -s Claude Code-credentials")
        );
    }

    #[test]
    fn without_an_item_the_file_counts_and_without_both_a_login_makes_the_item() {
        let mac = Mac::new();
        mac.locked().replace(&sample("a1", Some("r1"))).unwrap();
        assert!(mac.item().contains("a1") && !file_of(&mac).exists());
        mac.locked()
            .log_out(
                crate::time::UnixMillis(1),
                crate::blocking::MayBlock::in_test(),
            )
            .unwrap();
        assert_eq!(mac.item().trim(), "{}");
        std::fs::remove_file(mac.at("item")).unwrap();
        std::fs::write(file_of(&mac), TEXT).unwrap();
        let mut locked = mac.locked();
        let reserved = locked
            .reserve(crate::blocking::MayBlock::in_test())
            .unwrap();
        locked
            .save(
                reserved,
                &sample("a2", Some("r2")),
                crate::blocking::MayBlock::in_test(),
            )
            .unwrap();
        assert!(
            std::fs::read_to_string(file_of(&mac))
                .unwrap()
                .contains("a2")
        );
        assert!(!mac.at("item").exists());
    }

    #[test]
    fn the_account_is_the_user_where_that_is_a_plain_name() {
        let account = KeychainItem::account;
        assert_eq!(account(Some("ann.b-1")), "ann.b-1");
        for other in [Some("ann b"), Some("änn"), Some(""), None] {
            assert_eq!(account(other), "claude-code-user");
        }
    }

    #[test]
    fn a_login_with_a_second_item_is_read_and_not_changed() {
        let mac = Mac::new();
        let text = TEXT.replace(
            "1e3",
            r#"1},"keychainOverflow":{"slot":"a","key":"k","login":"d""#,
        );
        std::fs::write(mac.at("item"), &text).unwrap();
        assert_eq!(
            access(&reading::read(&mac.location, crate::blocking::Look::LONG).unwrap()),
            Some("a1")
        );
        let error = mac
            .locked()
            .reserve(crate::blocking::MayBlock::in_test())
            .unwrap_err();
        assert!(error.message().contains("second item"), "{error}");
        assert!(mac.locked().replace(&sample("a2", Some("r2"))).is_err());
        assert_eq!(mac.item(), text);
    }

    #[test]
    fn what_it_would_not_take_is_known_before_anything_is_spent() {
        let mac = Mac::new();
        let long = TEXT.replace("1e3", &format!("\"{}\"", "x".repeat(2000)));
        std::fs::write(mac.at("item"), long).unwrap();
        let error = mac
            .locked()
            .reserve(crate::blocking::MayBlock::in_test())
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::StoreIo);
        assert!(error.message().contains("4,000"), "{error}");
        std::fs::write(mac.at("item"), TEXT).unwrap();
        std::fs::write(mac.at("locked"), "").unwrap();
        let mut locked = mac.locked();
        let reserved = locked
            .reserve(crate::blocking::MayBlock::in_test())
            .unwrap();
        let failure = locked
            .save(
                reserved,
                &sample("a2", Some("r2")),
                crate::blocking::MayBlock::in_test(),
            )
            .unwrap_err();
        assert!(failure.error.message().contains("did not take it"));
        assert_eq!(mac.item(), TEXT);
        // The call waits for the keychain, and the journal waits for the next holder.
        std::fs::remove_file(mac.at("locked")).unwrap();
        drop((failure, locked));
        assert_eq!(access(mac.locked().stored()), Some("a2"));
    }
}
