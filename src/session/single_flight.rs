//! One refresh per credential in this process, for any number of callers. Between processes, and between copies of the
//! addon, the kernel lock does the same.

use std::any::Any;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::error::Error;
use crate::secret::Secret;
use crate::store::credential::Snapshot;

use super::config::AuthConfig;
use super::mutex::lock;
use super::target::Target;

/// Keeps the caller's event loop alive; opaque here.
pub(crate) type Hold = Arc<dyn Any + Send + Sync>;

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Advisory: there is still a valid token.
    OneAttempt,
    /// A caller waits for it.
    Full,
    /// A caller waits for it; the server could not be reached shortly before, so the wait is short.
    Impatient,
}

/// The purpose of a flight. Callers with the same purpose share it; another purpose has its own flight, and the kernel
/// lock orders the two.
#[derive(Clone, PartialEq)]
pub(super) struct Purpose {
    pub(super) config: AuthConfig,
    pub(super) target: Target,
    pub(super) effort: Effort,
    pub(super) rejected: Option<Secret>,
}

pub(super) type Outcome = Result<Snapshot, Error>;

/// The refreshes of one login that are under way.
#[derive(Default)]
pub(super) struct Flights(Vec<Arc<Flight>>);

pub(super) struct Flight {
    purpose: Purpose,
    outcome: watch::Sender<Option<Outcome>>,
    state: Mutex<State>,
    abandoned: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    waiters: usize,
    holds: Vec<Hold>,
}

impl Flights {
    /// Joins the flight of that purpose, or opens one if it may: then the caller has to run it.
    pub(super) fn join(
        &mut self,
        purpose: &Purpose,
        hold: Option<Hold>,
        may_open: bool,
    ) -> Option<(Arc<Flight>, bool)> {
        let joined = self
            .0
            .iter()
            .find(|flight| flight.purpose == *purpose && flight.board(hold.clone()));
        if let Some(flight) = joined {
            return Some((Arc::clone(flight), false));
        }
        if !may_open {
            return None;
        }
        let flight = Arc::new(Flight {
            purpose: purpose.clone(),
            outcome: watch::Sender::new(None),
            state: Mutex::default(),
            abandoned: watch::Sender::new(false),
        });
        flight.board(hold);
        self.0.push(Arc::clone(&flight));
        Some((flight, true))
    }

    /// Whether any flight refreshes that login.
    pub(super) fn is_flying(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn land(&mut self, flight: &Arc<Flight>) {
        self.0.retain(|other| !Arc::ptr_eq(other, flight));
    }
}

impl Flight {
    /// The access token that it is for.
    pub(super) fn target(&self) -> &Target {
        &self.purpose.target
    }

    /// One more waiter; false when the flight was given up by all it had.
    fn board(&self, hold: Option<Hold>) -> bool {
        let mut state = lock(&self.state);
        if *self.abandoned.borrow() {
            return false;
        }
        state.waiters += 1;
        state.holds.extend(hold);
        true
    }

    /// Gives the waiters their outcome.
    pub(super) fn end(&self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Waits for the outcome.
    pub(super) async fn outcome(&self) -> Outcome {
        let mut receiver = self.outcome.subscribe();
        match receiver.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The sender lives as long as the flight, which we hold.
            _ => Err(super::cancellation::aborted()),
        }
    }

    /// Leaves a flight for a caller that aborted. If the last waiter leaves before the request is sent, the flight
    /// ends.
    pub(super) fn leave(&self) {
        let mut state = lock(&self.state);
        state.waiters = state.waiters.saturating_sub(1);
        if state.waiters == 0 {
            self.abandoned.send_replace(true);
        }
    }

    /// Ends when every waiter has aborted.
    pub(super) async fn abandoned(&self) {
        let mut receiver = self.abandoned.subscribe();
        if receiver.wait_for(|abandoned| *abandoned).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The guards that keep the callers' event loops alive, for work that outlasts the flight.
    pub(super) fn holds(&self) -> Vec<Hold> {
        lock(&self.state).holds.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_that_comes_while_a_refresh_is_under_way_joins_it() {
        let config = AuthConfig::parse(json!({ "pluginId": "p", "issuer": "https://a.example" }));
        let purpose = Purpose {
            config: config.unwrap(),
            target: Target::default(),
            effort: Effort::Full,
            rejected: None,
        };
        let mut flights = Flights::default();
        assert!(flights.join(&purpose, None, false).is_none());
        let (first, opened) = flights.join(&purpose, None, true).unwrap();
        assert!(opened && flights.is_flying());
        let (second, opened) = flights.join(&purpose, None, false).unwrap();
        assert!(!opened && Arc::ptr_eq(&first, &second));
        // The flight is over: the next caller opens another.
        flights.land(&first);
        assert!(!flights.is_flying());
        assert!(flights.join(&purpose, None, true).unwrap().1);
    }
}
