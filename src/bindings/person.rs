//! The person who logs in, as far as a call knows: their session, and the text they paste.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::secret::Secret;

/// The session of the person who logs in.
#[derive(Clone, Copy, Default)]
pub(super) struct Person {
    pub(super) can_paste: bool,
    pub(super) is_remote: Option<bool>,
}

/// The text that a person pasted, on its way from JavaScript to the login that asked for it.
#[derive(Default)]
pub(super) struct Pasted {
    text: Mutex<Option<Secret>>,
    arrived: Notify,
}

impl Pasted {
    pub(super) fn put(&self, text: Secret) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.arrived.notify_one();
    }

    /// The next text, now or when there is one.
    pub(super) async fn next(&self) -> Secret {
        loop {
            let text = self
                .text
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            match text {
                Some(text) => return text,
                None => self.arrived.notified().await,
            }
        }
    }
}
