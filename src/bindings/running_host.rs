//! The host that runs this process.

use napi_derive::napi;

use crate::environment::running_host::RunningHost;

/// Sets the places that the running host reads (lib/running-host.js).
#[napi(skip_typescript)]
pub fn run_by(bits: u32) {
    RunningHost::is_now(bits);
}
