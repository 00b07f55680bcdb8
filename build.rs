//! Sets up the link of a Node addon.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script talks to cargo through its environment and output"
)]

fn main() {
    napi_build::setup();
    // A worker thread that ends unloads the addons that only it had loaded; our runtime's thread may still be running
    // in this one.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
