//! Sets up the link of a Node addon.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script reads what cargo says in its environment"
)]

fn main() {
    napi_build::setup();
    // A worker thread that ends unloads the addons that only it had loaded; our runtime's thread may still be running
    // in this one.
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete"),
        // Linked by lld itself (scripts/android.mjs).
        Ok("android") => println!("cargo:rustc-cdylib-link-arg=-znodelete"),
        _ => {}
    }
}
