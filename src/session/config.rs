//! `AuthConfig`, parsed once: a value of this type is valid.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};
use crate::http::endpoint::{AllowHttp, Endpoint};
use crate::oauth::challenge::is_scope;
use crate::oauth::client::ClientAuthentication;
use crate::oauth::is_own_parameter;
use crate::oauth::issuer::Issuer;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::server_text::visible;
use crate::secret::Secret;
use crate::store::credentials_format::Format;
use crate::store::name::DEFAULT_PROFILE;
use crate::store::plugin_store::PluginStore;

/// How a person logs in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Flow {
    /// RFC 8628
    DeviceCode,
    /// RFC 6749 §4.1, with the redirect URI
    AuthorizationCode(RedirectUri),
    /// RFC 6749 §4.4: nobody logs in, the client itself does.
    ClientCredentials,
    /// Not said: the device flow where the server offers it, else the browser.
    Offered(RedirectUri),
}

/// The authorization server, the client, and the owner of the credential.
#[derive(Clone, PartialEq)]
pub(crate) struct AuthConfig {
    pub(crate) plugin_id: String,
    pub(crate) profile: String,
    /// The accounts that the config names, the preferred one first; none: the order of the store decides.
    pub(crate) accounts: Option<Arc<[String]>>,
    pub(crate) issuer: Option<Issuer>,
    /// The origins on other machines that may be spoken to without TLS.
    pub(crate) allow_http: AllowHttp,
    pub(crate) flow: Flow,
    pub(crate) authorization_endpoint: Option<Endpoint>,
    pub(crate) device_authorization_endpoint: Option<Endpoint>,
    pub(crate) token_endpoint: Option<Endpoint>,
    pub(crate) revocation_endpoint: Option<Endpoint>,
    pub(crate) registration_endpoint: Option<Endpoint>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) client_authentication: Option<ClientAuthentication>,
    /// The path of a private key.
    pub(crate) client_key: Option<String>,
    /// A client id metadata document, which is an id where the server takes such.
    pub(crate) client_metadata_url: Option<String>,
    pub(crate) client_name: String,
    pub(crate) client_metadata: Map<String, Value>,
    pub(crate) scopes: Vec<String>,
    /// Between the scopes of a request, and of an answer.
    pub(crate) scope_delimiter: char,
    pub(crate) audience: Option<String>,
    pub(crate) resource: Vec<String>,
    /// Further ones that the login is for: each gets a token of its own.
    pub(crate) other_resources: Vec<String>,
    pub(crate) pkce: bool,
    pub(crate) dpop: bool,
    pub(crate) extra_parameters: Vec<(String, String)>,
    /// The parameters of the request that a person approves: these and the extra ones.
    pub(crate) authorization_parameters: Vec<(String, String)>,
    /// Members of token answers that are kept.
    pub(crate) token_response: Vec<String>,
    pub(crate) userinfo: Userinfo,
    /// Files of earlier logins.
    pub(crate) adopt: Vec<String>,
    pub(crate) state_dir: Option<String>,
    pub(crate) credentials_path: Option<String>,
    pub(crate) credentials_format: Option<Format>,
    pub(crate) agent_id: String,
    /// The plugin's own store for logins.
    pub(crate) store: Option<PluginStore>,
    pub(crate) storage: WantedStorage,
    pub(crate) refresh_buffer: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) lock_timeout: Duration,
}

/// Where a login is to be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WantedStorage {
    /// Not said: in the file.
    Unsaid,
    File,
    Keychain,
    /// In the keychain where there is one.
    Auto,
}

impl WantedStorage {
    pub(crate) fn may_be_keychain(self) -> bool {
        matches!(self, Self::Keychain | Self::Auto)
    }
}

/// Whether a login asks who has logged in.
#[derive(Clone, PartialEq)]
pub(crate) enum Userinfo {
    Unasked,
    /// At the endpoint that the server's metadata names.
    Announced,
    At(Endpoint),
}

impl Userinfo {
    /// The endpoint of the config.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::At(endpoint) => Some(endpoint.clone()),
            Self::Unasked | Self::Announced => None,
        }
    }
}

