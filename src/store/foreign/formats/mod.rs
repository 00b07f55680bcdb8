//! The table of the programs, and one file for each: the places of its members, and its locks.
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

use crate::store::credentials_format::Format;

use super::program::{Home, Program};

impl Format {
    pub(super) fn program(self) -> &'static Program {
        match self {
            Self::AuthProfiles => &auth_profiles::AUTH_PROFILES,
            Self::ClaudeCode => &claude_code::CLAUDE_CODE,
            Self::Codex => &codex::CODEX,
            Self::QwenCode => &qwen_code::QWEN_CODE,
            Self::Pi => &pi::PI,
            Self::KimiCode => &kimi_code::KIMI_CODE,
            Self::McpRemote => &mcp_remote::MCP_REMOTE,
            Self::GeminiCli => &gemini_cli::GEMINI_CLI,
        }
    }

    /// The place where its program keeps it.
    pub(super) fn home(self) -> &'static Home {
        &self.program().home
    }
}
