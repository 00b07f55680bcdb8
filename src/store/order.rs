//! The order in which a plugin's accounts are used: `{ "version": 1, "order": [ … ] }`, in a file of its own.

use std::path::Path;

use serde_json::Value;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::foreign::file::patiently;
use crate::store::foreign::format::Format;
use crate::store::foreign::profiles::in_order;
use crate::store::format::{self, Document};
use crate::store::location::Location;
use crate::store::plugin_store::as_value;
use crate::store::small_file::{put, wait_for_lock};
use crate::time::UnixMillis;

const ORDER: &str = "order";

/// The profiles, the preferred one first; none where no order was set, and with `credentialsPath`. Waits for a program that
/// is writing its file: call it on a thread that may block.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(crate) fn read(
    location: &Location,
    may: Option<MayBlock>,
) -> Result<Option<Vec<String>>, Error> {
    if location.foreign_format() == Some(Format::AuthProfiles) {
        let order = match may {
            Some(may) => patiently(may, || in_order(location))?,
            None => in_order(location)?,
        };
        return Ok((!order.is_empty()).then_some(order));
    }
    if let Some(slot) = location.order_slot() {
        let kept = slot.store.read_recent(&slot.key, may)?;
        let value = kept.as_ref().map(|kept| kept.value.expose().as_bytes());
        let order = parse(value, Path::new(&slot.key))?.1;
        return Ok((!order.is_empty()).then_some(order));
    }
    let Some(path) = location.order_path() else {
        return Ok(None);
    };
    let order = look(&symlink::resolve(&path)?)?.1;
    Ok((!order.is_empty()).then_some(order))
}

/// Sets the order; an empty one removes it. A damaged file is kept beside the new one, unknown members stay.
///
/// # Errors
/// `INVALID_CONFIG` with `credentialsPath`; `STORE_VERSION`, `STORE_IO`, `STORE_LOCKED`.
pub(crate) fn write(
    location: &Location,
    order: &[String],
    now: UnixMillis,
    may: MayBlock,
) -> Result<(), Error> {
    if let Some(slot) = location.order_slot() {
        return slot.store.change(&slot.key, may, |value| {
            let mut document = match parse(value, Path::new(&slot.key)) {
                Err(error) if error.code() == ErrorCode::StoreCorrupt => {
                    let damaged = value.unwrap_or_default();
                    slot.store.set_aside(&slot.key, damaged, now, may)?;
                    Document::default()
                }
                parsed => parsed?.0,
            };
            document.edit_list(ORDER, |values| *values = listed(order));
            Ok(Some(as_value(&document)))
        });
    }
    let (Some(path), Some(folder)) = (location.order_path(), location.own_folder()) else {
        let reason = if location.foreign_format().is_some() {
            "The order of accounts in another program's file is that program's to set: for \"auth-profiles\", `models auth order set`."
        } else {
            "`credentialsPath` is the file of one account, so there is no order: leave it out, or the order."
        };
        return Err(Error::new(ErrorCode::InvalidConfig, reason));
    };
    if order.is_empty() && !path.exists() {
        return Ok(());
    }
    private_dir::ensure_ours(folder)?;
    let target = symlink::resolve(&path)?;
    let _lock = wait_for_lock(&target)?;
    let (mut document, damaged_at) = match look(&target) {
        Ok((document, _)) => (document, None),
        Err(error) if error.code() == ErrorCode::StoreCorrupt => (Document::default(), Some(now)),
        Err(error) => return Err(error),
    };
    document.edit_list(ORDER, |values| *values = listed(order));
    put(&target, &document.to_json(), damaged_at)
}

fn listed(order: &[String]) -> Vec<Value> {
    order
        .iter()
        .map(|profile| profile.as_str().into())
        .collect()
}

fn look(target: &Path) -> Result<(Document, Vec<String>), Error> {
    match RegularFile::read(target)? {
        // What is too large for any order is empty here.
        Some(file) => parse(Some(file.bytes().unwrap_or_default()), target),
        None => parse(None, target),
    }
}

