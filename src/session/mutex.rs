//! How a mutex is locked here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex whose data stays usable after a panic elsewhere: every critical section here leaves it consistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
