//! One secret in as many entries as the keychain needs for it: Windows allows 2,560 bytes in each.
//!
//! The first entry holds their number, and is written last and removed last. So a secret is incomplete if its writer
//! was killed, and can still be removed whole.

use zeroize::Zeroizing;

use super::failure::Failure;
use crate::secret::Secret;

/// The text that all entries of this library share.
#[cfg(feature = "keychain")]
pub(super) const SERVICE: &str = "clawdbot-plugin-auth";

/// The entries of a keychain.
pub(super) trait Entries {
    /// How many bytes one takes.
    fn limit(&self) -> usize;
    /// Whether it says "done" before what it was given would survive its being killed.
    fn writes_later(&self) -> bool {
        false
    }
    /// Writes one, in place of the one of that name. Where a person would be asked before one is removed, one of
    /// `spent` becomes it.
    fn set(&mut self, name: &str, bytes: &[u8], spent: &[String]) -> Result<(), Failure>;
    /// Reads an entry. `None` means that all keyrings could be asked, and none has it.
    fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure>;
    /// Whether there is such an entry, with the meaning of [`Self::remove`].
    fn has(&mut self, name: &str) -> Result<bool, Failure> {
        Ok(self.get(name)?.is_some())
    }
    /// Removes every entry of that name; says whether there was one. `false` means that the keyring in the name could
    /// be asked, or all keyrings if the name has none.
    fn remove(&mut self, name: &str) -> Result<bool, Failure>;
}

/// The number of digits that begin the first entry: they count the entries.
const DIGITS: usize = 6;

/// The most bytes of a secret: a credential file is not longer.
const LONGEST: usize = 4 * 1024 * 1024;

/// The most entries that a writer can have made, whichever number the first entry holds.
fn most(entries: &dyn Entries) -> usize {
    LONGEST.div_ceil(entries.limit()) + usize::from(entries.limit() <= LONGEST)
}

pub(super) fn put(
    entries: &mut dyn Entries,
    name: &str,
    bytes: &[u8],
    spent: &[String],
) -> Result<(), Failure> {
    let (first, rest) = bytes
        .split_at_checked(entries.limit().saturating_sub(DIGITS))
        .unwrap_or((bytes, &[]));
    let mut count = 1;
    for part in rest.chunks(entries.limit()) {
        entries.set(&part_name(name, count), part, &[])?;
        count += 1;
    }
    let mut head = Zeroizing::new(Vec::with_capacity(DIGITS + first.len()));
    head.extend_from_slice(format!("{count:0DIGITS$}").as_bytes());
    head.extend_from_slice(first);
    entries.set(name, &head, spent)
}

pub(super) fn get(entries: &mut dyn Entries, name: &str) -> Result<Option<Secret>, Failure> {
    let Some(head) = entries.get(name)? else {
        return Ok(None);
    };
    let Some((count, first)) = opened(&head).filter(|(count, _)| *count <= most(entries)) else {
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
    for part in &parts {
        whole.extend_from_slice(part);
    }
    Ok(match String::from_utf8(whole) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            None
        }
    })
}

/// Says whether there was anything of that name.
pub(super) fn remove(entries: &mut dyn Entries, name: &str) -> Result<bool, Failure> {
    let most = most(entries);
    if most > 1 {
        // The entries that the first one counts, and those that a killed writer left beyond them.
        let known = match entries.get(name)? {
            Some(head) => opened(&head).map_or(1, |(count, _)| count.min(most)),
            None => 1,
        };
        let mut number = 1;
        while number < most && (entries.remove(&part_name(name, number))? || number < known) {
            number += 1;
        }
    }
    entries.remove(name)
}

/// The number of parts that an entry names, and the first of them.
pub(super) fn opened(head: &[u8]) -> Option<(usize, &[u8])> {
    let (count, first) = head.split_at_checked(DIGITS)?;
    Some((str::from_utf8(count).ok()?.parse().ok()?, first))
}

fn part_name(name: &str, number: usize) -> String {
    format!("{name}#{number}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Entries of ten bytes, as Windows has them of 2,560; and a writer that dies after some writes.
    #[derive(Default)]
    struct Small {
        entries: BTreeMap<String, Vec<u8>>,
        writes_left: Option<usize>,
        asked: usize,
    }

    impl Entries for Small {
        fn limit(&self) -> usize {
            10
        }

        fn set(&mut self, name: &str, bytes: &[u8], _spent: &[String]) -> Result<(), Failure> {
            assert!(bytes.len() <= self.limit());
            if let Some(left) = &mut self.writes_left {
                let Some(fewer) = left.checked_sub(1) else {
                    return Ok(());
                };
                *left = fewer;
            }
            self.entries.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }

        fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
            Ok(self.entries.get(name).cloned().map(Zeroizing::new))
        }

        fn remove(&mut self, name: &str) -> Result<bool, Failure> {
            self.asked += 1;
            Ok(self.entries.remove(name).is_some())
        }
    }

    fn read(entries: &mut Small) -> Option<String> {
        let secret = get(entries, "a").unwrap()?;
        Some(secret.expose().to_owned())
    }

    proptest! {
        #[test]
        fn what_is_put_comes_back_and_goes_whole(text in "\\PC{0,60}") {
            let mut entries = Small::default();
            put(&mut entries, "a", text.as_bytes(), &[]).unwrap();
            put(&mut entries, "b", b"another", &[]).unwrap();
            prop_assert_eq!(read(&mut entries), Some(text));
            remove(&mut entries, "a").unwrap();
            prop_assert_eq!(read(&mut entries), None);
            remove(&mut entries, "b").unwrap();
            prop_assert_eq!(entries.entries.len(), 0);
        }

        #[test]
        fn what_a_killed_writer_leaves_is_none_and_can_be_removed(text in "[a-z]{5,60}", writes in 0_usize..6) {
            let mut entries = Small { writes_left: Some(writes), ..Small::default() };
            put(&mut entries, "a", text.as_bytes(), &[]).unwrap();
            let is_whole = entries.entries.contains_key("a");
            prop_assert_eq!(read(&mut entries), is_whole.then_some(text));
            remove(&mut entries, "a").unwrap();
            prop_assert_eq!(entries.entries.len(), 0);
        }
    }

    /// An entry that was edited by hand, and says that there are very many.
    #[test]
    fn the_count_of_an_entry_is_believed_as_far_as_a_writer_can_have_made_it() {
        let mut entries = Small::default();
        entries.entries.insert("a".to_owned(), b"999999{".to_vec());
        assert_eq!(read(&mut entries), None);
        entries.asked = 0;
        assert!(remove(&mut entries, "a").unwrap());
        assert!(entries.asked < LONGEST / 10 + 9, "{}", entries.asked);
        assert!(entries.entries.is_empty());
        assert!(!remove(&mut entries, "a").unwrap());
    }

    #[test]
    fn a_missing_or_foreign_part_makes_it_none() {
        let mut entries = Small::default();
        put(&mut entries, "a", b"0123456789abcdef", &[]).unwrap();
        assert_eq!(entries.entries.len(), 3);
        entries.entries.remove("a#2");
        assert_eq!(read(&mut entries), None);
        entries.entries.insert("a".to_owned(), b"foreign".to_vec());
        assert_eq!(read(&mut entries), None);
        remove(&mut entries, "a").unwrap();
        assert!(entries.entries.is_empty());
    }
}
