//! `doctor`.

use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::session::config::flag;
use crate::session::doctor::Check;
use crate::store::inspection::Level;

use super::auth_config::auth_config;
use super::listener::ListenerFunction;
use super::operation::{Operation, start};
use super::options::object;
use super::payload::{DoctorCheck, DoctorReport, Payload};
use super::process::session;

/// Options of {@link doctor}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct DoctorOptions {
    /// Tighten permissions, and finish or delete what killed processes left, under the lock. Nothing else is changed, and
    /// never a token. @default false
    pub fix: Option<bool>,
}

/// Checks everything that a login needs: place, permissions, format, lock and leftovers of the files, the login
/// itself, the clock, the connection to the server, its metadata, the client. Changes nothing unless `fix` is true.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`. A finding is never a rejection.
///
/// @example
/// ```ts
/// import { doctor } from "clawdbot-plugin-auth";
///
/// const { ok, checks } = await doctor({ pluginId: "my-memory", issuer: "https://auth.example.com" });
/// for (const { name, level, message, fix = "" } of checks) {
///   console.log(level, name, message, fix);
/// }
/// console.log(ok);
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, options?: DoctorOptions",
    ts_return_type = "Promise<DoctorReport>"
)]
pub fn doctor(
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    let parsed = auth_config(&config)
        .and_then(|config| Ok((config, flag(object(&options, "options")?, "fix")?)));
    start(
        &listener,
        parsed.map(|(config, fix)| {
            move |_, _| async move {
                let checks = session().doctor(&config, fix).await?;
                let is_well = |check: &Check| check.fixed || check.finding.level != Level::Error;
                Ok(Payload::I(DoctorReport {
                    ok: checks.iter().all(is_well),
                    checks: checks.into_iter().map(DoctorCheck::from).collect(),
                }))
            }
        }),
    )
}
