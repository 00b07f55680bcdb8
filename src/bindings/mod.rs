//! The skin towards JavaScript: no logic, only conversion. Doc comments in here become `index.d.ts`.
//!
//! `index.js` and `lib/` wrap these functions: they add the class `AuthError`, the `AbortSignal`, the callbacks and the
//! first look of the fast path. Each native call reports through one listener, `(kind, payload) => void`.

#![expect(
    clippy::needless_pass_by_value,
    clippy::must_use_candidate,
    reason = "JavaScript calls these, through napi"
)]
#![expect(
    clippy::doc_markdown,
    reason = "doc comments here are written for TypeScript"
)]
#![expect(
    clippy::struct_field_names,
    reason = "names of the public API and of the RFCs"
)]

pub mod access_token;
pub mod auth_config;
pub mod auth_status;
pub mod authorization_headers;
pub mod certificates;
pub mod clock;
pub mod device_tokens;
pub mod doctor;
pub mod ending;
pub mod fast_call;
pub mod fast_path;
pub mod given_store;
pub mod import_token;
pub mod listener;
pub mod login;
pub mod logout;
pub mod move_login;
pub mod operation;
mod options;
pub mod payload;
mod person;
mod process;
pub mod profile_order;
pub mod running_host;
pub mod status;
