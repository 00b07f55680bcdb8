//! OAuth 2.0 device login for Clawdbot, Moltbot and `OpenClaw` plugins, as a Node native addon.
//!
//! Layers, each importing only downward (a test in `architecture.rs` enforces it): [`bindings`] → `session` →
//! {`oauth`, `store`} → {`http`, `fs`, `keychain`} → {`blocking`, `jwt`, `time`, `secret`, `error`}.

#[cfg(test)]
mod architecture;
mod blocking;
mod environment;
mod error;
mod fs;
mod http;
mod jwt;
mod keychain;
mod oauth;
mod secret;
mod session;
mod store;
mod time;

// The fuzz targets need no JavaScript, and so no napi.
#[cfg(not(fuzzing))]
pub mod bindings;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