const OPTIONS: [&str; 42] = [
    "pluginId",
    "profile",
    "order",
    "issuer",
    "flow",
    "redirectUri",
    "authorizationEndpoint",
    "deviceAuthorizationEndpoint",
    "tokenEndpoint",
    "revocationEndpoint",
    "registrationEndpoint",
    "clientId",
    "clientSecret",
    "clientAuthentication",
    "clientKey",
    "clientMetadataUrl",
    "clientName",
    "clientMetadata",
    "scopes",
    "scopeDelimiter",
    "audience",
    "resource",
    "otherResources",
    "pkce",
    "dpop",
    "extraParameters",
    "authorizationParameters",
    "tokenResponse",
    "userinfo",
    "token",
    "allowHttp",
    "adopt",
    "stateDir",
    "credentialsPath",
    "credentialsFormat",
    "agentId",
    "profileId",
    "store",
    "storage",
    "refreshBufferMs",
    "requestTimeoutMs",
    "lockTimeoutMs",
];

impl AuthConfig {
    /// Parses the object that JavaScript gave.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, naming the option, what is wrong with it and what it takes.
    pub(crate) fn parse(config: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = config else {
            return Err(invalid(
                "The config must be an object such as { pluginId, issuer, scopes }.",
            ));
        };
        known_names(members.keys().map(String::as_str), &OPTIONS, "option")?;
        let mut options = Options(&mut members);

        let plugin_id = options
            .text("pluginId")?
            .ok_or_else(|| invalid("`pluginId` is missing: give the id of your plugin."))?;
        let account = Account::take(&mut options, &plugin_id)?;
        let allow_http = AllowHttp::new(options.list("allowHttp", AllowHttp::check)?);
        let endpoint = |text: &str| allow_http.endpoint(text);
        let extra_parameters = options.parameters("extraParameters")?;
        let config = Self {
            profile: account.profile,
            accounts: account.accounts.map(Into::into),
            credentials_format: account.format,
            agent_id: account.agent_id,
            store: options.no_store()?,
            issuer: options.parsed("issuer", |text| Issuer::parse(text, &allow_http))?,
            flow: options.flow()?,
            authorization_endpoint: options.parsed("authorizationEndpoint", endpoint)?,
            device_authorization_endpoint: options
                .parsed("deviceAuthorizationEndpoint", endpoint)?,
            token_endpoint: options.parsed("tokenEndpoint", endpoint)?,
            revocation_endpoint: options.parsed("revocationEndpoint", endpoint)?,
            registration_endpoint: options.parsed("registrationEndpoint", endpoint)?,
            client_id: options.text("clientId")?,
            client_secret: options.text("clientSecret")?.map(Secret::new),
            client_authentication: options.parsed("clientAuthentication", |name| {
                ClientAuthentication::from_name(name).ok_or_else(|| {
                    "must be \"none\", \"client_secret_basic\", \"client_secret_post\" or \"private_key_jwt\"".to_owned()
                })
            })?,
            client_key: options.text("clientKey")?,
            client_metadata_url: options.parsed("clientMetadataUrl", client_metadata_url)?,
            client_name: options
                .text("clientName")?
                .unwrap_or_else(|| plugin_id.clone()),
            client_metadata: options.object("clientMetadata")?,
            scopes: options.list("scopes", scope)?,
            scope_delimiter: options.scope_delimiter()?,
            audience: options.text("audience")?,
            resource: options.list("resource", resource)?,
            other_resources: options.list("otherResources", resource)?,
            pkce: options.flag("pkce")?,
            dpop: options.flag("dpop")?,
            authorization_parameters: {
                let mut all = extra_parameters.clone();
                for (name, value) in options.parameters("authorizationParameters")? {
                    all.retain(|(other, _)| *other != name);
                    all.push((name, value));
                }
                all
            },
            extra_parameters,
            token_response: options.list("tokenResponse", kept_member)?,
            userinfo: options.userinfo(endpoint)?,
            adopt: options.adopt()?,
            state_dir: options.text("stateDir")?,
            credentials_path: options.text("credentialsPath")?,
            storage: options
                .parsed("storage", storage)?
                .unwrap_or(WantedStorage::Unsaid),
            refresh_buffer: options.millis("refreshBufferMs", 300_000, 0)?,
            request_timeout: options.millis("requestTimeoutMs", 30_000, 1)?,
            lock_timeout: options.millis("lockTimeoutMs", 60_000, 0)?,
            allow_http: allow_http.clone(),
            plugin_id,
        };
        config.consistent()?;
        if account.has_order && config.credentials_path.is_some() {
            return Err(invalid(
                "`order` needs several accounts, and `credentialsPath` is the file of one: leave one of them out.",
            ));
        }
        Ok(config)
    }

