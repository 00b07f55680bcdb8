//! The connection that requests of one login share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Position;

use crate::time::BootInstant;

use super::endpoint::Endpoint;

/// How long a connection stays open for the next request. Any longer, it would be found dead while a refresh token is
/// on its way.
pub(super) const OPEN: Duration = Duration::from_secs(1);

/// A login's open connection, if it has one. No other login's requests use it. It is closed when this is dropped.
#[derive(Default)]
pub(crate) struct Line(Mutex<Option<Open>>);

struct Open {
    /// A client of its own: its pool is the connection.
    client: reqwest::Client,
    server: String,
    /// On the boot clock: a machine that slept has lost its connections.
    until: BootInstant,
}

impl Line {
    /// Takes the connection to that server, if it still counts as open.
    pub(super) fn take(&self, server: &Endpoint, now: BootInstant) -> Option<reqwest::Client> {
        let open = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let is_there = now < open.until && open.server == origin(server);
        is_there.then_some(open.client)
    }

    /// Leaves the connection to that server open for the next request.
    pub(super) fn leave(&self, client: reqwest::Client, server: String, now: BootInstant) {
        let open = Open {
            client,
            server,
            until: now.plus(OPEN),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
    }
}

/// Scheme, host and port.
pub(super) fn origin(server: &Endpoint) -> &str {
    &server.url()[..Position::BeforePath]
}
