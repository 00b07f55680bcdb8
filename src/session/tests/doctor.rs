//! The doctor's findings and fixes (docs/design.md 1).

use serde_json::json;

use super::bench::{Bench, ISSUER};
use crate::http::FailureKind::NotSent;
use crate::http::Response;
use crate::http::scripted::{ScriptedClient, response};
use crate::session::doctor::Check;
use crate::store::inspection::Level;
use crate::time::{Clock as _, UnixMillis};

fn metadata(more: &str) -> String {
    format!(
        r#"{{"issuer":"{ISSUER}","token_endpoint":"{ISSUER}/token","device_authorization_endpoint":"{ISSUER}/device"{more}}}"#
    )
}

fn well() -> ScriptedClient {
    ScriptedClient::new().otherwise(|_| Ok(response(200, &metadata(""))))
}

async fn checks(bench: &Bench, fix: bool) -> Vec<Check> {
    bench.session.doctor(&bench.config, fix).await.unwrap()
}

fn level(checks: &[Check], name: &str) -> Level {
    find(checks, name).finding.level
}

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks
        .iter()
        .find(|check| check.finding.name == name)
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sound_login_has_nothing_to_fix_and_nothing_is_changed() {
    let bench = Bench::logged_in(well(), 10, 3600);
    let before = bench.file();
    let found = checks(&bench, true).await;
    for check in &found {
        assert_eq!(check.finding.level, Level::Ok, "{check:?}");
        assert!(!check.fixed);
    }
    let names: Vec<_> = found.iter().map(|check| check.finding.name).collect();
    assert_eq!(
        names,
        [
            "place",
            "folder",
            "file",
            "format",
            "lock",
            "leftovers",
            "login",
            "server",
            "clock",
            "metadata",
            "client"
        ]
    );
    assert_eq!(bench.file(), before);
    let told = bench.without_folder(&format!("{found:?}"));
    assert!(!told.contains("a1") && !told.contains("r1"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn nobody_logged_in_is_an_error_and_makes_no_folder() {
    let bench = Bench::new(well());
    let found = checks(&bench, true).await;
    assert_eq!(level(&found, "login"), Level::Error);
    assert!(!bench.folder.path().join("credentials").exists());
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn loose_permissions_and_leftovers_are_reported_and_fixed_only_when_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::logged_in(well(), 10, 3600);
    let path = bench.location().path().to_owned();
    let folder = path.parent().unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&path, 0o644);
    set(folder, 0o755);
    let temp = folder.join(".default.json.0123456789abcdef.tmp");
    std::fs::write(&temp, "{\"version\":1,\"acc").unwrap();
    let told = checks(&bench, false).await;
    for name in ["folder", "file", "leftovers"] {
        assert_eq!(level(&told, name), Level::Warning);
        assert!(find(&told, name).finding.fix.is_some());
    }
    assert_eq!((mode(&path), mode(folder)), (0o644, 0o755));
    assert!(temp.exists());
    let fixed = checks(&bench, true).await;
    for name in ["folder", "file", "leftovers"] {
        assert!(find(&fixed, name).fixed, "{name}");
    }
    assert_eq!((mode(&path), mode(folder)), (0o600, 0o700));
    assert!(!temp.exists());
    assert_eq!(bench.token().await.unwrap(), "a1");
}

#[cfg(windows)]
#[tokio::test(start_paused = true)]
async fn access_of_others_is_told_with_their_names_and_taken_only_when_asked() {
    use crate::fs::permissions::open_to_everyone;
    let bench = Bench::logged_in(well(), 10, 3600);
    let path = bench.location().path().to_owned();
    let sound = checks(&bench, false).await;
    for name in ["folder", "file"] {
        let found = &find(&sound, name).finding.message;
        assert!(
            found.contains("but for SYSTEM and the administrators"),
            "{found}"
        );
    }
    open_to_everyone(&path);
    open_to_everyone(path.parent().unwrap());
    for _ in 0..2 {
        let told = checks(&bench, false).await;
        for name in ["folder", "file"] {
            let finding = &find(&told, name).finding;
            assert_eq!(finding.level, Level::Warning);
            assert!(
                finding.message.ends_with("(Everyone)."),
                "{}",
                finding.message
            );
            assert!(finding.fix.as_ref().unwrap().contains("icacls"));
        }
    }
    let mended = checks(&bench, true).await;
    for name in ["folder", "file"] {
        assert!(find(&mended, name).fixed, "{name}");
    }
    assert_eq!(level(&checks(&bench, false).await, "file"), Level::Ok);
    assert_eq!(bench.token().await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_the_lock_is_named() {
    let bench = Bench::logged_in(well(), 10, 3600);
    let locked = bench.lock();
    locked.note("refreshing", crate::blocking::MayBlock::in_test());
    let found = checks(&bench, false).await;
    assert_eq!(level(&found, "lock"), Level::Warning);
    let message = &find(&found, "lock").finding.message;
    assert!(message.contains("refreshing") && message.contains(&std::process::id().to_string()));
    drop(locked);
    assert_eq!(level(&checks(&bench, false).await, "lock"), Level::Ok);
}

#[tokio::test(start_paused = true)]
async fn damage_and_a_newer_version_are_told_apart() {
    let bench = Bench::logged_in(well(), 10, 3600);
    for (text, word) in [("{", "damaged"), (r#"{"version":9}"#, "newer version")] {
        std::fs::write(bench.location().path(), text).unwrap();
        let found = checks(&bench, true).await;
        assert_eq!(level(&found, "format"), Level::Error);
        assert!(find(&found, "format").finding.message.contains(word));
        assert_eq!(
            std::fs::read_to_string(bench.location().path()).unwrap(),
            text
        );
    }
    std::fs::write(bench.location().path().with_file_name(".order.json"), "{").unwrap();
    assert_eq!(level(&checks(&bench, true).await, "order"), Level::Error);
}

#[tokio::test(start_paused = true)]
async fn the_servers_clock_is_compared() {
    for (apart, level_told, words) in [
        (0, Level::Ok, "0 s"),
        (-20_000, Level::Ok, "s ahead"),
        (-100_000, Level::Warning, "s ahead of the server's"),
        (4_000_000, Level::Warning, "s behind the server's"),
    ] {
        let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
        let date = Some(UnixMillis(bench.clock.now().0 + apart));
        let http = ScriptedClient::new()
            .respond(Response {
                date,
                ..response(200, "")
            })
            .otherwise(|_| Ok(response(200, &metadata(""))));
        let bench = Bench {
            ..Bench::logged_in(http, 10, 3600)
        };
        let found = checks(&bench, false).await;
        assert_eq!(level(&found, "clock"), level_told);
        assert!(find(&found, "clock").finding.message.contains(words));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_lacks_is_told() {
    let bench = Bench::logged_in(
        ScriptedClient::new().otherwise(|_| {
            Ok(response(
                200,
                &metadata(r#","grant_types_supported":["refresh_token"]"#),
            ))
        }),
        10,
        3600,
    );
    let found = checks(&bench, false).await;
    assert_eq!(level(&found, "metadata"), Level::Warning);
    assert!(
        find(&found, "metadata")
            .finding
            .message
            .contains("device_code")
    );

    let foreign = r#"{"issuer":"https://evil.example.com"}"#;
    let bench = Bench::logged_in(
        ScriptedClient::new().otherwise(move |_| Ok(response(200, foreign))),
        10,
        3600,
    );
    let found = checks(&bench, false).await;
    assert_eq!(level(&found, "metadata"), Level::Error);

    let bench = Bench::logged_in(
        ScriptedClient::new().fail(NotSent, "connection refused"),
        10,
        3600,
    );
    let found = checks(&bench, false).await;
    assert_eq!(level(&found, "server"), Level::Error);
    assert!(
        find(&found, "server")
            .finding
            .message
            .contains("connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_client_and_without_registration_nobody_can_log_in() {
    let bench = Bench::new(well());
    let config = bench.config_with(json!({ "clientId": null }));
    let found = bench.session.doctor(&config, false).await.unwrap();
    assert_eq!(level(&found, "client"), Level::Error);
}

#[tokio::test(start_paused = true)]
async fn of_an_order_one_usable_account_is_enough() {
    let bench = Bench::logged_in(well(), 10, 3600);
    let config = bench.config_with(json!({ "order": ["work", "default"] }));
    let found = bench.session.doctor(&config, false).await.unwrap();
    let logins: Vec<_> = found
        .iter()
        .filter(|check| check.finding.name == "login")
        .map(|check| check.finding.level)
        .collect();
    assert_eq!(logins, [Level::Warning, Level::Ok]);
}
