//! One secret in as many entries as the keychain needs for it: Windows takes 2,560 bytes in each.
//!
//! The first entry says how many there are and is written last and removed last: a secret whose writer was killed is
//! none, and can be removed whole.

use zeroize::Zeroizing;

use super::Failure;
use crate::secret::Secret;

/// The entries of a keychain.
pub(super) trait Entries {
    /// How many bytes one takes.
    fn limit(&self) -> usize;
    /// Writes one, in place of an older one.
    fn set(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure>;
    /// Reads one, if it is there.
    fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure>;
    /// Removes one; says whether it was there.
    fn remove(&mut self, name: &str) -> Result<bool, Failure>;
}

/// What the first entry begins with: the number of entries.
const DIGITS: usize = 6;

pub(super) fn put(entries: &mut dyn Entries, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let (first, rest) = bytes
        .split_at_checked(entries.limit().saturating_sub(DIGITS))
        .unwrap_or((bytes, &[]));
    let mut count = 1;
    for part in rest.chunks(entries.limit()) {
        entries.set(&part_name(name, count), part)?;
        count += 1;
    }
    let mut head = Zeroizing::new(Vec::with_capacity(DIGITS + first.len()));
    head.extend_from_slice(format!("{count:0DIGITS$}").as_bytes());
    head.extend_from_slice(first);
    entries.set(name, &head)
}

pub(super) fn get(entries: &mut dyn Entries, name: &str) -> Result<Option<Secret>, Failure> {
    let Some(head) = entries.get(name)? else {
        return Ok(None);
    };
    let Some((count, first)) = opened(&head) else {
        return Ok(None);
    };
    let mut parts = vec![Zeroizing::new(first.to_vec())];
    for number in 1..count {
        match entries.get(&part_name(name, number))? {
            Some(part) => parts.push(part),
            None => return Ok(None),
        }
    }
    // Made once in its whole size, so that no secret stays behind in a smaller one.
    let mut whole = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(match String::from_utf8(whole) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            None
        }
    })
}

pub(super) fn remove(entries: &mut dyn Entries, name: &str) -> Result<(), Failure> {
    // What is known of it, and what a killed writer has left beyond that.
    let known = match entries.get(name)? {
        Some(head) => opened(&head).map_or(1, |(count, _)| count),
        None => 1,
    };
    let mut number = 1;
    while entries.remove(&part_name(name, number))? || number < known {
        number += 1;
    }
    entries.remove(name).map(drop)
}

/// A keychain that gives back something else is none.
pub(super) fn require_same(found: Option<&Secret>, wanted: &str) -> Result<(), Failure> {
    match found {
        Some(found) if found.expose() == wanted => Ok(()),
        #[cfg(feature = "keychain")]
        _ => Err(Failure::Refused(
            "it does not give back what it was given".to_owned(),
        )),
        #[cfg(not(feature = "keychain"))]
        _ => Err(Failure::NotBuiltIn),
    }
}

fn opened(head: &[u8]) -> Option<(usize, &[u8])> {
    let (count, first) = head.split_at_checked(DIGITS)?;
    Some((str::from_utf8(count).ok()?.parse().ok()?, first))
}

fn part_name(name: &str, number: usize) -> String {
    format!("{name}#{number}")
}
