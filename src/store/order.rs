//! The order in which a plugin's accounts are used: `{ "version": 1, "order": [ … ] }`, in a document of its own.

use std::fmt::Display;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::store::format::{self, Document};
use crate::store::location::{Location, Place};
use crate::store::sidecar::{Sidecar, SmallDocument};
use crate::time::UnixMillis;

const ORDER: &str = "order";

/// The profiles, the preferred one first; none where no order was set, and with `credentialsPath`.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(crate) fn read(location: &Location, look: Look) -> Result<Option<Vec<String>>, Error> {
    let order = match &location.0 {
        Place::Own(place) => place
            .order()
            .map(|order| profiles(&order, look))
            .transpose(),
        Place::Given(place) => profiles(&place.order(), look).map(Some),
        Place::Foreign(place) => place.order(look),
    };
    Ok(order?.filter(|order| !order.is_empty()))
}

/// Sets the order; an empty one removes it. A damaged document is kept beside the new one, unknown members stay.
///
/// # Errors
/// `INVALID_CONFIG` with `credentialsPath` or `credentialsFormat`; `STORE_VERSION`, `STORE_IO`, `STORE_LOCKED`.
pub(crate) fn write(
    location: &Location,
    order: &[String],
    now: UnixMillis,
    may: MayBlock,
) -> Result<(), Error> {
    let sidecar = match &location.0 {
        Place::Own(place) => place.order().ok_or(
            "`credentialsPath` is the file of one account, so there is no order: leave it out, or the order.",
        ),
        Place::Given(place) => Ok(place.order()),
        Place::Foreign(_) => Err(
            "The order of accounts in another program's file is that program's to set: for \"auth-profiles\", `models auth order set`.",
        ),
    };
    let sidecar = sidecar.map_err(|reason| Error::new(ErrorCode::InvalidConfig, reason))?;
    if profiles(&sidecar, may.into()).is_ok_and(|now| now == order) {
        return Ok(());
    }
    sidecar.change(now, may, |stored: &mut Order| {
        stored.0.edit_list(ORDER, |values| *values = listed(order));
        true
    })
}

fn profiles(order: &Sidecar, look: Look) -> Result<Vec<String>, Error> {
    let Order(document) = order.read(look)?;
    Ok(names(&document).unwrap_or_default())
}

fn listed(order: &[String]) -> Vec<Value> {
    order
        .iter()
        .map(|profile| profile.as_str().into())
        .collect()
}

/// `None` where the members are not names.
fn names(document: &Document) -> Option<Vec<String>> {
    match document.members().get(ORDER) {
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
    }
}

#[derive(Default)]
struct Order(Document);

impl SmallDocument for Order {
    fn parse(text: &[u8], place: &dyn Display) -> Result<Self, Error> {
        let document = Document::from_json(text).ok_or_else(|| damaged(place))?;
        format::require_version(document.members(), place).map_err(|error| match error.code() {
            ErrorCode::StoreCorrupt => damaged(place),
            _ => error,
        })?;
        match names(&document) {
            Some(_) => Ok(Self(document)),
            None => Err(damaged(place)),
        }
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_json()
    }
}

/// Stops instead of guessing another account, with another person's data. A login does not fix it.
fn damaged(place: &dyn Display) -> Error {
    Error::new(
        ErrorCode::StoreCorrupt,
        format!(
            "The order of the accounts in {place} is damaged. Set it again, or name the account with `profile`."
        ),
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::store::location::tests::{at_path, in_state_dir};
    use crate::store::profiles::profiles;

    fn setup() -> (TempDir, Location) {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        (folder, location)
    }

    fn order_path(location: &Location) -> PathBuf {
        location.own_folder().unwrap().join(".order.json")
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_set_is_read_and_clearing_what_never_was_makes_no_file() {
        let (folder, location) = setup();
        assert_eq!(read(&location, Look::LONG).unwrap(), None);
        write(&location, &[], UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let order = names(&["work", "Größe", "order"]);
        write(&location, &order, UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(read(&location, Look::LONG).unwrap(), Some(order));
        write(&location, &[], UnixMillis(1), MayBlock::in_test()).unwrap();
        assert_eq!(read(&location, Look::LONG).unwrap(), None);
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
        assert!(
            profiles(&location, Look::LONG)
                .unwrap()
                .unwrap()
                .0
                .is_empty()
        );
        for profile in ["order", ".order", ".order.json", "order.json"] {
            let other = in_state_dir(folder.path(), "demo", profile);
            assert_ne!(other.path(), order_path(&location));
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
        let path = order_path(&location);
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
        let path = order_path(&location);
        for damaged in [
            "",
            "[]",
            "{}",
            r#"{"version":1,"order":"a"}"#,
            r#"{"version":1,"order":[7]}"#,
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = read(&location, Look::LONG).unwrap_err();
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
        assert_eq!(read(&location, Look::LONG).unwrap(), Some(names(&["b"])));
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
        let path = order_path(&location);
        let temp = path.with_file_name("..order.json.0123456789abcdef.tmp");
        std::fs::write(&temp, r#"{"version":1,"order":["half"#).unwrap();
        assert_eq!(read(&location, Look::LONG).unwrap(), Some(names(&["a"])));
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
        assert_eq!(read(&location, Look::LONG).unwrap(), None);
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