    /// Keeps the logins in that store.
    ///
    /// # Errors
    /// `INVALID_CONFIG` where the config keeps them elsewhere.
    pub(crate) fn keeping_in(self, store: PluginStore) -> Result<Self, Error> {
        if self.credentials_path.is_some()
            || self.credentials_format.is_some()
            || self.storage.may_be_keychain()
        {
            return Err(invalid(
                "`store` takes the place of the file: leave `credentialsPath`, `credentialsFormat` and `storage` out.",
            ));
        }
        Ok(Self {
            store: Some(store),
            ..self
        })
    }

    /// The config of this account alone.
    pub(super) fn of_account(&self, profile: &str) -> Self {
        let mut other = self.clone();
        other.mean(profile);
        other
    }

    /// From now on for this account alone. An earlier login is that of the account that is meant first.
    pub(super) fn mean(&mut self, profile: &str) {
        if self.profile != profile {
            self.adopt.clear();
            profile.clone_into(&mut self.profile);
        }
        let own = self.accounts.as_mut().and_then(Arc::get_mut);
        if let Some([only]) = own {
            profile.clone_into(only);
        } else {
            self.accounts = Some([profile.to_owned()].into());
        }
    }

    fn consistent(&self) -> Result<(), Error> {
        if self.client_secret.is_some() && self.client_id.is_none() {
            return Err(invalid(
                "`clientSecret` is given without `clientId`: give both, or neither to register a client.",
            ));
        }
        if self.scope_delimiter == ',' && self.scopes.iter().any(|scope| scope.contains(',')) {
            return Err(invalid(
                "`scopes` has an entry with a comma, and `scopeDelimiter` is \",\": give each scope as an entry of its own.",
            ));
        }
        if let Some(format) = self.credentials_format
            && (self.storage.may_be_keychain() || self.dpop)
        {
            return Err(invalid(format!(
                "`credentialsFormat: \"{}\"` has no place for a key, and is a file: leave `storage` and `dpop` out.",
                format.name()
            )));
        }
        if self.credentials_format.is_some() && !self.adopt.is_empty() {
            return Err(invalid(
                "`adopt` brings a login into a place of our own, and `credentialsFormat` is another program's: leave one of them out.",
            ));
        }
        let has_key = self.client_authentication == Some(ClientAuthentication::PrivateKeyJwt);
        if has_key != self.client_key.is_some() {
            return Err(invalid(
                "`clientAuthentication: \"private_key_jwt\"` and `clientKey`, the path of a private key, go together: give both.",
            ));
        }
        // RFC 6749 §4.4: it "MUST only be used by confidential clients".
        if self.flow == Flow::ClientCredentials && self.client_secret.is_none() && !has_key {
            return Err(invalid(
                "`flow: \"client_credentials\"` needs `clientId`, and `clientSecret` or `clientKey`: the client itself logs in.",
            ));
        }
        if self.userinfo == Userinfo::Announced && self.issuer.is_none() && self.resource.is_empty()
        {
            return Err(invalid(
                "`userinfo: true` asks at the endpoint that the server announces, and there is no `issuer`: give the URL of the \
                 endpoint instead.",
            ));
        }
        match (self.client_authentication, &self.client_secret) {
            (Some(ClientAuthentication::None | ClientAuthentication::PrivateKeyJwt), Some(_)) => {
                Err(invalid(
                    "`clientAuthentication` needs no secret but `clientSecret` is given: leave one of them out.",
                ))
            }
            (
                Some(
                    ClientAuthentication::ClientSecretBasic
                    | ClientAuthentication::ClientSecretPost,
                ),
                None,
            ) if self.client_id.is_some() => Err(invalid(
                "`clientAuthentication` needs a `clientSecret`: give it, or leave `clientAuthentication` out.",
            )),
            _ => Ok(()),
        }
    }

