#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| clawdbot_plugin_auth::fuzzing::foreign_file(input));
