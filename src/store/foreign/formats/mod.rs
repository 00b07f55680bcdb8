//! One file for each program: its row of the table, with the places of its members and its locks.
//!
//! Each was checked with the version that its page in `docs/reference/formats/` names.

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
