//! One login in the file of a program.

use std::ops::Deref;

use serde_json::{Map, Value};

use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

use super::layout::{Layout, Login, provider_of};
use super::program::{Logout, Program};
use crate::store::credentials_format::Format;

/// One login in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    format: Format,
    layout: Layout,
}

impl Deref for Entry {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl Entry {
    pub(super) fn new(format: Format, profile: &str) -> Self {
        Self::at(format, (format.program().path)(profile), false)
    }

    /// In `oauth.json`, where clawdbot kept one login of each provider.
    pub(super) fn of_legacy(profile: &str) -> Self {
        let path = vec![provider_of(profile).to_owned()];
        Self::at(Format::AuthProfiles, path, true)
    }

    fn at(format: Format, path: Vec<String>, is_legacy: bool) -> Self {
        let program = format.program();
        Self {
            format,
            layout: Layout {
                path,
                is_legacy,
                is_refreshed_ahead: program.heeds_our_lock(),
                json_scope: program.json_scope,
            },
        }
    }

    pub(super) fn program(&self) -> &'static Program {
        self.format.program()
    }

    /// The login that is there.
    pub(super) fn login(&self, members: &Map<String, Value>) -> Login {
        (self.program().read)(self, members)
    }

    /// Writes a login into the file; members that are not part of it stay.
    pub(super) fn put(&self, text: &mut JsonText, login: &Snapshot) {
        (self.program().put)(self, text, login);
    }

    /// Takes the login out; false if nothing of the file stays.
    pub(super) fn remove(&self, text: &mut JsonText) -> bool {
        match self.program().logout {
            Logout::Rest => text.remove(&self.path_to(None)),
            Logout::Without(members) => {
                for name in members {
                    text.remove(&[name]);
                }
            }
            Logout::Nothing => return false,
        }
        true
    }
}
