//! Content codings (RFC 9110 §8.4). No request asks for one, but caches and proxies on the way apply some anyway. gzip
//! and zlib are known by their first bytes, with or without a header that names them.

use zeroize::Zeroizing;

use super::inflate::inflate;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Decoded, it is larger than allowed.
    TooLarge,
    /// The body is damaged, or cut short.
    Broken,
}

/// No DEFLATE stream is denser.
const DENSEST: usize = 1032;

/// Decompresses a body to at most that size; `None` if the body is not compressed. `coding`: the value of
/// `Content-Encoding`.
pub(super) fn decode(
    body: &[u8],
    coding: &str,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, Unreadable> {
    let Some(outer) = decode_once(body, coding, most)? else {
        return Ok(None);
    };
    // Two hops, each of which compressed.
    let inner = decode_once(&outer, "", most)?;
    Ok(Some(inner.unwrap_or(outer)))
}

fn decode_once(
    body: &[u8],
    coding: &str,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, Unreadable> {
    let compressed = match *body {
        [0x1f, 0x8b, ..] => return gunzip(body, most).map(Some),
        // RFC 1950 §2.2: CM = 8 "denotes the "deflate" compression method", and "CMF and FLG, when viewed as a 16-bit
        // unsigned integer …, is a multiple of 31".
        [method, flags, ref rest @ ..]
            if method & 15 == 8 && u16::from_be_bytes([method, flags]) % 31 == 0 =>
        {
            rest
        }
        // RFC 9110 §8.4.1.2: 'Some non-conformant implementations send the "deflate" compressed data without the zlib
        // wrapper.'
        _ if coding.trim().eq_ignore_ascii_case("deflate") => body,
        _ => return Ok(None),
    };
    let room = most.min(compressed.len().saturating_mul(DENSEST));
    let mut decoded = Zeroizing::new(Vec::with_capacity(room));
    // A body that cannot be inflated was plain text.
    Ok(inflate(compressed, &mut decoded, room).map(|_| decoded))
}

/// Decodes the members of gzip data (RFC 1952 §2.2: "a series of "members"") of at most that size in all.
fn gunzip(body: &[u8], most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    // Room for all of it: growing would leave a copy of the tokens behind.
    let room = most.min(body.len().saturating_mul(DENSEST));
    let mut decoded = Zeroizing::new(Vec::with_capacity(room));
    let mut members = body;
    loop {
        members = match gunzip_member(members, &mut decoded, room) {
            Some(rest) => rest,
            None if decoded.len() == most => return Err(Unreadable::TooLarge),
            None => return Err(Unreadable::Broken),
        };
        // Some are padded.
        if !members.starts_with(&[0x1f, 0x8b]) {
            return Ok(decoded);
        }
    }
}

/// Decodes the first member, and gives what follows it.
fn gunzip_member<'a>(body: &'a [u8], decoded: &mut Vec<u8>, room: usize) -> Option<&'a [u8]> {
    let before = decoded.len();
    let trailer = inflate(after_header(body)?, decoded, room)?;
    // RFC 1952 §2.3.1 ISIZE: "the size of the original (uncompressed) input data modulo 2^32", after CRC32.
    let (_, size) = trailer.split_first_chunk::<4>()?;
    let (size, rest) = size.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (decoded.len() - before == size).then_some(rest)
}

