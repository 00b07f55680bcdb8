//! `doctor`.

use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::session::config::flag;
use crate::session::doctor::Check;
use crate::store::inspection::Level;

use super::listener::{ListenerFunction, Payload};
use super::operation::{Operation, start};
use super::options::{auth_config, object};
use super::process::session;

/// Options of {@link doctor}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct DoctorOptions {
    /// Tighten permissions, and finish or delete what killed processes left, under the lock. Nothing else is changed, and
    /// never a token. @default false
    pub fix: Option<bool>,
}

/// What {@link doctor} found. Never holds a token.
#[napi(object, object_from_js = false)]
pub struct DoctorReport {
    /// No check that was not fixed is an error.
    pub ok: bool,
    /// In the order in which they were made.
    pub checks: Vec<DoctorCheck>,
}

/// One thing that was looked at.
#[napi(object, object_from_js = false)]
pub struct DoctorCheck {
    /// `place`, `folder`, `file`, `format`, `lock`, `leftovers`, `order`, `login`, `server`, `clock`, `metadata`, `client`;
    /// later versions may have more.
    pub name: String,
    /// `warning`: it works, but not as well as it should; `error`: it does not.
    #[napi(ts_type = "\"ok\" | \"warning\" | \"error\"")]
    pub level: String,
    /// What was found.
    pub message: String,
    /// What to do, where the message does not say so.
    pub fix: Option<String>,
    /// It was so, and is mended.
    pub fixed: Option<bool>,
}

/// Looks for what keeps the login from working: place, permissions, format, lock and leftovers of the files, the login itself,
/// the clock, the way to the server, its metadata, the client. Changes nothing unless `fix` is true.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`. What is found is never a rejection.
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
                Ok(Payload::J(DoctorReport {
                    ok: checks.iter().all(is_well),
                    checks: checks.into_iter().map(DoctorCheck::from).collect(),
                }))
            }
        }),
    )
}

impl From<Check> for DoctorCheck {
    fn from(Check { finding, fixed }: Check) -> Self {
        Self {
            name: finding.name.to_owned(),
            level: match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            }
            .to_owned(),
            message: finding.message,
            fix: finding.fix,
            fixed: fixed.then_some(true),
        }
    }
}
