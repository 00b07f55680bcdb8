//! How often one refresh token is sent (docs/design.md 3.3): a request that surely did not arrive is sent again, one
//! that may have arrived is replayed once at most.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::http::HttpClient;
use crate::http::endpoint::Endpoint;
use crate::oauth::refresh::{RefreshFailure, RefreshRequest, refresh};
use crate::oauth::token_response::TokenResponse;
use crate::time::BootInstant;

use super::Session;
use super::single_flight::Effort;

/// The whole critical section: a lock is never held longer for the network's sake.
pub(super) const CRITICAL_SECTION: Duration = Duration::from_secs(45);

/// An attempt with less time than this might lose the answer, and with it the only refresh token there is.
const LEAST_TIME: Duration = Duration::from_secs(5);

const WAITS_WHEN_NOT_SENT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
const WAIT_BEFORE_REPLAY: Duration = Duration::from_secs(1);

impl Session {
    /// Sends the refresh token until there is an answer, or no attempt fits before the deadline.
    pub(super) async fn attempt_refresh(
        &self,
        http: &dyn HttpClient,
        request: &RefreshRequest<'_>,
        request_timeout: Duration,
        effort: Effort,
        deadline: BootInstant,
    ) -> Result<TokenResponse, RefreshFailure> {
        let mut not_sent = WAITS_WHEN_NOT_SENT
            .into_iter()
            .filter(|_| effort == Effort::Full);
        let mut replays = 1;
        let remaining = || deadline.since(self.clock.boot());
        if remaining() < LEAST_TIME {
            return Err(RefreshFailure::NotSent(out_of_time(request.endpoint)));
        }
        loop {
            let timeout = request_timeout.min(remaining());
            let failure = match refresh(http, &*self.clock, request, timeout).await {
                Ok(response) => return Ok(response),
                Err(failure) if effort == Effort::OneAttempt => return Err(failure),
                Err(failure) => failure,
            };
            let wait = match &failure {
                // Nothing left the machine, so nothing was spent.
                RefreshFailure::NotSent(error) if error.is_retryable() => not_sent.next(),
                // There is no other refresh token, and many servers have a grace window for a replay.
                RefreshFailure::Lost(_) if replays > 0 => {
                    replays -= 1;
                    Some(WAIT_BEFORE_REPLAY)
                }
                // RFC 9110 §10.2.3: Retry-After is "how long the user agent ought to wait". Zero is no leave to hammer.
                RefreshFailure::Busy(error) if replays > 0 => {
                    replays -= 1;
                    error.retry_after().map(|wait| wait.max(WAIT_BEFORE_REPLAY))
                }
                _ => None,
            };
            match wait {
                Some(wait) if wait.saturating_add(LEAST_TIME) <= remaining() => {
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(failure),
            }
        }
    }
}

/// The critical section has no time left for a request.
fn out_of_time(endpoint: &Endpoint) -> Error {
    Error::new(
        ErrorCode::Timeout,
        format!(
            "{} was not asked in time: finding it or preparing the store took too long. Try again.",
            endpoint.host()
        ),
    )
}
