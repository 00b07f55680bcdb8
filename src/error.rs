//! The one error of every layer: a stable code, a sentence for a person, and what a caller may do next.
//!
//! Never put a token, a secret or a response body into a message: text from a server goes through
//! `oauth::server_text` first.

use std::fmt;
use std::time::Duration;

/// The kind of failure: the stable `code` of the JavaScript `AuthError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// An option is missing, unknown, of the wrong type or out of range.
    InvalidConfig,
    /// The server could not be reached, or the connection broke.
    Network,
    /// The server did not answer in time.
    Timeout,
    /// The server answered, but with a failure of its own (5xx, 429, a gateway's page).
    ServerError,
    /// The server answered something that is not OAuth.
    InvalidResponse,
    /// Metadata or a credential belongs to another issuer, token endpoint or client.
    IssuerMismatch,
    /// The server offers no device authorization endpoint.
    DeviceFlowUnsupported,
    /// Dynamic client registration was refused.
    RegistrationFailed,
    /// The server refused with an OAuth error that has no code of its own here.
    OauthError,
    /// The person declined.
    AccessDenied,
    /// The code was not confirmed in time.
    DeviceCodeExpired,
    /// The caller's `AbortSignal` fired.
    Aborted,
    /// There is no usable credential: a person has to log in.
    LoginRequired,
    /// A resource asks for scopes that the login lacks.
    ScopeRequired,
    /// Another process holds the credential's lock.
    StoreLocked,
    /// The credential file is damaged.
    StoreCorrupt,
    /// The credential file was written by a newer version.
    StoreVersion,
    /// The credential file or its folder cannot be read or written.
    StoreIo,
}

impl ErrorCode {
    const ALL: [Self; 18] = [
        Self::InvalidConfig,
        Self::Network,
        Self::Timeout,
        Self::ServerError,
        Self::InvalidResponse,
        Self::IssuerMismatch,
        Self::DeviceFlowUnsupported,
        Self::RegistrationFailed,
        Self::OauthError,
        Self::AccessDenied,
        Self::DeviceCodeExpired,
        Self::Aborted,
        Self::LoginRequired,
        Self::ScopeRequired,
        Self::StoreLocked,
        Self::StoreCorrupt,
        Self::StoreVersion,
        Self::StoreIo,
    ];

    /// The name that JavaScript sees.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::Network => "NETWORK",
            Self::Timeout => "TIMEOUT",
            Self::ServerError => "SERVER_ERROR",
            Self::InvalidResponse => "INVALID_RESPONSE",
            Self::IssuerMismatch => "ISSUER_MISMATCH",
            Self::DeviceFlowUnsupported => "DEVICE_FLOW_UNSUPPORTED",
            Self::RegistrationFailed => "REGISTRATION_FAILED",
            Self::OauthError => "OAUTH_ERROR",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::DeviceCodeExpired => "DEVICE_CODE_EXPIRED",
            Self::Aborted => "ABORTED",
            Self::LoginRequired => "LOGIN_REQUIRED",
            Self::ScopeRequired => "SCOPE_REQUIRED",
            Self::StoreLocked => "STORE_LOCKED",
            Self::StoreCorrupt => "STORE_CORRUPT",
            Self::StoreVersion => "STORE_VERSION",
            Self::StoreIo => "STORE_IO",
        }
    }

    /// The code of that name, as read back from a credential file.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    fn retryable_by_nature(self) -> bool {
        matches!(
            self,
            Self::Network | Self::Timeout | Self::ServerError | Self::StoreLocked
        )
    }
}

/// The authorization server's error, cleaned of control characters and of this library's secrets (RFC 6749 §5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OauthError {
    /// `error`
    pub(crate) error: String,
    /// `error_description`
    pub(crate) description: Option<String>,
    /// `error_uri`
    pub(crate) uri: Option<String>,
}

/// A failure that a caller can act on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Error(Box<Details>);

#[derive(Clone, PartialEq, Eq)]
struct Details {
    code: ErrorCode,
    message: String,
    retryable: bool,
    needs_login: bool,
    oauth: Option<OauthError>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    scopes: Option<Vec<String>>,
    passes: Option<bool>,
}

impl Error {
    /// Creates an error; its code decides `retryable` and `needs_login` until they are set.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            code,
            message: message.into(),
            retryable: code.retryable_by_nature(),
            needs_login: matches!(code, ErrorCode::LoginRequired | ErrorCode::ScopeRequired),
            oauth: None,
            status: None,
            retry_after: None,
            scopes: None,
            passes: None,
        }))
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds a sentence, which begins with a space.
    #[must_use]
    pub(crate) fn followed_by(mut self, sentence: &str) -> Self {
        self.0.message.push_str(sentence);
        self
    }

    /// States that a login fixes it.
    #[must_use]
    pub(crate) fn needing_login(mut self) -> Self {
        self.0.needs_login = true;
        self
    }

    /// Adds what the server said.
    #[must_use]
    pub(crate) fn with_oauth(mut self, oauth: OauthError) -> Self {
        self.0.oauth = Some(oauth);
        self
    }

    /// Adds the HTTP status.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds how long the server asked us to wait.
    #[must_use]
    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// Adds the scopes that are required.
    #[must_use]
    pub(crate) fn with_scopes(mut self, scopes: Vec<String>) -> Self {
        self.0.scopes = Some(scopes);
        self
    }

    /// The scopes that are required.
    pub(crate) fn scopes(&self) -> Option<&[String]> {
        self.0.scopes.as_deref()
    }

    /// Sets whether the same request may succeed soon, independent of the code that a caller sees.
    #[must_use]
    pub(crate) fn passing(mut self, passes: bool) -> Self {
        self.0.passes = Some(passes);
        self
    }

    /// The stable code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// A sentence: the failure, and the next step for the user.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub(crate) fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the same request may fare better soon.
    pub(crate) fn passes(&self) -> bool {
        self.0.passes.unwrap_or(self.0.retryable)
    }

    /// Whether a login fixes it.
    pub(crate) fn needs_login(&self) -> bool {
        self.0.needs_login
    }

    /// The server's OAuth error, if it sent one.
    pub(crate) fn oauth(&self) -> Option<&OauthError> {
        self.0.oauth.as_ref()
    }

    /// The HTTP status, if the server answered.
    pub(crate) fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the server asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_that_reads_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::from_name("NO_SUCH_CODE"), None);
    }
}