    /// `scope`, as the server wants it in a request.
    pub(crate) fn scope(&self) -> String {
        self.joined(&self.scopes)
    }

    /// Scopes, as the server wants them in a request.
    pub(super) fn joined(&self, scopes: &[String]) -> String {
        scopes.join(self.scope_delimiter.encode_utf8(&mut [0; 4]))
    }

    /// The scopes of an answer, which was split at spaces.
    pub(crate) fn split(&self, scopes: Vec<String>) -> Vec<String> {
        if self.scope_delimiter == ' ' {
            return scopes;
        }
        let parts = scopes
            .iter()
            .flat_map(|scope| scope.split(self.scope_delimiter));
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// The redirect URI to register.
    pub(crate) fn redirect_uri(&self) -> Option<&RedirectUri> {
        match &self.flow {
            Flow::DeviceCode | Flow::ClientCredentials => None,
            Flow::AuthorizationCode(redirect_uri) | Flow::Offered(redirect_uri) => {
                Some(redirect_uri)
            }
        }
    }

    /// Refuses a config that names no authorization server.
    pub(crate) fn names_a_server(&self) -> Result<(), Error> {
        if self.issuer.is_some() || self.token_endpoint.is_some() || !self.resource.is_empty() {
            return Ok(());
        }
        Err(invalid(
            "No authorization server: give `issuer`, the URL of a `resource` that names one, or `tokenEndpoint` and \
             `deviceAuthorizationEndpoint`.",
        ))
    }

    /// The resource that is asked for its authorization server, where nothing else says it.
    pub(crate) fn asked_resource(&self) -> Option<&str> {
        let is_named = self.issuer.is_some() || self.token_endpoint.is_some();
        self.resource
            .first()
            .map(String::as_str)
            .filter(|_| !is_named)
    }

    /// RFC 8707 §2.1: the resources that a person is asked to allow.
    pub(super) fn all_resources(&self) -> Vec<String> {
        [self.resource.as_slice(), &self.other_resources].concat()
    }

    /// The resources of a request for a login at that one (RFC 8707).
    pub(super) fn resources(&self, identifier: Option<&str>) -> Vec<String> {
        let mut resources = self.resource.clone();
        if let (Some(identifier), true) = (identifier, self.asked_resource().is_some())
            && let Some(first) = resources.first_mut()
        {
            identifier.clone_into(first);
        }
        resources
    }
}

/// The members of an options object, taken out one by one.
pub(super) struct Options<'a>(pub(super) &'a mut Map<String, Value>);

