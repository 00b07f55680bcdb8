//! Where the environment of the process is read; injected, so that tests can set it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use running_host::RunningHost;

pub(crate) mod running_host;

/// The environment of the process.
pub(crate) trait Environment: Send + Sync {
    /// A variable.
    fn var(&self, name: &str) -> Option<OsString>;
    /// The user's home folder.
    fn home(&self) -> Option<PathBuf>;
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
        let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.var(variable)
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
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
