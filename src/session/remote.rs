//! Where the person's browser is: here, or on another machine.

use crate::environment::Environment;

/// Whether a browser that the person uses is likely not to reach a port of this machine.
pub(super) fn is_remote(environment: &dyn Environment) -> bool {
    let is_set = |name| environment.var(name).is_some_and(|value| !value.is_empty());
    let has_no_screen =
        cfg!(target_os = "linux") && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY");
    is_set("SSH_CONNECTION") || is_set("SSH_TTY") || has_no_screen || environment.is_container()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::*;

    struct Variables(&'static [(&'static str, &'static str)], bool);

    impl Environment for Variables {
        fn var(&self, name: &str) -> Option<OsString> {
            let found = self.0.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        }

        fn home(&self) -> Option<PathBuf> {
            None
        }

        fn is_container(&self) -> bool {
            self.1
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_screen_and_no_ssh_and_no_container_is_here() {
        for (variables, is_container, remote) in [
            (&[][..], false, true),
            (&[("DISPLAY", "")], false, true),
            (&[("DISPLAY", ":0")], false, false),
            (&[("WAYLAND_DISPLAY", "wayland-0")], false, false),
            (&[("DISPLAY", ":0")], true, true),
            (
                &[("DISPLAY", ":10"), ("SSH_CONNECTION", "a 1 b 22")],
                false,
                true,
            ),
            (
                &[("DISPLAY", ":10"), ("SSH_TTY", "/dev/pts/1")],
                false,
                true,
            ),
        ] {
            let found = is_remote(&Variables(variables, is_container));
            assert_eq!(found, remote, "{variables:?}");
        }
    }
}
