//! Whose format a file has: the table of the programs.

use super::formats::{
    AUTH_PROFILES, CLAUDE_CODE, CODEX, GEMINI_CLI, KIMI_CODE, MCP_REMOTE, PI, QWEN_CODE,
};
use super::program::{Home, Program};

/// Whose format it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// clawdbot's `auth-profiles.json`
    AuthProfiles,
    /// Claude Code's `.credentials.json`
    ClaudeCode,
    /// Codex' `auth.json`
    Codex,
    /// Qwen Code's `oauth_creds.json`
    QwenCode,
    /// pi's `auth.json`
    Pi,
    /// Kimi Code's `kimi-code.json`
    KimiCode,
    /// mcp-remote's `<md5>_tokens.json`
    McpRemote,
    /// Gemini CLI's `oauth_creds.json`
    GeminiCli,
}

impl Format {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::AuthProfiles,
        Self::ClaudeCode,
        Self::Codex,
        Self::QwenCode,
        Self::Pi,
        Self::KimiCode,
        Self::McpRemote,
        Self::GeminiCli,
    ];

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
    pub(in crate::store) fn home(self) -> &'static Home {
        &self.program().home
    }

    /// Its name in a config.
    pub(crate) fn name(self) -> &'static str {
        self.program().name
    }

    /// Whether one file holds several logins, each under a name of its own.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::AuthProfiles | Self::Pi)
    }
}
