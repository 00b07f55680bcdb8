//! The two native halves of the fast path of `getValidAccessToken`: a token that is fresh, and whether it still is.

use std::cell::Cell;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, ObjectRef, Unknown};
use napi_derive::napi;

use crate::blocking::Glance;
use crate::store::cache::SlotId;
use crate::time::{Answered, SystemClock};

use super::auth_config::auth_config;
use super::payload::Token;
use super::process::session;
use watches::Watches;

/// A fresh token, without a thread hop; null when there is more to do.
#[napi(skip_typescript)]
pub fn fresh_token(env: Env, config: Unknown<'_>) -> Option<Token> {
    let config = auth_config(&config).ok()?;
    let fresh = session().fresh_token(&config, Glance::of_javascript(env))?;
    Some(Token {
        token: fresh.token.expose().to_owned(),
        bound: fresh.is_bound.then_some(true),
        stamp: fresh.watch.and_then(|watch| {
            THREAD.with(|thread| thread.watches.keep(fresh.slot, fresh.generation, watch))
        }),
        due: Some(fresh.due.0.as_secs_f64()),
    })
}

/// The array through which this thread passes the arguments of `isFresh`: stamp and due. The first copy of the
/// JavaScript that offers one decides, so all copies share it. A function without arguments is called twice as fast.
#[napi(skip_typescript)]
pub fn ask_through(offered: Float64Array, itself: ObjectRef<false>) -> &'static ObjectRef<false> {
    THREAD.with(|thread| {
        let question = thread.question.get().unwrap_or_else(|| {
            // It is leaked on purpose: it lives as long as the JavaScript thread, and no destructor may run after that
            // thread ends.
            Box::leak(Box::new((offered, itself)))
        });
        thread.question.set(Some(question));
        &question.1
    })
}

/// What a JavaScript thread keeps of its own; in one place, because finding it costs as much as the clock.
struct Thread {
    question: Cell<Option<&'static (Float64Array, ObjectRef<false>)>>,
    watches: Watches,
    answered: Answered,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            question: Cell::new(None),
            watches: Watches::none(),
            answered: Answered::nothing(),
        }
    };
}

/// Whether the token that was handed out last still is the stored one and fresh. This is what a tool call costs.
pub(super) fn is_fresh() -> bool {
    let is_fresh = |thread: &Thread| {
        let (question, _) = thread.question.get()?;
        let &[stamp, due] = &**question else {
            return None;
        };
        let now = SystemClock.boot_or_soon(&thread.answered);
        Some(now.0.as_secs_f64() < due && thread.watches.hold(stamp))
    };
    // A thread that ends has nothing of its own any more.
    THREAD.try_with(is_fresh).ok().flatten().unwrap_or(false)
}

/// The place and generation of what was asked last.
pub(super) fn last_asked() -> Option<(SlotId, u32)> {
    let (question, _) = THREAD.with(|thread| thread.question.get())?;
    let &[stamp, _] = &**question else {
        return None;
    };
    watches::place(stamp)
}

mod watches {
    use std::cell::RefCell;

    use crate::store::cache::{SlotId, Watch};

    /// The watches that a JavaScript thread holds: one for each credential file, of the contents that it read last.
    pub(super) struct Watches(RefCell<Vec<Option<(f64, Watch)>>>);

    /// The number of slots that fit into the integers of a double, beside 32 bits of generation.
    const SLOTS: u32 = 1 << 20;

    impl Watches {
        pub(super) const fn none() -> Self {
            Self(RefCell::new(Vec::new()))
        }

        /// Stores the watch in its slot. The slot's previous watch is dropped, and its stamp becomes invalid.
        pub(super) fn keep(&self, slot: SlotId, generation: u32, watch: Watch) -> Option<f64> {
            if slot.0 >= SLOTS {
                return None;
            }
            let stamp = f64::from(generation) * f64::from(SLOTS) + f64::from(slot.0);
            let place = usize::try_from(slot.0).ok()?;
            let mut watches = self.0.borrow_mut();
            if watches.len() <= place {
                watches.resize_with(place + 1, || None);
            }
            *watches.get_mut(place)? = Some((stamp, watch));
            Some(stamp)
        }

        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::float_cmp,
            reason = "a stamp is an integer, compared with what was kept; a float cast saturates"
        )]
        pub(super) fn hold(&self, stamp: f64) -> bool {
            let place = (stamp as u64 % u64::from(SLOTS)) as usize;
            matches!(
                self.0.borrow().get(place),
                Some(Some((kept, watch))) if *kept == stamp && watch.holds()
            )
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a stamp is an integer; a float cast saturates"
    )]
    pub(super) fn place(stamp: f64) -> Option<(SlotId, u32)> {
        let (stamp, slots) = (stamp as u64, u64::from(SLOTS));
        let generation = u32::try_from(stamp / slots).ok()?;
        Some((SlotId((stamp % slots) as u32), generation))
    }
}
