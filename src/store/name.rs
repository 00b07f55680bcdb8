//! Names of plugins and profiles as names of files: one to one, on every file system.
//!
//! Bytes outside `[a-z0-9._-]` become `%XX`, so that `A` and `a` stay apart where case does not count, and so do a
//! leading or trailing dot and the first letter of what Windows reserves (`con`, `com1.txt`): nothing is special.

use std::borrow::Cow;

/// The profile that a config without one means.
pub(crate) const DEFAULT_PROFILE: &str = "default";

/// Longest encoded name. File systems allow 255 bytes, and temp, lock and corrupt names add up to 40.
pub(super) const MAX_ENCODED: usize = 200;

/// The name of a file or folder for that name.
pub(super) fn encode(name: &str) -> Cow<'_, str> {
    if stays(name) {
        return name.into();
    }
    let last = name.len().saturating_sub(1);
    let reserved = is_reserved(name);
    let mut encoded = String::with_capacity(name.len());
    for (place, byte) in name.bytes().enumerate() {
        if is_kept(byte, place, last) && (place > 0 || !reserved) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(hex_digit(byte >> 4));
            encoded.push(hex_digit(byte & 15));
        }
    }
    encoded.into()
}

/// Whether that name is its own encoding, as nearly all are.
fn stays(name: &str) -> bool {
    let last = name.len().saturating_sub(1);
    let mut bytes = name.bytes().enumerate();
    bytes.all(|(place, byte)| is_kept(byte, place, last)) && !is_reserved(name)
}

fn is_kept(byte: u8, place: usize, last: usize) -> bool {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => true,
        b'.' => place != 0 && place != last,
        _ => false,
    }
}

/// The name that encodes to exactly this; none for any other file name.
pub(super) fn decode(encoded: &str) -> Option<String> {
    if stays(encoded) {
        return Some(encoded.to_owned());
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name) == encoded).then_some(name)
}

/// Windows' devices, with any extension.
fn is_reserved(name: &str) -> bool {
    // Nearly all other names are known by their first letter.
    if !name.starts_with(['a', 'c', 'l', 'n', 'p']) {
        return false;
    }
    let stem = name.split('.').next().unwrap_or_default();
    match stem {
        "con" | "prn" | "aux" | "nul" => true,
        _ => ["com", "lpt"].into_iter().any(|device| {
            stem.strip_prefix(device)
                .is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
        }),
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// Whether a name is one folder level as it is.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples() {
        for (name, encoded) in [
            ("my-memory", "my-memory"),
            ("@scope/name", "%40scope%2Fname"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("...", "%2E.%2E"),
            (".hidden", "%2Ehidden"),
            ("trailing.", "trailing%2E"),
            ("a.json", "a.json"),
            ("A", "%41"),
            ("a%41", "a%2541"),
            ("con", "%63on"),
            ("con.tar.gz", "%63on.tar.gz"),
            ("lpt9", "%6Cpt9"),
            ("com10", "com10"),
            ("console", "console"),
            ("ü", "%C3%BC"),
            ("a b", "a%20b"),
            ("a\u{0}", "a%00"),
            ("C:\\x", "%43%3A%5Cx"),
        ] {
            assert_eq!(encode(name), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_we_never_write_is_foreign() {
        for foreign in [
            "A", "%61", "%2e", "con", ".", "a.", "%", "%4", "%ZZ", "%FF", "a b", ".a", "%+1",
        ] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_is_safe(name in "\\PC{1,40}|[a-zA-Z.%/\\\\:-]{1,12}|(con|aux|com[0-9]|lpt1|nul)(\\.[a-z]{0,3})?") {
            let encoded = encode(&name);
            prop_assert_eq!(decode(&encoded), Some(name.clone()));
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'%' | b'A'..=b'F')));
            prop_assert!(!encoded.starts_with('.') && !encoded.ends_with('.'));
            prop_assert!(!is_reserved(&encoded.to_ascii_lowercase()));
        }

        #[test]
        fn names_stay_apart_where_case_does_not_count(a in "[aAbB.%_/]{1,4}", b in "[aAbB.%_/]{1,4}") {
            prop_assert_eq!(a == b, encode(&a).eq_ignore_ascii_case(&encode(&b)));
        }
    }
}
