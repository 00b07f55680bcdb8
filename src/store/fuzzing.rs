//! The rules that hold for any contents of a file.

#![expect(clippy::panic, reason = "tests, which fuzz targets run as well")]

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::credential::{NewCredential, Snapshot, Stored};
use super::earlier_login::EarlierLogin;
use super::format::{self, Document};
use super::journal::{Journal, Secrets, Worth};
use super::name;
use super::registration::{StoredClient, StoredList};
use super::sidecar::SmallDocument as _;
use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::time::UnixMillis;

pub(crate) use super::foreign::fuzzing::foreign_file;

const PATH: &str = "/state/credentials/memory/default.json";
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// The members that a rewrite sets or removes.
const OURS: [&str; 34] = [
    "version",
    "access",
    "refresh",
    "expires",
    "createdAt",
    "refreshedAt",
    "tokenType",
    "scopes",
    "idToken",
    "issuer",
    "tokenEndpoint",
    "revocationEndpoint",
    "clientId",
    "clientAuthentication",
    "registeredClient",
    "dpopKey",
    "imported",
    "storage",
    "secretsId",
    "refreshable",
    "bound",
    "formerSecrets",
    "replaces",
    "lastRefresh",
    "loggedOutAt",
    "adopted",
    "clients",
    "resource",
    "resourceUrl",
    "requiredScopes",
    "subject",
    "tokenResponse",
    "userinfo",
    "carried",
];

fn check_error(error: &Error) {
    assert!(matches!(
        error.code(),
        ErrorCode::StoreCorrupt | ErrorCode::StoreVersion
    ));
    let shown = format!("{error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        !shown.chars().any(char::is_control) && shown.len() < 400,
        "{shown}"
    );
}

fn members(document: &Document) -> Value {
    Value::Object(document.members().clone())
}

