//! A bench for tests: a folder, a clock, a server, and processes that share them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::environment::Environment;
use crate::error::{Error, ErrorCode};
use crate::http::Response;
use crate::http::scripted::{Received, ScriptedClient, response};
use crate::secret::Secret;
use crate::session::Session;
use crate::session::auth_status::AuthStatus;
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;
use crate::store::credential::NewCredential;
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::time::{Clock as _, TestClock, UnixMillis};

pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const ISSUER: &str = "https://auth.example.com";
pub(super) const TOKEN_ENDPOINT: &str = "https://auth.example.com/token";
pub(super) const REVOCATION_ENDPOINT: &str = "https://auth.example.com/revoke";

struct NoEnvironment;

impl Environment for NoEnvironment {
    fn var(&self, _name: &str) -> Option<OsString> {
        None
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// One machine with one process on it; [`Bench::another_process`] starts more.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<TestClock>,
    pub(super) http: Arc<ScriptedClient>,
    pub(super) session: Arc<Session>,
    pub(super) config: AuthConfig,
}

impl Bench {
    pub(super) fn new(http: ScriptedClient) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(TestClock::starting_at(START));
        let http = Arc::new(http);
        Self {
            session: Session::new(http.clone(), clock.clone(), Box::new(NoEnvironment)),
            config: parsed(&folder, json!({})),
            folder,
            clock,
            http,
        }
    }

    /// Logged in with tokens `a1` and `r1`, of which the first has lived for `age` of its `life` seconds.
    pub(super) fn logged_in(http: ScriptedClient, age: i64, life: i64) -> Self {
        let bench = Self::new(http);
        bench.store(&bench.credential("a1", Some("r1"), age, life));
        bench
    }

    pub(super) fn expired(http: ScriptedClient) -> Self {
        Self::logged_in(http, 3601, 3600)
    }

    pub(super) fn another_process(&self) -> Arc<Session> {
        Session::new(
            self.http.clone(),
            self.clock.clone(),
            Box::new(NoEnvironment),
        )
    }

    /// A text without the name of the folder, in which may be by chance what is looked for in the text.
    pub(super) fn without_folder(&self, text: &str) -> String {
        text.replace(&*self.folder.path().to_string_lossy(), "")
    }

    /// The config with other options; null removes one.
    pub(super) fn config_with(&self, options: Value) -> AuthConfig {
        parsed(&self.folder, options)
    }

    pub(super) fn location(&self) -> Location {
        self.session
            .location(&self.config, crate::blocking::Look::LONG)
            .unwrap()
    }

    pub(super) fn credential(
        &self,
        access: &str,
        refresh: Option<&str>,
        age: i64,
        life: i64,
    ) -> NewCredential {
        let issued = UnixMillis(self.clock.now().0 - age * 1000);
        NewCredential {
            access: Secret::from(access),
            refresh: refresh.map(Secret::from),
            expires: Some(UnixMillis(issued.0 + life * 1000)),
            refresh_expires: None,
            created_at: issued,
            refreshed_at: issued,
            token_type: "Bearer".to_owned(),
            dpop_key: None,
            scopes: None,
            id_token: None,
            issuer: Some(ISSUER.to_owned()),
            token_endpoint: Some(TOKEN_ENDPOINT.to_owned()),
            revocation_endpoint: Some(REVOCATION_ENDPOINT.to_owned()),
            client_id: Some("client".to_owned()),
            client_authentication: Some("none".to_owned()),
            registered_client: false,
            imported: false,
            resource_url: None,
            resource: None,
            required_scopes: None,
            subject: None,
            token_response: None,
            userinfo: None,
        }
    }

    pub(super) fn lock(&self) -> Locked {
        Locked::try_acquire(&self.location(), crate::blocking::MayBlock::in_test())
            .unwrap()
            .unwrap()
    }

    pub(super) fn store(&self, credential: &NewCredential) {
        self.lock().replace(credential).unwrap();
    }