impl Options<'_> {
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(Value::String(_)) => Err(invalid(format!(
                "`{name}` is empty: give a value or leave it out."
            ))),
            Some(other) => Err(wrong_type(name, "a string", &other)),
        }
    }

    /// The binding takes a store out of what is one.
    fn no_store(&mut self) -> Result<Option<PluginStore>, Error> {
        match self.0.remove("store") {
            None => Ok(None),
            Some(_) => Err(invalid(
                "`store` must be an object with the functions `read`, `write` and `withLock`.",
            )),
        }
    }

    /// One path, or several.
    fn adopt(&mut self) -> Result<Vec<String>, Error> {
        const NAME: &str = "adopt";
        if let Some(Value::Array(_)) = self.0.get(NAME) {
            return self.list(NAME, |_| Ok(()));
        }
        Ok(self.text(NAME)?.into_iter().collect())
    }

    fn scope_delimiter(&mut self) -> Result<char, Error> {
        const NAME: &str = "scopeDelimiter";
        match self.0.remove(NAME).as_ref().map(Value::as_str) {
            None | Some(Some(" ")) => Ok(' '),
            Some(Some(",")) => Ok(','),
            _ => Err(invalid(format!("`{NAME}` must be \" \" or \",\"."))),
        }
    }

    fn flow(&mut self) -> Result<Flow, Error> {
        let redirect_uri = self.parsed("redirectUri", RedirectUri::parse)?;
        let uri = |given: Option<RedirectUri>| given.unwrap_or_else(RedirectUri::on_a_free_port);
        match (self.text("flow")?.as_deref(), redirect_uri) {
            (None, redirect_uri) => Ok(Flow::Offered(uri(redirect_uri))),
            (Some("device_code"), None) => Ok(Flow::DeviceCode),
            (Some("client_credentials"), None) => Ok(Flow::ClientCredentials),
            (Some("device_code" | "client_credentials"), Some(_)) => Err(invalid(
                "`redirectUri` is given, which this flow has no use for: set `flow` to \"authorization_code\", or leave \
                 it out.",
            )),
            (Some("authorization_code"), redirect_uri) => {
                Ok(Flow::AuthorizationCode(uri(redirect_uri)))
            }
            _ => Err(invalid(
                "`flow` must be \"device_code\", \"authorization_code\" or \"client_credentials\".",
            )),
        }
    }

    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        self.text(name)?
            .map(|text| parse(&text).map_err(|reason| invalid(format!("`{name}` {reason}."))))
            .transpose()
    }

    pub(super) fn list(
        &mut self,
        name: &str,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<String>, Error> {
        let items = match self.0.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong_type(name, "an array of strings", &other)),
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => check(&text)
                    .map_err(|reason| invalid(format!("`{name}` has an entry that {reason}.")))
                    .map(|()| text),
                other => Err(wrong_type(name, "an array of strings", &other)),
            })
            .collect()
    }

    fn userinfo(
        &mut self,
        endpoint: impl Fn(&str) -> Result<Endpoint, String>,
    ) -> Result<Userinfo, Error> {
        if self.0.get("userinfo").is_some_and(Value::is_boolean) {
            return Ok(if self.flag("userinfo")? {
                Userinfo::Announced
            } else {
                Userinfo::Unasked
            });
        }
        let at = self.parsed("userinfo", endpoint)?;
        Ok(at.map_or(Userinfo::Unasked, Userinfo::At))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong_type(name, "true or false", &other)),
        }
    }

    fn object(&mut self, name: &str) -> Result<Map<String, Value>, Error> {
        match self.0.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(other) => Err(wrong_type(name, "an object", &other)),
        }
    }

    fn parameters(&mut self, name: &str) -> Result<Vec<(String, String)>, Error> {
        self.object(name)?
            .into_iter()
            .map(|(parameter, value)| match value {
                _ if is_own_parameter(&parameter) => Err(invalid(format!(
                    "`{name}` names `{parameter}`, which the library sets itself: use the option for it."
                ))),
                Value::String(text) => Ok((parameter, text)),
                other => Err(wrong_type(
                    &format!("{name}.{}", printable(&parameter)),
                    "a string",
                    &other,
                )),
            })
            .collect()
    }

    fn millis(&mut self, name: &str, default: u32, least: u32) -> Result<Duration, Error> {
        const DAY: u32 = 86_400_000;
        let Some(value) = self.0.remove(name) else {
            return Ok(Duration::from_millis(u64::from(default)));
        };
        let Value::Number(number) = &value else {
            return Err(wrong_type(name, "a number of milliseconds", &value));
        };
        number
            .as_f64()
            .filter(|millis| (f64::from(least)..=f64::from(DAY)).contains(millis))
            .map(|millis| Duration::from_secs_f64(millis / 1000.0))
            .ok_or_else(|| {
                invalid(format!(
                    "`{name}` is {number}: it takes milliseconds from {least} to {DAY}."
                ))
            })
    }
}

/// The account of a login, and the format of its store.
struct Account {
    profile: String,
    accounts: Option<Vec<String>>,
    has_order: bool,
    format: Option<Format>,
    agent_id: String,
}

