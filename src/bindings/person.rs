//! The person who logs in: what a call knows of them, and what they paste.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::secret::Secret;

/// What a login knows of the person.
#[derive(Clone, Copy, Default)]
pub(super) struct Person {
    pub(super) can_paste: bool,
    pub(super) is_remote: Option<bool>,
}

/// What a person pasted, on its way from JavaScript to the login that asked.
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
