//! Values that must never be printed: tokens, codes and client secrets.

use std::alloc::System;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::{Zeroize as _, Zeroizing};
use zeroizing_alloc::ZeroAlloc;

use crate::error::{Error, ErrorCode};

/// Zeroes all memory of the addon when it is freed. Otherwise copies of secrets in HTTP, TLS and JSON libraries would
/// stay in memory. Node and V8 have their own allocators.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

/// A string that has no `Display`, prints redacted under `Debug`, and is zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a string over; the caller keeps no copy.
    pub(crate) fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself, for the one place that sends or stores it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Compares two secrets by their hashes. An attacker cannot choose hashes, so the duration reveals nothing.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    /// A hash that identifies the secret without giving it away.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[self.expose()])
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self::new(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// SHA-256 of secrets, in lower-case hexadecimal: safe to store, compare and print.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of several parts, each delimited so that no two lists collide.
    pub(crate) fn of(parts: &[&str]) -> Self {
        let digest = sha256(&|context| {
            for part in parts {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part.as_bytes());
            }
        });
        Self(hex(digest.as_ref()))
    }

    /// One that was stored.
    pub(crate) fn from_stored(hex: &str) -> Self {
        Self(hex.to_owned())
    }

    /// The hash as 64 hexadecimal digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// SHA-256, base64url without padding (RFC 7636 §4.2 `S256`).
pub(crate) fn sha256_base64url(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(&|context| context.update(text.as_bytes())))
}

/// A hash holds the last bytes it was fed in a buffer on the stack, where [`MEMORY`] zeroes nothing.
fn sha256(feed: &dyn Fn(&mut digest::Context)) -> digest::Digest {
    let digest = hashed(feed);
    write_over_the_stack();
    digest
}

#[inline(never)]
fn hashed(feed: &dyn Fn(&mut digest::Context)) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    feed(&mut context);
    context.finish()
}

/// Covers what a function called just before by the same caller had on the stack.
#[inline(never)]
fn write_over_the_stack() {
    // By words: each write is one instruction that nothing optimizes away.
    let mut room = [0_u64; 512];
    room.zeroize();
}

/// Bytes from the operating system's random source.
///
/// # Errors
/// `STORE_IO` when the operating system has no randomness to give.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::new(
            ErrorCode::StoreIo,
            "The operating system's random source failed. Try again.",
        )
    })?;
    Ok(bytes)
}

/// A random secret of 256 bits in base64url, 43 characters.
///
/// # Errors
/// As [`random`].
pub(crate) fn random_secret() -> Result<Secret, Error> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Secret::from("canary")), "Secret(redacted)");
    }

    #[test]
    fn fingerprints_tell_lists_apart() {
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
        assert_eq!(Fingerprint::of(&["a"]).as_str().len(), 64);
    }

    #[test]
    fn s256_of_the_example_in_rfc_7636_appendix_b() {
        assert_eq!(
            sha256_base64url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn random_secrets_differ() {
        assert_ne!(random_secret(), random_secret());
    }
}
