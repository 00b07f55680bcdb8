//! One file for each program: the row of the table, with where its members and its locks lie.
//!
//! Each was seen with the version that its page in `docs/formats/` names.

mod auth_profiles;
mod claude_code;
mod codex;
mod gemini_cli;
mod kimi_code;
mod mcp_remote;
mod pi;
mod qwen_code;

pub(super) use self::auth_profiles::AUTH_PROFILES;
pub(super) use self::claude_code::CLAUDE_CODE;
pub(super) use self::codex::CODEX;
pub(super) use self::gemini_cli::GEMINI_CLI;
pub(super) use self::kimi_code::KIMI_CODE;
pub(super) use self::mcp_remote::MCP_REMOTE;
pub(super) use self::pi::PI;
pub(super) use self::qwen_code::QWEN_CODE;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::fs::program_lock::{Mark, Protocol};
use crate::fs::symlink;

/// npm's `proper-lockfile`.
const fn proper_lockfile(stale: u64, renewal: u64) -> Protocol {
    protocol(Mark::Folder, stale, renewal)
}

/// In seconds.
const fn protocol(mark: Mark, stale: u64, renewal: u64) -> Protocol {
    Protocol {
        mark,
        stale: Duration::from_secs(stale),
        renewal: Duration::from_secs(renewal),
    }
}

/// `<file>.lock`, beside the file that a link leads to.
fn beside_target(file: &Path) -> Result<PathBuf, Error> {
    let target = symlink::resolve(file)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    Ok(target.with_file_name(name))
}

/// A login that fills the file.
fn whole_file(_: &str) -> Vec<String> {
    Vec::new()
}