    /// The contents of the credential file.
    pub(super) fn file(&self) -> Value {
        let text = std::fs::read(self.location().path()).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Changes the credential file without heeding its lock, as an editor or a restored backup would.
    pub(super) fn overwrite(&self) -> impl Fn(&str, Value) + Send + 'static {
        let path = self.location().path().to_owned();
        move |member, value| {
            let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            file[member] = value;
            std::fs::write(&path, file.to_string()).unwrap();
        }
    }

    pub(super) async fn token(&self) -> Result<String, Error> {
        self.token_of(&self.session).await
    }

    pub(super) async fn token_of(&self, session: &Arc<Session>) -> Result<String, Error> {
        token(session, &self.config, None, &Cancellation::default()).await
    }

    pub(super) async fn token_with(&self, config: &AuthConfig) -> Result<String, Error> {
        token(&self.session, config, None, &Cancellation::default()).await
    }

    /// The service answered 401 to that token.
    pub(super) async fn token_instead_of(&self, rejected: &str) -> Result<String, Error> {
        token(
            &self.session,
            &self.config,
            Some(rejected),
            &Cancellation::default(),
        )
        .await
    }

    pub(super) async fn status(&self) -> AuthStatus {
        self.session.status(&self.config).await.unwrap()
    }

    /// The refresh tokens that were sent, in order.
    pub(super) fn spent(&self) -> Vec<String> {
        sent(&self.http, "refresh_token")
    }

    /// The tokens that were revoked, in order.
    pub(super) fn revoked(&self) -> Vec<String> {
        sent(&self.http, "token")
    }
}

fn sent(http: &ScriptedClient, parameter: &str) -> Vec<String> {
    http.received()
        .iter()
        .filter_map(|request| request.parameter(parameter).map(str::to_owned))
        .collect()
}

fn parsed(folder: &TempDir, options: Value) -> AuthConfig {
    let mut config = json!({
        "pluginId": "demo",
        "issuer": ISSUER,
        "clientId": "client",
        "stateDir": folder.path(),
    });
    let members = config.as_object_mut().unwrap();
    let Value::Object(options) = options else {
        panic!("options are an object");
    };
    for (name, value) in options {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    AuthConfig::parse(config).unwrap()
}

pub(super) async fn token(
    session: &Arc<Session>,
    config: &AuthConfig,
    rejected: Option<&str>,
    cancellation: &Cancellation,
) -> Result<String, Error> {
    let request = TokenRequest {
        config: config.clone(),
        target: Target::default(),
        rejected: rejected.map(Secret::from),
        was_accepted: false,
        required_scope: None,
        hold: None,
    };
    let token = session.access_token(request, cancellation).await?;
    Ok(token.expose().to_owned())
}

/// A token response that lives an hour.
pub(super) fn tokens(access: &str, refresh: &str) -> String {
    tokens_for(access, refresh, 3600)
}

pub(super) fn tokens_for(access: &str, refresh: &str, life: u32) -> String {
    json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": life }).to_string()
}

/// A server that rotates for ever: `r1` becomes `a2` and `r2`, and so on.
pub(super) fn rotating(life: u32) -> ScriptedClient {
    ScriptedClient::new().otherwise(move |request| Ok(rotated(request, life)))
}

pub(super) fn rotated(request: &Received, life: u32) -> Response {
    let spent = request.parameter("refresh_token").unwrap_or("r0");
    let next = spent.trim_start_matches('r').parse::<u32>().unwrap() + 1;
    response(
        200,
        &tokens_for(&format!("a{next}"), &format!("r{next}"), life),
    )
}

pub(super) fn refusal(error: &str) -> String {
    json!({ "error": error }).to_string()
}

pub(super) fn retry_after(status: u16, seconds: u64) -> Response {
    Response {
        retry_after: Some(Duration::from_secs(seconds)),
        ..response(status, "")
    }
}

/// Lets time pass; the paused clock makes it cost none.
pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub(super) fn code(outcome: &Result<String, Error>) -> ErrorCode {
    outcome.as_ref().unwrap_err().code()
}
