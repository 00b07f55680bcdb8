//! The words of `credentialsFormat`: the program in the format of which a login is kept.

/// The program that defines the format.
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

    /// The name of the format in a config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AuthProfiles => "auth-profiles",
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::QwenCode => "qwen-code",
            Self::Pi => "pi",
            Self::KimiCode => "kimi-code",
            Self::McpRemote => "mcp-remote",
            Self::GeminiCli => "gemini-cli",
        }
    }

    /// Whether one file holds several logins, each under a name of its own.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::AuthProfiles | Self::Pi)
    }
}
