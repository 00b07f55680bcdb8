//! Where the environment of the process is read; injected, so that tests can set it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use running_host::RunningHost;

pub(crate) mod running_host;

/// The environment of the process.
pub(crate) trait Environment: Send + Sync {
    /// A variable.
    fn var(&self, name: &str) -> Option<OsString>;
    /// The user's home folder, as openclaw sees it.
    fn home(&self) -> Option<PathBuf>;
    /// The home folder as most other programs see it: on Windows some ignore `HOME`.
    fn profile(&self) -> Option<PathBuf> {
        self.home()
    }
    /// The process runs in a container.
    fn is_container(&self) -> bool {
        false
    }
    /// The host that runs the process.
    fn host(&self) -> RunningHost {
        RunningHost::default()
    }
}

/// The process' own environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the environment"
    )]
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn home(&self) -> Option<PathBuf> {
        let home = folder(self.var("HOME"));
        #[cfg(windows)]
        let home = home.or_else(|| self.profile());
        home
    }

    #[cfg(windows)]
    fn profile(&self) -> Option<PathBuf> {
        folder(self.var("USERPROFILE"))
    }

    fn is_container(&self) -> bool {
        // systemd-nspawn, podman and others say it by the variable, docker by the first file.
        self.var("container").is_some()
            || ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|path| Path::new(path).exists())
    }

    fn host(&self) -> RunningHost {
        RunningHost::current()
    }
}

fn folder(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|path| !path.is_empty()).map(PathBuf::from)
}
