//! The skin towards JavaScript: no logic, only conversion. Doc comments in here become `index.d.ts`.
//!
//! `index.js` wraps these functions: it adds the class `AuthError`, the `AbortSignal`, the callbacks and the first look
//! of the fast path. Each native call reports through one listener, `(kind, payload) => void`.

mod access_token;
mod auth_config;
mod auth_status;
mod device_tokens;
mod listener;
mod login;
mod logout;
mod operation;
mod options;
mod process;
mod status;
