//! The two native halves of the fast path of `getValidAccessToken`: a token that is fresh, and whether it still is.

use std::cell::Cell;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, Object, ObjectRef, Unknown};
use napi_derive::napi;

use crate::blocking::Glance;
use crate::store::cache::SlotId;
use crate::time::SystemClock;

use super::auth_config::auth_config;
use super::payload::Token;
use super::process::session;

/// A fresh token, without a thread hop; null when there is more to do.
#[napi(skip_typescript)]
pub fn fresh_token(env: Env, config: Unknown<'_>) -> Option<Token> {
    let config = auth_config(&config).ok()?;
    let fresh = session().fresh_token(&config, Glance::of_javascript(env))?;
    Some(Token {
        token: fresh.token.expose().to_owned(),
        bound: fresh.is_bound.then_some(true),
        stamp: fresh
            .watch
            .and_then(|watch| watches::keep(fresh.slot, fresh.generation, watch)),
        due: Some(fresh.due.0.as_secs_f64()),
    })
}

/// The array through which this thread passes the arguments of `isFresh`: stamp and due. The first copy of the
/// JavaScript that offers one decides, so all copies share it. A function without arguments is called twice as fast.
#[napi(skip_typescript)]
pub fn ask_through(offered: Float64Array, itself: ObjectRef<false>) -> &'static ObjectRef<false> {
    let question = QUESTION.get().unwrap_or_else(|| {
        // It is leaked on purpose: it lives as long as the JavaScript thread, and no destructor may run after that
        // thread ends.
        Box::leak(Box::new((offered, itself)))
    });
    QUESTION.set(Some(question));
    &question.1
}

thread_local! {
    static QUESTION: Cell<Option<&'static (Float64Array, ObjectRef<false>)>> = const { Cell::new(None) };
}

/// Whether the token that was handed out last still is the stored one and fresh. This is what a tool call costs.
fn is_fresh() -> bool {
    let Some(&[stamp, due]) = QUESTION.get().map(|(question, _)| &**question) else {
        return false;
    };
    SystemClock.boot_or_soon().0.as_secs_f64() < due && watches::holds(stamp)
}

/// Exports `isFresh` as Node calls it. Around a function without arguments, what `#[napi]` generates keeps lists of
/// borrowed arguments: as many instructions again as the answer.
#[napi(module_exports)]
pub fn export_is_fresh(mut exports: Object<'_>, env: Env) -> napi::Result<()> {
    exports.set(
        "isFresh",
        env.create_function::<(), bool>("isFresh", answer::is_fresh)?,
    )
}

mod answer {
    #![expect(unsafe_code, reason = "Node-API calls a C function with raw pointers")]

    use napi::bindgen_prelude::ToNapiValue;
    use napi::sys::{napi_callback_info, napi_env, napi_value};

    /// # Safety
    /// Node calls it on the thread of that environment. It cannot panic.
    pub(super) unsafe extern "C" fn is_fresh(env: napi_env, _: napi_callback_info) -> napi_value {
        // SAFETY: `env` is valid during the call. Null is `undefined`: not fresh.
        unsafe { bool::to_napi_value(env, super::is_fresh()) }.unwrap_or(std::ptr::null_mut())
    }
}

/// The place and generation of what was asked last.
pub(super) fn last_asked() -> Option<(SlotId, u32)> {
    let &[stamp, _] = QUESTION.get().map(|(question, _)| &**question)? else {
        return None;
    };
    watches::place(stamp)
}

/// The watches that this JavaScript thread holds: one for each credential file, of the contents that it read last.
mod watches {
    use std::cell::RefCell;

    use crate::store::cache::{SlotId, Watch};

    thread_local! {
        static WATCHES: RefCell<Vec<Option<(f64, Watch)>>> = const { RefCell::new(Vec::new()) };
    }

    /// The number of slots that fit into the integers of a double, beside 32 bits of generation.
    const SLOTS: u32 = 1 << 20;

    /// Stores the watch in its slot. The slot's previous watch is dropped, and its stamp becomes invalid.
    pub(super) fn keep(slot: SlotId, generation: u32, watch: Watch) -> Option<f64> {
        if slot.0 >= SLOTS {
            return None;
        }
        let stamp = f64::from(generation) * f64::from(SLOTS) + f64::from(slot.0);
        let place = usize::try_from(slot.0).ok()?;
        WATCHES.with_borrow_mut(|watches| {
            if watches.len() <= place {
                watches.resize_with(place + 1, || None);
            }
            *watches.get_mut(place)? = Some((stamp, watch));
            Some(stamp)
        })
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

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_cmp,
        reason = "a stamp is an integer, compared with what was kept; a float cast saturates"
    )]
    pub(super) fn holds(stamp: f64) -> bool {
        let place = (stamp as u64 % u64::from(SLOTS)) as usize;
        WATCHES.with_borrow(|watches| {
            matches!(watches.get(place), Some(Some((kept, watch))) if *kept == stamp && watch.holds())
        })
    }
}
