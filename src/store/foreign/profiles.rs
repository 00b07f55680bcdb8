//! Which of several logins in `auth-profiles.json` is meant.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::json_text::JsonText;
use crate::store::location::Location;

use super::found::damaged;
use super::layout::provider_of;

/// The profiles of the location's provider as its host would try them: `order`, else `lastGood` and then the others.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_IO`.
pub(in crate::store) fn in_order(location: &Location) -> Result<Vec<String>, Error> {
    profiles(location, true)
}

/// All of them, sorted.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_IO`.
pub(in crate::store) fn of_provider(location: &Location) -> Result<Vec<String>, Error> {
    let mut sorted = Vec::new();
    for profile in profiles(location, false)? {
        let at = sorted.partition_point(|other| *other < profile);
        sorted.insert(at, profile);
    }
    Ok(sorted)
}

fn profiles(location: &Location, by_order: bool) -> Result<Vec<String>, Error> {
    let target = symlink::resolve(location.path())?;
    let Some(file) = RegularFile::read(&target)? else {
        return Ok(Vec::new());
    };
    let Some((_, members)) = file.bytes().and_then(JsonText::parse) else {
        return Err(damaged(&target, "it is not a whole JSON object"));
    };
    Ok(chosen(&members, provider_of(location.profile()), by_order))
}

fn chosen(members: &Map<String, Value>, provider: &str, by_order: bool) -> Vec<String> {
    let empty = Map::new();
    let all = members
        .get("profiles")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let is_of_provider = |profile: &&str| {
        all.get(*profile)
            .and_then(|entry| entry.get("provider"))
            .and_then(Value::as_str)
            == Some(provider)
    };
    let named = |list: &str| members.get(list).and_then(|list| list.get(provider));
    let order = named("order")
        .and_then(Value::as_array)
        .filter(|order| by_order && !order.is_empty());
    let wanted: Vec<&str> = match order {
        Some(order) => order.iter().filter_map(Value::as_str).collect(),
        None => named("lastGood")
            .and_then(Value::as_str)
            .into_iter()
            .chain(all.keys().map(String::as_str))
            .collect(),
    };
    let mut profiles: Vec<String> = Vec::new();
    for profile in wanted.into_iter().filter(is_of_provider) {
        if !profiles.iter().any(|known| known == profile) {
            profiles.push(profile.to_owned());
        }
    }
    profiles
}
