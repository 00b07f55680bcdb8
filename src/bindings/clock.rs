//! The clock, as the tests of a plugin move it.

use napi_derive::napi;

use crate::time::SystemClock;

/// Puts the clocks that many seconds ahead of the machine's (plugin/testing/clock.ts, which refuses outside of tests).
#[napi(skip_typescript)]
pub fn skip_time(seconds: u32) {
    SystemClock::skip(seconds);
}