impl Account {
    fn take(options: &mut Options<'_>, plugin_id: &str) -> Result<Self, Error> {
        let profile = options.text("profile")?;
        let order = profiles(plugin_id, "order", options.list("order", |_| Ok(()))?)?;
        let has_order = !order.is_empty();
        let accounts = match profile {
            Some(profile) => profiles(plugin_id, "profile", vec![profile])?,
            None => order,
        };
        let format = options.parsed("credentialsFormat", credentials_format)?;
        let agent_id = options.text("agentId")?;
        let profile_id = options.text("profileId")?;
        let is_shared = format.is_some_and(Format::is_shared);
        if format != Some(Format::AuthProfiles) && agent_id.is_some()
            || !is_shared && profile_id.is_some()
        {
            return Err(invalid(
                "`agentId` is for `credentialsFormat: \"auth-profiles\"`, `profileId` for that and \"pi\": give that, or leave \
                 them out.",
            ));
        }
        let is_named = !accounts.is_empty();
        let first = accounts
            .first()
            .map_or(DEFAULT_PROFILE, String::as_str)
            .to_owned();
        let (profile, accounts) = match format {
            None => (first, is_named.then_some(accounts)),
            Some(_) if has_order => {
                return Err(invalid(
                    "`order` is for files of our own: with `credentialsFormat` leave it out; \"auth-profiles\" has the host's.",
                ));
            }
            Some(Format::AuthProfiles) if is_named && profile_id.is_some() => {
                return Err(invalid(
                    "`profile` and `profileId` name the same: leave one of them out.",
                ));
            }
            Some(Format::AuthProfiles) => {
                let named = is_named.then(|| format!("{plugin_id}:{first}"));
                host_profile(plugin_id, named.or(profile_id))
            }
            Some(_) if first != DEFAULT_PROFILE => {
                return Err(invalid(
                    "`profile` names one of several accounts, and the file of `credentialsFormat` holds one: leave it out.",
                ));
            }
            // There the id of a provider.
            Some(_) if is_shared => (profile_id.unwrap_or_else(|| plugin_id.to_owned()), None),
            Some(_) => (first, None),
        };
        Ok(Self {
            profile,
            accounts,
            has_order,
            format,
            agent_id: agent_id.unwrap_or_else(|| "main".to_owned()),
        })
    }
}

fn credentials_format(name: &str) -> Result<Format, String> {
    Format::ALL
        .into_iter()
        .find(|format| format.name() == name)
        .ok_or_else(|| {
            let names = Format::ALL.map(Format::name).join("\", \"");
            format!("must be one of \"{names}\"")
        })
}

/// `provider:name` is one login; a provider alone, by default the plugin, leaves the choice to the host's order.
fn host_profile(plugin_id: &str, profile_id: Option<String>) -> (String, Option<Vec<String>>) {
    match profile_id {
        Some(profile) if profile.contains(':') => (profile.clone(), Some(vec![profile])),
        provider => {
            let provider = provider.as_deref().unwrap_or(plugin_id);
            (format!("{provider}:{DEFAULT_PROFILE}"), None)
        }
    }
}

fn storage(name: &str) -> Result<WantedStorage, String> {
    match name {
        "file" => Ok(WantedStorage::File),
        "keychain" => Ok(WantedStorage::Keychain),
        "auto" => Ok(WantedStorage::Auto),
        _ => Err("must be \"file\", \"keychain\" or \"auto\"".to_owned()),
    }
}

/// The one flag of an options object.
pub(crate) fn flag(mut members: Map<String, Value>, name: &str) -> Result<bool, Error> {
    known_names(members.keys().map(String::as_str), &[name], "option")?;
    Options(&mut members).flag(name)
}

/// The profiles of names or `"<plugin>:<profile>"` ids.
pub(super) fn profiles(
    plugin_id: &str,
    option: &str,
    names: Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut profiles = Vec::with_capacity(names.len());
    for name in names {
        let own = name
            .strip_prefix(plugin_id)
            .and_then(|rest| rest.strip_prefix(':'))
            .map(str::to_owned);
        let shown = || -> String { visible(&name).chars().take(64).collect() };
        if own.is_none() && name.contains(':') {
            return Err(invalid(format!(
                "`{option}` names \"{}\", which is no account of this plugin: give \"{}:<profile>\", or the profile alone.",
                shown().escape_debug(),
                visible(plugin_id)
            )));
        }
        let profile = own.as_deref().unwrap_or(&name);
        if profile.trim().is_empty() {
            return Err(invalid(format!(
                "`{option}` has an empty name: give that of a profile."
            )));
        }
        if profiles.iter().any(|other| other == profile) {
            return Err(invalid(format!(
                "`{option}` names \"{}\" twice: name each account once.",
                shown().escape_debug()
            )));
        }
        profiles.push(own.unwrap_or(name));
    }
    Ok(profiles)
}

