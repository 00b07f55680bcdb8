//! `isFresh` as Node calls it. Around a function without arguments, what `#[napi]` generates keeps lists of borrowed
//! arguments: nearly as many instructions again as the answer.

#![expect(unsafe_code, reason = "Node-API calls a C function with raw pointers")]

use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::sys::{napi_callback_info, napi_env, napi_value};
use napi_derive::napi;

/// Adds `isFresh` to what the addon exports.
///
/// # Errors
/// Those of Node-API.
#[napi(module_exports)]
pub fn export_is_fresh(mut exports: Object<'_>, env: Env) -> napi::Result<()> {
    let function = env.create_function::<(), bool>("isFresh", is_fresh)?;
    exports.set("isFresh", function)
}

/// # Safety
/// Node calls it on the thread of that environment. It cannot panic.
unsafe extern "C" fn is_fresh(env: napi_env, _: napi_callback_info) -> napi_value {
    // SAFETY: `env` is valid during the call. Null is `undefined`: not fresh.
    unsafe { bool::to_napi_value(env, super::fast_path::is_fresh()) }
        .unwrap_or(std::ptr::null_mut())
}
