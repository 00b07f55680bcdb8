//! The end of a flight.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::store::key::Key;

use super::Session;
use super::cancellation::aborted;
use super::single_flight::{Flight, Outcome};

/// Ends its flight when dropped, a panic included: the waiters get the outcome, and their event loops may end.
pub(super) struct Landing {
    session: Arc<Session>,
    key: Key,
    flight: Arc<Flight>,
    pub(super) outcome: Outcome,
}

impl Landing {
    pub(super) fn new(session: &Arc<Session>, key: Key, flight: Arc<Flight>) -> Self {
        Self {
            session: Arc::clone(session),
            key,
            flight,
            outcome: Err(Error::new(
                ErrorCode::StoreIo,
                "The refresh stopped unexpectedly. Nothing that was stored is lost; try again.",
            )),
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(aborted()));
        self.session.logins.of(&self.key, |login| {
            let token = login.token(self.flight.target());
            token.flights.land(&self.flight);
        });
        self.flight.end(outcome);
    }
}