/// Whether a member of an answer may be shown: a secret is kept where it is used from, and nowhere else.
pub(super) fn is_shown(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secrets = ["token", "secret", "password", "assertion"];
    !secrets.iter().any(|word| name.contains(word))
}

fn kept_member(name: &str) -> Result<(), &'static str> {
    if is_shown(name) {
        Ok(())
    } else {
        Err("is a token or a secret, which is not shown")
    }
}

pub(super) fn scope(text: &str) -> Result<(), &'static str> {
    if is_scope(text) {
        Ok(())
    } else {
        Err("is no scope: give each scope as an entry of its own, without spaces or quotes")
    }
}

/// draft-ietf-oauth-client-id-metadata-document §3: 'MUST have an "https" scheme, MUST contain a path component'.
fn client_metadata_url(text: &str) -> Result<String, String> {
    let url = Endpoint::parse(text)?;
    if url.url().path() == "/" {
        return Err("must have a path, such as https://example.com/oauth-client.json".to_owned());
    }
    Ok(text.to_owned())
}

// RFC 8707 §2: "Its value MUST be an absolute URI […] The URI MUST NOT include a fragment component."
pub(super) fn resource(text: &str) -> Result<(), &'static str> {
    match url::Url::parse(text) {
        Ok(url) if url.fragment().is_none() => Ok(()),
        _ => Err("is not an absolute URI without a fragment"),
    }
}

/// Refuses names that are not `known`, suggesting the nearest.
pub(crate) fn known_names<'a>(
    given: impl Iterator<Item = &'a str>,
    known: &[&str],
    what: &str,
) -> Result<(), Error> {
    for name in given {
        if known.contains(&name) {
            continue;
        }
        let nearest = known
            .iter()
            .map(|candidate| {
                (
                    strsim::jaro_winkler(&fold(candidate), &fold(name)),
                    candidate,
                )
            })
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = match nearest {
            Some((likeness, candidate)) if likeness > 0.85 => {
                format!("did you mean `{candidate}`?")
            }
            _ => format!("known are {}.", known.join(", ")),
        };
        let name = printable(name);
        return Err(invalid(format!("Unknown {what} `{name}`: {hint}")));
    }
    Ok(())
}

/// A name from outside, without invisible characters.
fn printable(name: &str) -> String {
    visible(name).chars().take(64).collect()
}

/// `client_id`, `clientID` and `clientId` are the same slip.
fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