fn parse(bytes: Option<&[u8]>, target: &Path) -> Result<(Document, Vec<String>), Error> {
    let Some(bytes) = bytes else {
        return Ok((Document::default(), Vec::new()));
    };
    let document = Document::from_json(bytes).ok_or_else(|| damaged(target))?;
    format::require_version(document.members(), target).map_err(|error| match error.code() {
        ErrorCode::StoreCorrupt => damaged(target),
        _ => error,
    })?;
    let order = match document.members().get(ORDER) {
        None => Some(Vec::new()),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            })
            .collect(),
        Some(_) => None,
    };
    order
        .map(|order| (document, order))
        .ok_or_else(|| damaged(target))
}

/// Guessing another account would be worse than to stop: its data is somebody else's. A login mends nothing.
fn damaged(target: &Path) -> Error {
    Error::new(
        ErrorCode::StoreCorrupt,
        format!(
            "The order of the accounts in {} is damaged. Set it again, or name the account with `profile`.",
            target.display()
        ),
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::location::tests::{at_path, in_state_dir};
    use crate::store::profiles::profiles;

    fn setup() -> (TempDir, Location) {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        (folder, location)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_set_is_read_and_clearing_what_never_was_makes_no_file() {
        let (folder, location) = setup();
        assert_eq!(read(&location, None).unwrap(), None);
        write(&location, &[], UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let order = names(&["work", "Größe", "order"]);
        write(&location, &order, UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(read(&location, None).unwrap(), Some(order));
        write(&location, &[], UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(read(&location, None).unwrap(), None);
    }

    #[test]
    fn its_file_is_never_that_of_a_profile() {
        let (folder, location) = setup();
        write(
            &location,
            &names(&["a"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        assert!(profiles(&location, None).unwrap().is_empty());
        for profile in ["order", ".order", ".order.json", "order.json"] {
            let other = in_state_dir(folder.path(), "demo", profile);
            assert_ne!(Some(other.path()), location.order_path().as_deref());
        }
    }

    #[test]
    fn unknown_members_and_a_newer_version_stay() {
        let (_folder, location) = setup();
        write(
            &location,
            &names(&["a"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        let path = location.order_path().unwrap();
        std::fs::write(&path, r#"{"later":7,"version":1,"order":["a"]}"#).unwrap();
        write(
            &location,
            &names(&["b"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"later\": 7")
        );
        write(&location, &[], UnixMillis(1), MayBlock::in_test()).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"later\": 7")
        );

        let newer = r#"{"version":2,"order":"a"}"#;
        std::fs::write(&path, newer).unwrap();
        let error = write(
            &location,
            &names(&["b"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap_err();
        assert_eq!(error.code(), ErrorCode::StoreVersion);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }

    #[test]
    fn damage_is_told_and_set_aside_by_the_next_order() {
        let (_folder, location) = setup();
        write(
            &location,
            &names(&["a"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        let path = location.order_path().unwrap();
        for damaged in [
            "",
            "[]",
            "{}",
            r#"{"version":1,"order":"a"}"#,
            r#"{"version":1,"order":[7]}"#,
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = read(&location, None).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreCorrupt, "{damaged}");
            assert!(!error.needs_login());
        }
        write(
            &location,
            &names(&["b"]),
            UnixMillis(7),
            MayBlock::in_test(),
        )
        .unwrap();
        assert_eq!(read(&location, None).unwrap(), Some(names(&["b"])));
        assert!(path.with_file_name(".order.json.corrupt-7").exists());
    }

    #[test]
    fn a_killed_writer_leaves_the_old_order_and_its_temp_file_goes_with_the_next() {
        let (_folder, location) = setup();
        write(
            &location,
            &names(&["a"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        let path = location.order_path().unwrap();
        let temp = path.with_file_name("..order.json.0123456789abcdef.tmp");
        std::fs::write(&temp, r#"{"version":1,"order":["half"#).unwrap();
        assert_eq!(read(&location, None).unwrap(), Some(names(&["a"])));
        write(
            &location,
            &names(&["b"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap();
        assert!(!temp.exists());
    }

    #[test]
    fn an_exact_file_has_no_order() {
        let folder = TempDir::new().unwrap();
        let location = at_path(&folder.path().join("c.json"));
        assert_eq!(read(&location, None).unwrap(), None);
        let error = write(
            &location,
            &names(&["a"]),
            UnixMillis(1),
            MayBlock::in_test(),
        )
        .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
    }
}
