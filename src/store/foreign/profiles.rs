//! Selects one of several logins in `auth-profiles.json`.

use serde_json::{Map, Value};

use crate::blocking::Look;
use crate::error::Error;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::credentials_format::Format;
use crate::store::json_text::JsonText;

use super::file::patiently;
use super::found::damaged;
use super::layout::provider_of;
use super::place::Place;

impl Place {
    /// The profiles of its provider as its host would try them: `order`, else `lastGood` and then the others; none
    /// where the program has one login.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_IO`.
    pub(in crate::store) fn order(&self, look: Look) -> Result<Option<Vec<String>>, Error> {
        if self.format != Format::AuthProfiles {
            return Ok(None);
        }
        self.listed(true, look).map(Some)
    }

    /// All of them, sorted.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_IO`.
    pub(in crate::store) fn profiles(&self, look: Look) -> Result<Vec<Self>, Error> {
        if self.format != Format::AuthProfiles {
            return Ok(vec![self.clone()]);
        }
        let mut sorted = Vec::new();
        for profile in self.listed(false, look)? {
            let at = sorted.partition_point(|other| *other < profile);
            sorted.insert(at, profile);
        }
        let places = sorted.into_iter().map(|profile| self.of_profile(profile));
        Ok(places.collect())
    }

    fn listed(&self, by_order: bool, look: Look) -> Result<Vec<String>, Error> {
        match look.may_block() {
            Some(may) => patiently(may, || self.listed_at_once(by_order, look)),
            None => self.listed_at_once(by_order, look),
        }
    }

    fn listed_at_once(&self, by_order: bool, look: Look) -> Result<Vec<String>, Error> {
        let target = symlink::resolve(self.path(), look)?;
        let Some(file) = RegularFile::read(&target, look)? else {
            return Ok(Vec::new());
        };
        let Some((_, members)) = file.bytes().and_then(JsonText::parse) else {
            return Err(damaged(&target, "it is not a whole JSON object"));
        };
        Ok(chosen(&members, provider_of(self.profile()), by_order))
    }
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
