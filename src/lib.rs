//! OAuth 2.0 device login for Clawdbot, Moltbot and `OpenClaw` plugins, as a Node native addon.
//!
//! Layers, each importing only downward (a test below enforces it):
//! [`bindings`] → `session` → {`oauth`, `store`} → {`http`, `fs`} → {`time`, `secret`, `error`}.

mod error;
mod fs;
mod http;
mod oauth;
mod secret;
mod session;
mod store;
mod time;

pub mod bindings;
