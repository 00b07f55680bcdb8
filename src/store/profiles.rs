//! The logins that a plugin has: the profiles at one place, and those in other state folders.

use std::io;
use std::path::PathBuf;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::store::credential::Stored;
use crate::store::foreign::file::patiently;
use crate::store::foreign::format::Format;
use crate::store::foreign::profiles::of_provider;
use crate::store::location::{Environment, Location, LocationRequest};
use crate::store::name;
use crate::store::reading::read;

/// Every profile of this plugin that has a file, sorted, logged-out ones included; with `credentialsPath`, this one.
///
/// # Errors
/// `STORE_IO` if the folder cannot be listed.
pub(crate) fn profiles(location: &Location, may: Option<MayBlock>) -> Result<Vec<Location>, Error> {
    if location.foreign_format() == Some(Format::AuthProfiles) {
        let profiles = match may {
            Some(may) => patiently(may, || of_provider(location))?,
            None => of_provider(location)?,
        };
        return Ok(profiles
            .into_iter()
            .map(|profile| location.of_profile(profile))
            .collect());
    }
    let Some(folder) = location.own_folder() else {
        return Ok(vec![location.clone()]);
    };
    let fail = |error: io::Error| io_failure::explain(&error, Attempt::List, folder);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let file_name = entry.file_name();
        let profile = file_name
            .to_str()
            .and_then(|file_name| file_name.strip_suffix(".json"))
            .and_then(name::decode);
        if let Some(profile) = profile.filter(|profile| !profile.is_empty())
            && entry.path().is_file()
        {
            found.push(location.of_profile_file(entry.path(), profile));
        }
    }
    found.sort_by(|a, b| a.profile().cmp(b.profile()));
    Ok(found)
}

/// What decided on the state folder, and those logins of the same plugin that lie in other ones.
pub(crate) fn rivals(
    location: &Location,
    request: &LocationRequest<'_>,
    environment: &dyn Environment,
) -> (&'static str, Vec<PathBuf>) {
    let (decided_by, others) = location.elsewhere(request, environment);
    let rivals = others
        .iter()
        .flat_map(|other| profiles(other, None).unwrap_or_default())
        .filter(|profile| !matches!(read(profile, None), Ok(Stored::LoggedOut)))
        .map(|profile| profile.path().to_owned())
        .collect();
    (decided_by, rivals)
}
