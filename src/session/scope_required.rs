//! A resource that asks for more than the login has (RFC 6750 §3.1 `insufficient_scope`).

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::blocking;
use crate::error::{Error, ErrorCode};
use crate::oauth::challenge::is_scope;
use crate::store::credential::Snapshot;
use crate::store::location::Location;

use super::Session;
use super::config::AuthConfig;
use super::refusals::whose;
use super::scopes::is_granted;

/// For the lock: the next refusal notes it as well.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Session {
    /// Notes what is missing for the next login, and refuses. Where nothing is missing, no login would help.
    pub(super) async fn require_scopes(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: &Location,
        credential: &Snapshot,
        scope: &str,
    ) -> Result<(), Error> {
        let scopes = scope.split(' ').filter(|scope| is_scope(scope));
        let scopes: Vec<String> = scopes.map(str::to_owned).collect();
        let login = whose(config);
        if scopes.is_empty() {
            return Err(Error::new(
                ErrorCode::ScopeRequired,
                format!(
                    "The service refused the login of {login} for want of scope and does not say which: add it to `scopes`, \
                     then log in again."
                ),
            )
            .with_scopes(scopes));
        }
        let granted = credential.scopes();
        let has = |wanted: &String| {
            granted.is_some_and(|granted| is_granted(wanted, granted, credential.is_refreshable()))
        };
        if scopes.iter().all(has) {
            return Ok(());
        }
        let mut required = credential.required_scopes().to_vec();
        let known = required.len();
        for scope in &scopes {
            if !required.contains(scope) {
                required.push(scope.clone());
            }
        }
        if required.len() > known {
            // Best effort: the refusal is reported even if the note fails.
            let lock = self.lock(location, config.lock_timeout.min(LONGEST_WAIT));
            if let Ok(mut locked) = lock.await {
                drop(blocking(move |may| locked.record_required_scopes(&required, may)).await);
            }
        }
        Err(Error::new(
            ErrorCode::ScopeRequired,
            format!(
                "The login of {login} lacks what the service asks for ({}). Log in again to add it.",
                scopes.join(", ")
            ),
        )
        .with_scopes(scopes))
    }
}
