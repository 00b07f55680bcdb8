//! A refresh as its callers share it: they join the one that is under way, or open it, and wait for its outcome.

use std::sync::Arc;

use crate::error::ErrorCode;
use crate::store::credential::Snapshot;
use crate::store::location::Location;

use super::Session;
use super::cancellation::Cancellation;
use super::forced_refreshes::ForcedRefreshes;
use super::refusals::login_required;
use super::single_flight::{Flight, Hold, Outcome, Purpose};

impl Session {
    /// Joins or opens the refresh of that purpose and waits for its outcome.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        location: &Location,
        purpose: Purpose,
        hold: Option<Hold>,
        cancellation: &Cancellation,
    ) -> Outcome {
        let joined = self.logins.of(&location.key(), |login| {
            let token = login.token(&purpose.target);
            token.flights.join(&purpose, hold, true)
        });
        let Some((flight, is_ours)) = joined else {
            return Err(login_required(&purpose.config));
        };
        self.flown(location, purpose, &flight, is_ours, cancellation)
            .await
    }

    /// Joins a refresh that a rejected token forces, or opens it; none where none may be forced now.
    pub(super) async fn replace_rejected(
        self: &Arc<Self>,
        location: &Location,
        purpose: Purpose,
        (was_accepted, hold): (bool, Option<Hold>),
        credential: &Snapshot,
        cancellation: &Cancellation,
    ) -> Option<Outcome> {
        let now = self.clock.boot();
        let (flight, is_ours) = self.logins.of(&location.key(), |login| {
            let token = login.token(&purpose.target);
            if was_accepted {
                token.forced = ForcedRefreshes::default();
            }
            let may_open = !credential.is_refreshable() || token.forced.may_force(now);
            token.flights.join(&purpose, hold, may_open)
        })?;
        let outcome = self.flown(location, purpose, &flight, is_ours, cancellation);
        Some(outcome.await)
    }

    /// Runs a flight if this caller opened it, and waits for its outcome. Only an abort leaves the flight; a caller
    /// that stops waiting for another reason lets it continue.
    async fn flown(
        self: &Arc<Self>,
        location: &Location,
        purpose: Purpose,
        flight: &Arc<Flight>,
        is_ours: bool,
        cancellation: &Cancellation,
    ) -> Outcome {
        if is_ours {
            drop(tokio::spawn(Arc::clone(self).fly(
                location.clone(),
                purpose,
                Arc::clone(flight),
            )));
        }
        let outcome = cancellation.guard(flight.outcome()).await;
        if outcome
            .as_ref()
            .is_err_and(|error| error.code() == ErrorCode::Aborted)
        {
            flight.leave();
        }
        outcome
    }
}
