//! Reads a file that the config names, with any owner and through any links, because secrets are mounted so.

use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::blocking::MayBlock;

/// No key is larger.
const MAX_BYTES: u64 = 64 * 1024;

/// The first 64 KiB of the file.
pub(crate) fn read(path: &Path, _: MayBlock) -> io::Result<Zeroizing<Vec<u8>>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where such files are opened"
    )]
    let file = std::fs::File::open(path)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
