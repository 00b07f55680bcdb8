//! A rotated credential that could not be saved: it lives here, under its lock, until the disk takes it
//! (docs/design.md 3.3).

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::blocking;
use crate::store::credential::Snapshot;
use crate::store::key::Key;
use crate::store::outcome::{SaveFailure, Saved};

use super::Session;
use super::handover::{Handover, Save};
use super::login_state::Unsaved;
use super::mutex::lock;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Session {
    /// Keeps the lock and the credential, and goes on trying to save. Others get `STORE_LOCKED` meanwhile.
    pub(super) fn keep_saving(self: &Arc<Self>, key: Key, save: Save) -> Snapshot {
        let snapshot = save.credential.snapshot();
        let handover = Arc::<Handover>::default();
        let unsaved = Unsaved {
            credential: snapshot.clone(),
            cause: save.cause.clone(),
            handover: Arc::clone(&handover),
        };
        self.logins.of(&key, |login| login.unsaved = Some(unsaved));
        let session = Arc::clone(self);
        drop(tokio::spawn(async move {
            session.save_in_the_end(&key, save, &handover).await;
            handover.is_over.send_replace(true);
        }));
        snapshot
    }

    /// Takes the credential that this process could not save yet, with its lock. The caller saves it, gives it back,
    /// or makes it worthless.
    pub(super) async fn take_over(&self, key: &Key) -> Option<Save> {
        let handover = self.logins.unsaved(key)?.handover;
        handover.wanted.notify_one();
        let mut receiver = handover.is_over.subscribe();
        let is_over = receiver.wait_for(|is_over| *is_over).await.is_ok();
        is_over.then(|| lock(&handover.left).take()).flatten()
    }

    async fn save_in_the_end(&self, key: &Key, save: Save, handover: &Handover) {
        let Save {
            mut locked,
            mut reserved,
            credential,
            client,
            config,
            mut cause,
            unsettled,
            holds,
        } = save;
        let mut wait = FIRST_WAIT;
        loop {
            let text = format!(
                "a process that could not save a refreshed login and keeps trying: {}",
                cause.message()
            );
            let noting = blocking(move |may| {
                locked.note(&text, may);
                locked
            });
            // A panic took the lock with it: there is nothing left to save under.
            let Ok(still_locked) = noting.await else {
                break;
            };
            locked = still_locked;
            let pause = tokio::time::timeout(wait, handover.wanted.notified());
            if pause.await.is_ok() {
                self.logins.of(key, |login| login.unsaved = None);
                *lock(&handover.left) = Some(Save {
                    locked,
                    reserved,
                    credential,
                    client,
                    config,
                    cause,
                    unsettled,
                    holds,
                });
                return;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            let attempt = Arc::clone(&credential);
            let saving = blocking(move |may| {
                let reservation = match reserved.take() {
                    Some(reservation) => Ok(reservation),
                    None => locked.reserve(may),
                };
                let outcome = match reservation {
                    Ok(reservation) => locked.save(reservation, &attempt, may),
                    Err(error) => Err(SaveFailure {
                        error,
                        reserved: None,
                    }),
                };
                (locked, outcome)
            })
            .await;
            let Ok((still_locked, outcome)) = saving else {
                break;
            };
            locked = still_locked;
            match outcome {
                Ok(Saved::Written | Saved::LeftToProgram) => break,
                Ok(Saved::Superseded) => {
                    drop(locked);
                    self.logins.of(key, |login| login.unsaved = None);
                    self.revoke_unused(&credential, &client, &config).await;
                    break;
                }
                Err(failure) => {
                    reserved = failure.reserved;
                    cause = failure.error;
                    self.logins.of(key, |login| {
                        if let Some(unsaved) = &mut login.unsaved {
                            unsaved.cause = cause.clone();
                        }
                    });
                }
            }
        }
        self.logins.of(key, |login| login.unsaved = None);
        drop((unsettled, holds));
    }
}