/// RFC 1952 §2.3: ten bytes, then what the flags announce.
fn after_header(body: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let (head, mut rest) = body.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *head else {
        return None;
    };
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"access_token":"new"}` as gzip makes it, with a file name; then without one.
    const NAMED: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x08, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0x61, 0x2e, 0x6a, 0x73, 0x6f,
        0x6e, 0x00, 0xab, 0x56, 0x4a, 0x4c, 0x4e, 0x4e, 0x2d, 0x2e, 0x8e, 0x2f, 0xc9, 0xcf, 0x4e,
        0xcd, 0x53, 0xb2, 0x52, 0xca, 0x4b, 0x2d, 0x57, 0xaa, 0x05, 0x00, 0x1d, 0xf5, 0xe0, 0xd7,
        0x16, 0x00, 0x00, 0x00,
    ];
    const PLAIN: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0x4c, 0x4e,
        0x4e, 0x2d, 0x2e, 0x8e, 0x2f, 0xc9, 0xcf, 0x4e, 0xcd, 0x53, 0xb2, 0x52, 0xca, 0x4b, 0x2d,
        0x57, 0xaa, 0x05, 0x00, 0x1d, 0xf5, 0xe0, 0xd7, 0x16, 0x00, 0x00, 0x00,
    ];
    const TEXT: &[u8] = br#"{"access_token":"new"}"#;

    #[test]
    fn a_member_is_decoded_with_any_header() {
        for member in [NAMED, PLAIN] {
            assert_eq!(*gunzip(member, 1000).unwrap(), TEXT);
        }
        // RFC 1952 §2.3: FEXTRA, and FHCRC.
        let mut extra = PLAIN.to_vec();
        extra[3] = 4 | 2;
        extra.splice(10..10, [3, 0, b'a', b'b', b'c', 0, 0]);
        assert_eq!(*gunzip(&extra, 1000).unwrap(), TEXT);
    }

    #[test]
    fn members_are_read_one_after_the_other() {
        let two = [NAMED, PLAIN].concat();
        assert_eq!(*gunzip(&two, 1000).unwrap(), TEXT.repeat(2));
        assert_eq!(
            *gunzip(&[&two, &[0; 7][..]].concat(), 1000).unwrap(),
            TEXT.repeat(2)
        );
        assert_eq!(gunzip(&two, 2 * TEXT.len() - 1), Err(Unreadable::TooLarge));
        assert_eq!(gunzip(&two[..two.len() - 1], 1000), Err(Unreadable::Broken));
    }

    #[test]
    fn what_is_cut_damaged_or_too_large_is_refused() {
        for length in 0..PLAIN.len() {
            assert!(gunzip(&PLAIN[..length], 1000).is_err(), "{length}");
        }
        assert_eq!(gunzip(PLAIN, TEXT.len() - 1), Err(Unreadable::TooLarge));
        // The body holds more than its header says.
        let mut liar = PLAIN.to_vec();
        let at = liar.len() - 4;
        liar[at] = 3;
        assert_eq!(gunzip(&liar, 1000), Err(Unreadable::Broken));
        liar[at] = 200;
        assert_eq!(gunzip(&liar, 1000), Err(Unreadable::Broken));
        assert_eq!(gunzip(TEXT, 1000), Err(Unreadable::Broken));
    }

    #[test]
    fn what_is_compressed_is_known_by_its_bytes() {
        let decoded = |body: &[u8], coding| {
            decode(body, coding, 1000)
                .unwrap()
                .map(|body| body.to_vec())
        };
        let raw = &PLAIN[10..PLAIN.len() - 8];
        let zlib = [&[0x78, 0x9c][..], raw, &[0x5d, 0xfc, 0x07, 0xf7]].concat();
        for (body, coding) in [
            (PLAIN, "gzip"),
            (PLAIN, ""),
            (PLAIN, "br"),
            (&zlib, "deflate"),
            (&zlib, ""),
            (raw, " Deflate"),
        ] {
            assert_eq!(decoded(body, coding).as_deref(), Some(TEXT), "{coding}");
        }
        for (body, coding) in [
            (TEXT, ""),
            (TEXT, "gzip"),
            (TEXT, "deflate"),
            (b"", "deflate"),
            (b"x^ is a text", ""),
            (raw, ""),
            (&[0x8b, 0x05, 0x80, 0x7b, 0x7d, 0x03], "br"),
        ] {
            assert_eq!(decoded(body, coding), None, "{coding}");
        }
        // A small bomb is refused as well.
        assert_eq!(decode(&zlib, "", TEXT.len() - 1), Ok(None));
    }

    #[test]
    fn what_was_compressed_twice_is_decoded_twice() {
        // PLAIN once more, in one stored block.
        let length = u8::try_from(PLAIN.len()).unwrap();
        let mut twice = PLAIN[..10].to_vec();
        twice.extend([1, length, 0, !length, 0xff]);
        twice.extend(PLAIN);
        twice.extend([0, 0, 0, 0, length, 0, 0, 0]);
        let decoded = decode(&twice, "gzip, gzip", 1000).unwrap().unwrap();
        assert_eq!(*decoded, TEXT);
    }
}