pub(super) fn wrong_type(name: &str, wanted: &str, given: &Value) -> Error {
    let given = match given {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    invalid(format!("`{name}` must be {wanted}, but is {given}."))
}

/// `INVALID_CONFIG`.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(config: Value) -> String {
        match AuthConfig::parse(config) {
            Ok(_) => panic!("accepted"),
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::InvalidConfig);
                error.message().to_owned()
            }
        }
    }

    #[test]
    fn the_least_config_gets_the_documented_defaults() {
        let config =
            AuthConfig::parse(json!({ "pluginId": "p", "issuer": "https://a.example" })).unwrap();
        assert_eq!(config.profile, "default");
        assert_eq!(config.client_name, "p");
        assert_eq!(config.refresh_buffer, Duration::from_mins(5));
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert_eq!(config.lock_timeout, Duration::from_mins(1));
        config.names_a_server().unwrap();
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_known_one() {
        for (typo, meant) in [
            ("client_id", "clientId"),
            ("clientID", "clientId"),
            ("scope", "scopes"),
            ("isuer", "issuer"),
            ("refreshBuffer", "refreshBufferMs"),
            ("tokenEndpont", "tokenEndpoint"),
        ] {
            let message = refusal(json!({ "pluginId": "p", typo: "x" }));
            assert!(
                message.contains(&format!("did you mean `{meant}`")),
                "{message}"
            );
        }
        assert!(refusal(json!({ "pluginId": "p", "colour": 1 })).contains("known are pluginId"));
    }

    #[test]
    fn wrong_values_are_named() {
        for (config, part) in [
            (json!(7), "must be an object"),
            (json!({}), "`pluginId` is missing"),
            (json!({ "pluginId": "" }), "`pluginId` is empty"),
            (
                json!({ "pluginId": 1 }),
                "`pluginId` must be a string, but is a number",
            ),
            (
                json!({ "pluginId": "\u{200b}p", "profile": "o\u{180d}ther:work" }),
                "`profile` names \"other:work\", which is no account of this plugin: give \"p:<profile>\"",
            ),
            (
                json!({ "pluginId": "p", "issuer": "http://a.example" }),
                "`issuer`",
            ),
            (
                json!({ "pluginId": "p", "scopes": "a b" }),
                "`scopes` must be an array",
            ),
            (
                json!({ "pluginId": "p", "scopes": ["a b"] }),
                "without spaces",
            ),
            (
                json!({ "pluginId": "p", "resource": ["x"] }),
                "absolute URI",
            ),
            (json!({ "pluginId": "p", "pkce": "yes" }), "true or false"),
            (
                json!({ "pluginId": "p", "flow": "implicit" }),
                "`flow` must be",
            ),
            (
                json!({ "pluginId": "p", "flow": "device_code", "redirectUri": "http://127.0.0.1/callback" }),
                "set `flow`",
            ),
            (
                json!({ "pluginId": "p", "flow": "authorization_code", "redirectUri": "http://a.example/callback" }),
                "`redirectUri` may be http only on 127.0.0.1",
            ),
            (
                json!({ "pluginId": "p", "flow": "authorization_code", "extraParameters": { "state": "x" } }),
                "sets itself",
            ),
            (
                json!({ "pluginId": "p", "requestTimeoutMs": 0 }),
                "from 1 to",
            ),
            (json!({ "pluginId": "p", "lockTimeoutMs": -1 }), "from 0 to"),
            (json!({ "pluginId": "p", "clientId": null }), "is null"),
            (
                json!({ "pluginId": "p", "clientSecret": "s" }),
                "without `clientId`",
            ),
            (
                json!({ "pluginId": "p", "clientId": "c", "clientSecret": "s", "clientAuthentication": "none" }),
                "leave one of them out",
            ),
            (
                json!({ "pluginId": "p", "clientId": "c", "clientAuthentication": "client_secret_post" }),
                "needs a `clientSecret`",
            ),
            (
                json!({ "pluginId": "p", "clientAuthentication": "private_key_jwt" }),
                "go together",
            ),
            (
                json!({ "pluginId": "p", "clientKey": "/key.pem" }),
                "go together",
            ),
            (
                json!({ "pluginId": "p", "clientMetadataUrl": "https://a.example" }),
                "`clientMetadataUrl` must have a path",
            ),
            (
                json!({ "pluginId": "p", "clientAuthentication": "tls_client_auth" }),
                "must be \"none\"",
            ),
            (
                json!({ "pluginId": "p", "storage": "keyring" }),
                "must be \"file\", \"keychain\" or \"auto\"",
            ),
            (
                json!({ "pluginId": "p", "extraParameters": { "grant_type": "x" } }),
                "sets itself",
            ),
            (
                json!({ "pluginId": "p", "extraParameters": { "a": 1 } }),
                "`extraParameters.a` must be a string",
            ),
            (
                json!({ "pluginId": "p", "extraParameters": { "a\u{1b}[2J\u{202e}": 1 } }),
                "`extraParameters.a[2J` must be a string",
            ),
        ] {
            let message = refusal(config);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn no_server_is_named() {
        let config = AuthConfig::parse(json!({ "pluginId": "p" })).unwrap();
        assert!(config.names_a_server().is_err());
    }
}
