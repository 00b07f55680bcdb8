use std::collections::HashMap;
use std::ffi::OsString;

use tempfile::TempDir;

use super::*;
use crate::blocking::Look;
use crate::environment::running_host::RunningHost;
use crate::error::ErrorCode;
use crate::store::foreign::keychain_item::KeychainItem;
use crate::store::profiles::profiles;
#[cfg(unix)]
use crate::store::registration::Shelf;

#[derive(Default)]
pub(in crate::store) struct FixedEnvironment {
    vars: HashMap<String, OsString>,
    home: Option<PathBuf>,
    host: RunningHost,
}

impl FixedEnvironment {
    fn at_home(home: &Path) -> Self {
        Self {
            home: Some(home.to_path_buf()),
            ..Self::default()
        }
    }

    fn run_by(mut self, bits: u32) -> Self {
        self.host = RunningHost::of(bits);
        self
    }

    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }
}

impl Environment for FixedEnvironment {
    fn var(&self, name: &str) -> Option<OsString> {
        self.vars.get(name).cloned()
    }

    fn home(&self) -> Option<PathBuf> {
        self.home.clone()
    }

    fn host(&self) -> RunningHost {
        self.host
    }
}

/// A location for the tests of this layer.
pub(in crate::store) fn in_state_dir(state_dir: &Path, plugin_id: &str, profile: &str) -> Location {
    let request = LocationRequest {
        plugin_id,
        profile,
        state_dir: state_dir.to_str(),
        credentials_path: None,
        format: None,
        store: None,
    };
    Location::resolve(
        &request,
        &FixedEnvironment::default(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap()
}

/// A location with an exact path.
pub(in crate::store) fn at_path(path: &Path) -> Location {
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "default",
        state_dir: None,
        credentials_path: path.to_str(),
        format: None,
        store: None,
    };
    Location::resolve(
        &request,
        &FixedEnvironment::default(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap()
}

/// A location in a plugin's store.
pub(in crate::store) fn in_given_store(store: &PluginStore) -> Location {
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "default",
        state_dir: None,
        credentials_path: None,
        format: None,
        store: Some(store),
    };
    Location::resolve(
        &request,
        &FixedEnvironment::default(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap()
}

/// Claude Code's login, in that item, with its file in that folder.
pub(in crate::store) fn claude_code_with(folder: &Path, item: KeychainItem) -> Location {
    let path = folder.join(".credentials.json");
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "default",
        state_dir: folder.to_str(),
        credentials_path: path.to_str(),
        format: Some((Format::ClaudeCode, "main")),
        store: None,
    };
    let location = Location::resolve(
        &request,
        &FixedEnvironment::default(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap();
    match location.0 {
        Place::Foreign(place) => Location(Place::Foreign(Box::new(place.with_item(item)))),
        _ => panic!("it is Claude Code's"),
    }
}

fn resolved(environment: &FixedEnvironment) -> PathBuf {
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "default",
        state_dir: None,
        credentials_path: None,
        format: None,
        store: None,
    };
    Location::resolve(&request, environment, &SharedClock::of_system(), Look::LONG)
        .unwrap()
        .path()
        .to_path_buf()
}

fn refused(plugin_id: &str, profile: &str, state_dir: Option<&str>, path: Option<&str>) -> String {
    let request = LocationRequest {
        plugin_id,
        profile,
        state_dir,
        credentials_path: path,
        format: None,
        store: None,
    };
    let error = Location::resolve(
        &request,
        &FixedEnvironment::default(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    error.message().to_owned()
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn one_folder_per_plugin_and_one_file_per_profile() {
    let location = in_state_dir(Path::new("/s"), "@scope/name", "Work");
    assert_eq!(
        location.path(),
        Path::new("/s/credentials/%40scope%2Fname/%57ork.json")
    );
    assert_eq!(location.profile(), "Work");
    let tricky = in_state_dir(Path::new("/s"), "..", "../../x");
    assert_eq!(
        tricky.path(),
        Path::new("/s/credentials/%2E%2E/%2E.%2F..%2Fx.json")
    );
}

#[test]
fn names_that_cannot_be_names_are_refused() {
    assert!(refused("", "p", Some("/s"), None).contains("pluginId is empty"));
    assert!(refused("a", "", Some("/s"), None).contains("profile is empty"));
    assert!(refused("a\0", "p", Some("/s"), None).contains("NUL"));
    assert!(refused("a", &"p".repeat(129), Some("/s"), None).contains("129"));
    assert!(refused("a", &"P".repeat(128), Some("/s"), None).contains("too long"));
    let longest = in_state_dir(Path::new("/s"), &"p".repeat(128), &"q".repeat(128));
    assert!(longest.path().to_str().unwrap().len() > 256);
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn paths_that_cannot_be_paths_are_refused() {
    assert!(refused("a", "p", Some(" "), None).contains("stateDir is empty"));
    assert!(refused("a", "p", Some("/a\0"), None).contains("NUL"));
    assert!(refused("a", "p", None, Some("")).contains("credentialsPath is empty"));
    assert!(refused("a", "p", None, Some("/a/b/")).contains("names a folder"));
    assert!(refused("a", "p", None, Some("/a/..")).contains("names a folder"));
    assert!(refused("a", "p", None, Some("~/a")).contains("Set HOME"));
    assert!(refused("a", "p", None, None).contains("Set HOME"));
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn the_hosts_variables_count_in_their_order() {
    let home = TempDir::new().unwrap();
    let all = || {
        FixedEnvironment::at_home(home.path())
            .with("CLAWDBOT_STATE_DIR", "/clawd")
            .with("OPENCLAW_HOME", "/home-of-openclaw")
    };
    assert_eq!(
        resolved(&all()),
        Path::new("/clawd/credentials/demo/default.json")
    );
    assert_eq!(
        resolved(&all().with("MOLTBOT_STATE_DIR", "/molt")),
        Path::new("/molt/credentials/demo/default.json")
    );
    assert_eq!(
        resolved(
            &all()
                .with("MOLTBOT_STATE_DIR", "/molt")
                .with("OPENCLAW_STATE_DIR", " /open ")
        ),
        Path::new("/open/credentials/demo/default.json")
    );
    assert_eq!(
        resolved(&all().with("CLAWDBOT_STATE_DIR", " ")),
        Path::new("/home-of-openclaw/.openclaw/credentials/demo/default.json")
    );
}

#[test]
fn an_older_hosts_variable_counts_where_its_folder_is_or_openclaws_is_not() {
    let home = TempDir::new().unwrap();
    let old = home.path().join("old");
    let environment = FixedEnvironment::at_home(home.path()).with("CLAWDBOT_STATE_DIR", &old);
    let of = |folder: &Path| folder.join("credentials/demo/default.json");
    let openclaw = home.path().join(".openclaw");
    assert_eq!(resolved(&environment), of(&old), "neither folder is there");
    std::fs::create_dir(&openclaw).unwrap();
    assert_eq!(resolved(&environment), of(&openclaw));
    std::fs::create_dir(&old).unwrap();
    assert_eq!(resolved(&environment), of(&old));
}

#[test]
fn the_running_host_says_which_variables_and_folders_count() {
    let home = TempDir::new().unwrap();
    for name in ["old", ".openclaw", ".clawdbot"] {
        std::fs::create_dir(home.path().join(name)).unwrap();
    }
    let old = home.path().join("old");
    let environment = || FixedEnvironment::at_home(home.path());
    let of = |name: &str| home.path().join(name).join("credentials/demo/default.json");
    let both = || {
        environment()
            .with("CLAWDBOT_STATE_DIR", &old)
            .with("OPENCLAW_STATE_DIR", "/open")
    };
    // The bits of lib/running-host.js.
    let (clawdbot, openclaw, openclaw_cn) = (4 + 16 + 64, 1 + 56, 1 + 8 + 64);
    assert_eq!(resolved(&both().run_by(clawdbot)), of("old"));
    assert_eq!(
        resolved(&environment().run_by(clawdbot)),
        of(".clawdbot"),
        "although ~/.openclaw is there"
    );
    let only_old = || environment().with("CLAWDBOT_STATE_DIR", &old);
    assert_eq!(resolved(&only_old().run_by(openclaw)), of(".openclaw"));
    assert_eq!(resolved(&only_old().run_by(openclaw_cn)), of(".openclaw"));
    std::fs::remove_dir(home.path().join(".openclaw")).unwrap();
    assert_eq!(resolved(&only_old().run_by(openclaw)), of(".clawdbot"));
    assert_eq!(resolved(&only_old().run_by(openclaw_cn)), of(".openclaw"));
}

#[test]
fn auth_profiles_are_kept_only_where_a_host_reads_them() {
    let state_dir = TempDir::new().unwrap();
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "demo:default",
        state_dir: state_dir.path().to_str(),
        credentials_path: None,
        format: Some((Format::AuthProfiles, "main")),
        store: None,
    };
    let refused = |bits: u32| {
        let environment = FixedEnvironment::default().run_by(bits);
        Location::resolve(
            &request,
            &environment,
            &SharedClock::of_system(),
            Look::LONG,
        )
        .err()
        .map(|error| error.code())
    };
    assert_eq!(
        refused(0),
        Some(ErrorCode::InvalidConfig),
        "nothing is known"
    );
    assert_eq!(refused(1 + 8 + 64), None, "a host that reads them runs");
    assert_eq!(
        refused(1 + 8),
        Some(ErrorCode::InvalidConfig),
        "a later one"
    );
    std::fs::write(state_dir.path().join("clawdbot.json"), "{}").unwrap();
    assert_eq!(refused(0), None, "clawdbot was here");
    assert_eq!(
        refused(1 + 8),
        Some(ErrorCode::InvalidConfig),
        "and a later one runs"
    );
}

#[test]
fn the_first_folder_that_exists_in_the_home_counts() {
    let home = TempDir::new().unwrap();
    let environment = FixedEnvironment::at_home(home.path());
    let expected = |folder: &str| {
        home.path()
            .join(folder)
            .join("credentials/demo/default.json")
    };
    assert_eq!(resolved(&environment), expected(".openclaw"));
    std::fs::create_dir(home.path().join(".moltbot")).unwrap();
    assert_eq!(resolved(&environment), expected(".moltbot"));
    std::fs::create_dir(home.path().join(".clawdbot")).unwrap();
    assert_eq!(resolved(&environment), expected(".clawdbot"));
    std::fs::create_dir(home.path().join(".openclaw")).unwrap();
    assert_eq!(resolved(&environment), expected(".openclaw"));
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn tilde_expands_everywhere_and_relative_paths_become_absolute() {
    let environment = || FixedEnvironment::at_home(Path::new("/h"));
    for (variable, value, expected) in [
        ("OPENCLAW_STATE_DIR", "~/s", "/h/s"),
        ("MOLTBOT_STATE_DIR", "~", "/h"),
        ("CLAWDBOT_STATE_DIR", "~other/s", ""),
        ("OPENCLAW_HOME", "~/o", "/h/o/.openclaw"),
    ] {
        let path = resolved(&environment().with(variable, value));
        if expected.is_empty() {
            let here = std::env::current_dir().unwrap();
            assert_eq!(path, here.join("~other/s/credentials/demo/default.json"));
        } else {
            assert_eq!(
                path,
                Path::new(expected).join("credentials/demo/default.json")
            );
        }
    }
    let request = LocationRequest {
        plugin_id: "demo",
        profile: "default",
        state_dir: Some("~/x"),
        credentials_path: Some("~/c.json"),
        format: None,
        store: None,
    };
    let location = Location::resolve(
        &request,
        &environment(),
        &SharedClock::of_system(),
        Look::LONG,
    )
    .unwrap();
    assert_eq!(location.path(), Path::new("/h/c.json"));
    assert!(location.own_folder().is_none());
}

#[cfg(unix)]
#[test]
fn a_home_that_is_not_utf8_works() {
    use std::os::unix::ffi::OsStringExt as _;
    let home = PathBuf::from(OsString::from_vec(b"/h\xFF".to_vec()));
    let path = resolved(&FixedEnvironment::at_home(&home));
    assert_eq!(path, home.join(".openclaw/credentials/demo/default.json"));
}

#[cfg(unix)]
fn clients(location: &Location, server: &str) -> PathBuf {
    Shelf::of(location, server).path()
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn registrations_lie_beside_the_credentials() {
    let location = in_state_dir(Path::new("/s"), "demo", "default");
    let path = clients(&location, "https://auth.example.com/tenant");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        path.parent().unwrap(),
        Path::new("/s/credentials/demo/clients")
    );
    assert!(name.starts_with("auth.example.com-"), "{name}");
    assert_eq!(name.len(), "auth.example.com-.json".len() + 16);
    assert_ne!(path, clients(&location, "https://auth.example.com/"));
    assert!(
        clients(&location, "http://[::1]:8080")
            .to_str()
            .unwrap()
            .contains("%5B%3A%3A1%5D-")
    );
    let exact = at_path(Path::new("/x/c.json"));
    assert_eq!(
        clients(&exact, "https://a").parent().unwrap(),
        Path::new("/x/c.json.clients")
    );
}

fn listed(location: &Location) -> Vec<Location> {
    profiles(location, Look::LONG).unwrap().unwrap().0
}

#[test]
fn only_profiles_are_listed() {
    let folder = TempDir::new().unwrap();
    let location = in_state_dir(folder.path(), "demo", "default");
    assert!(listed(&location).is_empty());
    let ours = location.own_folder().unwrap();
    std::fs::create_dir_all(ours.join("clients")).unwrap();
    std::fs::create_dir_all(ours.join("folder.json")).unwrap();
    for name in [
        "work.json",
        "%41.json",
        "default.json",
        "default.json.lock",
        "default.json.corrupt-1700000000000",
        ".default.json.0123456789abcdef.tmp",
        "Foreign.json",
        "%zz.json",
        ".json",
        "notes.txt",
    ] {
        std::fs::write(ours.join(name), "").unwrap();
    }
    let names: Vec<_> = listed(&location)
        .iter()
        .map(|location| location.profile().to_owned())
        .collect();
    assert_eq!(names, ["A", "default", "work"]);
    assert!(listed(&location).contains(&location));
    let exact = at_path(&ours.join("work.json"));
    assert_eq!(listed(&exact), std::slice::from_ref(&exact));
}

/// Uses POSIX paths.
#[cfg(unix)]
#[test]
fn the_handwritten_file_is_the_default_profiles() {
    let of = |plugin_id: &str, profile: &str| {
        in_state_dir(Path::new("/s"), plugin_id, profile)
            .handwritten_path(&FixedEnvironment::default())
    };
    assert_eq!(
        of("demo", "default").unwrap(),
        Path::new("/s/extensions/demo/credentials.json")
    );
    assert_eq!(
        of("@scope/name", "default").unwrap(),
        Path::new("/s/extensions/@scope/name/credentials.json")
    );
    for tricky in [
        "..", "../x", "@a/../b", "@/..", "a/b", "/etc", "@a/", "a\\b",
    ] {
        assert_eq!(of(tricky, "default"), None, "{tricky}");
    }
    assert_eq!(of("demo", "work"), None);
    assert_eq!(
        at_path(Path::new("/x/c.json")).handwritten_path(&FixedEnvironment::default()),
        None
    );
}
