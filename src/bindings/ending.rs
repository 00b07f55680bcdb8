//! Work to finish before a process ends, or before a host unloads a plugin.

use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use super::listener::{Listener, ListenerFunction};
use super::operation::start;
use super::payload::Payload;
use super::process::session;

/// Blocks until every refresh that was sent is saved, for at most the given milliseconds. From then on no refresh is
/// sent, until the next call.
#[napi(skip_typescript)]
pub fn leave(limit: u32) {
    session().leave(milliseconds(limit));
}

/// Resolves when every refresh that was sent is saved, or after the given milliseconds.
#[napi(skip_typescript)]
pub fn settled(limit: u32, listener: ListenerFunction<'_>) -> napi::Result<()> {
    const NOTHING: Payload = Payload::H(None);
    if session().is_settled() {
        // Starts no thread if there is none.
        Listener::new(&listener, Arc::default())?.settle(Ok(NOTHING));
        return Ok(());
    }
    let wait = |_, _| async move {
        session().settled(milliseconds(limit)).await?;
        Ok(NOTHING)
    };
    start(&listener, Ok(wait)).map(drop)
}

/// Closes the descriptors of credential files that were replaced; true while any other is held.
#[napi(skip_typescript)]
pub fn let_go() -> bool {
    session().let_go()
}

fn milliseconds(limit: u32) -> Duration {
    Duration::from_millis(limit.into())
}