fn foreign(members: &Map<String, Value>) -> Map<String, Value> {
    let is_foreign = |name: &String| !OURS.contains(&name.as_str());
    members
        .iter()
        .filter(|(name, _)| is_foreign(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn reread(document: &Document) -> (Stored, Document) {
    format::parse(&document.to_json(), &PATH).unwrap_or_else(|error| panic!("{error}"))
}

fn rewritten(snapshot: &Snapshot) -> NewCredential {
    NewCredential {
        access: Secret::from("new-access"),
        refresh: None,
        expires: snapshot.expires(),
        refresh_expires: snapshot.refresh_expires(),
        created_at: snapshot.created_at(),
        refreshed_at: NOW,
        token_type: "Bearer".to_owned(),
        dpop_key: snapshot.dpop_key().cloned(),
        imported: snapshot.imported(),
        resource_url: snapshot.resource_url().map(str::to_owned),
        resource: snapshot.resource().map(str::to_owned),
        required_scopes: Some(snapshot.required_scopes().to_vec())
            .filter(|scopes| !scopes.is_empty()),
        subject: snapshot.subject().map(str::to_owned),
        token_response: snapshot.token_response().cloned(),
        userinfo: snapshot.userinfo().cloned(),
        scopes: snapshot.scopes().map(<[String]>::to_vec),
        id_token: snapshot.id_token().cloned(),
        issuer: snapshot.issuer().map(str::to_owned),
        token_endpoint: snapshot.token_endpoint().map(str::to_owned),
        revocation_endpoint: snapshot.revocation_endpoint().map(str::to_owned),
        client_id: snapshot.client_id().map(str::to_owned),
        client_authentication: snapshot.client_authentication().map(str::to_owned),
        registered_client: snapshot.registered_client(),
    }
}

/// The credential, if it is one.
pub(crate) fn credential_file(input: &[u8]) -> Option<Snapshot> {
    let (stored, document) = match format::parse(input, &PATH) {
        Ok(parsed) => parsed,
        Err(error) => {
            check_error(&error);
            return None;
        }
    };
    let (again, same) = reread(&document);
    assert_eq!(again, stored);
    assert_eq!(
        members(&same),
        members(&document),
        "it reads back as something else"
    );
    let Stored::Credential(snapshot) = stored else {
        return None;
    };
    assert!(!snapshot.access().expose().is_empty());

    let new = rewritten(&snapshot);
    let kept = foreign(document.members());
    let (stored, document) = reread(&Document::of_credential(
        document,
        &new,
        snapshot.refresh(),
        None,
    ));
    assert_eq!(foreign(document.members()), kept);
    let Stored::Credential(written) = stored else {
        panic!("a credential became something else");
    };
    assert_eq!(written.access(), &new.access);
    assert_eq!(written.refresh(), snapshot.refresh());
    assert_eq!(written.expires(), new.expires);
    assert_eq!(written.scopes(), new.scopes.as_deref());
    assert_eq!(written.client_id(), new.client_id.as_deref());
    assert_eq!(written.last_refresh(), None);
    Some(snapshot)
}

pub(crate) fn leftover_file(input: &[u8]) {
    let spent = Secret::from("spent");
    let stored = |refresh: &str| {
        let text =
            format!(r#"{{"version":1,"access":"a","refresh":"{refresh}","refreshedAt":1000}}"#);
        format::parse(text.as_bytes(), &PATH).map(|(stored, _)| stored)
    };
    let (Ok(current), Ok(other)) = (stored(spent.expose()), stored("another")) else {
        return;
    };
    let temp = Path::new("/state/credentials/memory/.default.json.tmp");
    let journal = Journal::of(Path::new(PATH));
    match journal.weigh(
        temp,
        Some(input),
        &current,
        Secrets::Unasked,
        MayBlock::in_test(),
    ) {
        Ok(Worth::Successor(found)) => {
            // It names the stored refresh token as its predecessor, and is complete.
            let text = String::from_utf8_lossy(input);
            assert!(text.contains(spent.fingerprint().as_str()));
            assert!(matches!(
                format::parse(format::without_padding(input), &temp.display()),
                Ok((Stored::Credential(snapshot), _)) if snapshot.refreshed_at() == found.refreshed_at
            ));
        }
        Ok(Worth::Nothing | Worth::Unknown) => {}
        Err(error) => check_error(&error),
    }
    // Never in the place of what it does not replace.
    let is_put_in_place_of = |stored| {
        matches!(
            journal.weigh(
                temp,
                Some(input),
                stored,
                Secrets::Unasked,
                MayBlock::in_test()
            ),
            Ok(Worth::Successor(_))
        )
    };
    let text = String::from_utf8_lossy(input);
    if !text.contains(Secret::from("another").fingerprint().as_str()) {
        assert!(!is_put_in_place_of(&other));
    }
    assert!(!is_put_in_place_of(&Stored::Nothing));
    assert!(!is_put_in_place_of(&Stored::LoggedOut));
    assert!(matches!(
        journal.weigh(temp, None, &current, Secrets::Unasked, MayBlock::in_test()),
        Ok(Worth::Nothing)
    ));
}

pub(crate) fn handwritten_login(input: &[u8]) {
    let Some(login) =
        EarlierLogin::parse(PathBuf::from("/extensions/memory/credentials.json"), input)
    else {
        return;
    };
    let new = login.credential(NOW);
    assert!(!new.access.expose().is_empty());
    assert!(new.refreshed_at <= NOW);
    // An adopted login can be read from then on.
    let document = Document::of_credential(Document::default(), &new, None, None)
        .with_adopted(login.path(), login.digest());
    let (stored, _) = reread(&document);
    assert_eq!(stored, Stored::Credential(new.snapshot()));
}

pub(crate) fn registrations_file(input: &[u8]) {
    let path = Path::new("/state/credentials/memory/clients/x.json");
    let mut list = match StoredList::parse(input, &path.display()) {
        Ok(list) => list,
        Err(error) => return check_error(&error),
    };
    let reread = |list: &StoredList| {
        StoredList::parse(&list.to_json(), &path.display())
            .unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(reread(&list).clients, list.clients);
    let new = StoredClient {
        client_id: "new".to_owned(),
        client_secret: Some(Secret::from("s")),
        secret_expires_at: Some(NOW),
        authentication: "client_secret_post".to_owned(),
        redirect_uri: None,
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: NOW,
    };
    list.remove("new");
    let older: Vec<StoredClient> = list.clients.iter().take(7).cloned().collect();
    list.insert(new.clone());
    let mut again = reread(&list);
    assert_eq!(again.clients.first(), Some(&new));
    assert_eq!(again.clients.get(1..), Some(older.as_slice()));
    assert!(again.remove("new") && !again.remove("new"));
    assert_eq!(reread(&again).clients, older);
}

pub(crate) fn file_name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let encoded = name::encode(&text);
    assert_eq!(name::decode(&encoded).as_deref(), Some(&*text));
    assert!(!encoded.contains(['/', '\\', ':', '\0']) && !encoded.starts_with('.'));
    if let Some(decoded) = name::decode(&text) {
        assert_eq!(name::encode(&decoded), text);
    }
}
