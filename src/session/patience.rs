//! Requests before a login, repeated while their failures pass, as polls and refreshes are.

use std::time::Duration;

use super::Session;
use crate::error::Error;

const FIRST_WAIT: Duration = Duration::from_secs(1);

impl Session {
    /// Asks until there is an answer that is no passing failure, or until a person has waited long enough: for a
    /// quarter of the time of a request; after a timeout, and where the server names a time, for one and a half.
    pub(super) async fn patiently<T, F>(
        &self,
        timeout: Duration,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let start = self.clock.boot();
        let mut wait = FIRST_WAIT;
        loop {
            // Boxed, because the futures of logins are large.
            let error = match Box::pin(ask()).await {
                Err(error) if error.passes() => error,
                outcome => return outcome,
            };
            let waited = self.clock.boot().since(start);
            let is_told = error.retry_after().is_some() || waited >= timeout;
            let patience = if is_told {
                timeout * 3 / 2
            } else {
                timeout / 4
            };
            // RFC 9110 §10.2.3: Retry-After is "how long the user agent ought to wait".
            let next = error.retry_after().map_or(wait, |told| told.max(wait));
            if waited.saturating_add(next) >= patience {
                return Err(error);
            }
            tokio::time::sleep(next).await;
            wait *= 2;
        }
    }
}
