//! The rules that hold for any input: one function for each fuzz target of `fuzz/`. It panics where a rule is broken.
//!
//! Each layer keeps its rules in a `fuzzing.rs`. A test below runs them on every input of the kept corpora, `npm run
//! fuzz` on new ones.

pub use all::*;

macro_rules! targets {
    ($($layer:ident :: $target:ident: $about:literal,)*) => {
        mod all {
            $(
                #[doc = $about]
                pub fn $target(input: &[u8]) {
                    crate::$layer::fuzzing::$target(input);
                }
            )*
        }

        /// Each target by its name, which is that of its corpus as well.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($target), all::$target),)*];
    };
}

targets! {
    oauth::metadata: "Two metadata documents (RFC 8414, `OpenID` Connect Discovery).",
    oauth::device_authorization: "The answer of a device authorization endpoint (RFC 8628 §3.2).",
    oauth::token_response: "The answer of a token endpoint, to a poll and to a refresh (RFC 6749 §5.1).",
    oauth::error_response: "The refusal of any endpoint (RFC 6749 §5.2).",
    oauth::registration: "The answer of a registration endpoint (RFC 7591 §3.2).",
    oauth::redirect: "A redirect instead of the answer of any endpoint.",
    oauth::server_text: "Text and URLs of a server, for a person.",
    http::answer: "The bytes of an HTTP answer, read by the real client.",
    http::retry_after: "The headers `Retry-After` and `Date`.",
    http::endpoint: "The URL of an endpoint.",
    session::issuer: "The URL of an issuer.",
    session::verification: "What a person is shown of a device authorization answer, QR code included.",
    session::config: "A config.",
    session::credential_file: "A credential file, and what is concluded from it.",
    store::foreign_file: "A file in which another program keeps its login.",
    store::leftover_file: "A temp file that another process left.",
    store::handwritten_login: "A login that a plugin wrote by hand.",
    store::registrations_file: "The file of registered clients.",
    store::file_name: "The name of a file as the name of a profile.",
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "reads the corpora, not the store"
)]
mod tests {
    use std::path::Path;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::TARGETS;

    #[test]
    fn the_fuzz_crate_has_what_the_sources_need() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = |path| std::fs::read_to_string(root.join(path)).unwrap();
        let (ours, theirs) = (manifest("Cargo.toml"), manifest("fuzz/Cargo.toml"));
        let (ours, _) = ours.split_once("[dev-dependencies]").unwrap();
        let (_, ours) = ours.split_once("[dependencies]").unwrap();
        for line in ours.lines().filter(|line| !line.starts_with(['#', '['])) {
            let Some((name, what)) = line.split_once(" = ") else {
                continue;
            };
            // Inputs of the build with the keychain are not fuzzed. A list is a feature.
            let is_left_out = name.starts_with("napi")
                || what.contains("optional = true")
                || what.starts_with('[');
            let is_there = theirs.contains(&format!("\n{name} = "));
            assert!(is_there || is_left_out, "{name}");
        }
    }

    #[test]
    fn every_input_of_the_corpora_keeps_the_rules() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, target) in TARGETS {
            let program = fuzz.join("fuzz_targets").join(format!("{name}.rs"));
            assert!(program.exists(), "{} is missing", program.display());
            let corpus = fuzz.join("corpus").join(format!("{name}.base64"));
            let packed = std::fs::read_to_string(&corpus).unwrap();
            let mut played = 0;
            for line in packed.lines() {
                let input = STANDARD.decode(line).unwrap();
                let outcome = std::panic::catch_unwind(|| target(&input));
                played += 1;
                assert!(outcome.is_ok(), "line {played} of {}", corpus.display());
            }
            assert!(played > 0, "{} is empty", corpus.display());
        }
    }
}
