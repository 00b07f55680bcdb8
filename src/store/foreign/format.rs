//! The table of the programs.

use crate::store::credentials_format::Format;

use super::formats::{
    AUTH_PROFILES, CLAUDE_CODE, CODEX, GEMINI_CLI, KIMI_CODE, MCP_REMOTE, PI, QWEN_CODE,
};
use super::program::{Home, Program};

impl Format {
    pub(super) fn program(self) -> &'static Program {
        match self {
            Self::AuthProfiles => &AUTH_PROFILES,
            Self::ClaudeCode => &CLAUDE_CODE,
            Self::Codex => &CODEX,
            Self::QwenCode => &QWEN_CODE,
            Self::Pi => &PI,
            Self::KimiCode => &KIMI_CODE,
            Self::McpRemote => &MCP_REMOTE,
            Self::GeminiCli => &GEMINI_CLI,
        }
    }

    /// Where its program keeps it.
    pub(super) fn home(self) -> &'static Home {
        &self.program().home
    }
}
