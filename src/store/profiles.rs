//! The logins that a plugin has: the profiles at one place, and those in other state folders.

use crate::blocking::{Look, MayBlock};
use crate::environment::Environment;
use crate::error::Error;
use crate::store::credential::Stored;
use crate::store::location::{Location, LocationRequest, Place};
use crate::store::reading::read;
use crate::store::state_folder::state_dir;

pub(crate) use crate::store::own::place::MOST_AT_A_GLANCE;

/// Every profile of this plugin that something is stored for, sorted, logged-out ones included; with
/// `credentialsPath`, this one. None where the store cannot be listed, or not at a glance. Also whether any of them may be
/// a symbolic link.
///
/// # Errors
/// `STORE_IO` if the folder cannot be listed.
pub(crate) fn profiles(
    location: &Location,
    look: Look,
) -> Result<Option<(Vec<Location>, bool)>, Error> {
    let mut has_links = false;
    let places: Vec<Place> = match &location.0 {
        Place::Own(place) => {
            let Some(found) = place.profiles(look)? else {
                return Ok(None);
            };
            has_links = found.1;
            found.0.into_iter().map(Place::Own).collect()
        }
        Place::Foreign(place) => {
            let places = place.profiles(look)?.into_iter();
            places
                .map(|place| Place::Foreign(Box::new(place)))
                .collect()
        }
        Place::Given(place) => {
            let listed = look.may_block().map(|may| place.profiles(may));
            let Some(places) = listed.transpose()?.flatten() else {
                return Ok(None);
            };
            places.into_iter().map(Place::Given).collect()
        }
    };
    let locations = places.into_iter().map(Location).collect();
    Ok(Some((locations, has_links)))
}

/// The reason for the chosen place, and logins of the same plugin in other state folders.
pub(crate) fn rivals(
    location: &Location,
    request: &LocationRequest<'_>,
    environment: &dyn Environment,
    may: MayBlock,
) -> (&'static str, Vec<Location>) {
    let place = match &location.0 {
        Place::Own(place) if place.folder().is_some() => place,
        Place::Own(_) => return ("credentialsPath", Vec::new()),
        Place::Foreign(_) => return ("credentialsFormat", Vec::new()),
        Place::Given(_) => return ("store", Vec::new()),
    };
    let decided_by = state_dir(request.state_dir, environment, may.into()).map_or("", |(_, by)| by);
    let rivals = place
        .elsewhere(environment, may)
        .iter()
        .filter_map(|other| other.profiles(may.into()).ok().flatten())
        .flat_map(|(places, _)| places)
        .map(|place| Location(Place::Own(place)))
        .filter(|rival| !matches!(read(rival, may.into()), Ok(Stored::LoggedOut)))
        .collect();
    (decided_by, rivals)
}
