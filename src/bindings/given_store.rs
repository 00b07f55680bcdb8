//! `CredentialStore`: a plugin's own store, asked through JavaScript.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde_json::Value;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::plugin_store::{Held, Keeper, PluginStore, Versioned};

use super::listener::{Listener, ListenerFunction};
use super::options::json;
use super::payload::Payload;
use super::process::session;

/// How long a `read` or `write` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one try for a lock waits. A caller that tries again keeps its place in the queue.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A store for logins instead of files, for several machines that share them: a database. All three functions may be
/// called several times at once. A rejection, or a malformed answer, is `STORE_IO`; it never loses a stored login.
///
/// @example
/// ```ts
/// import type { CredentialStore } from "clawdbot-plugin-auth";
///
/// // For one process; the package has some for PostgreSQL, Redis and etcd: docs/operations/several-machines.md.
/// const kept = new Map<string, { value: string; version: string }>();
/// const locks = new Map<string, Promise<void>>();
/// export const store: CredentialStore = {
///   read: async (key) => kept.get(key),
///   write: async (key, value, expected) => {
///     if (kept.get(key)?.version !== expected) return undefined;
///     const version = `${Number(expected ?? 0) + 1}`;
///     kept.set(key, { value, version });
///     return version;
///   },
///   withLock: async (key, work) => {
///     const turn = (locks.get(key) ?? Promise.resolve()).then(work);
///     locks.set(key, turn.catch(() => {}));
///     await turn;
///   },
/// };
/// ```
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct CredentialStore {
    /// Returns the value under that key, exactly as it was written, with its version; undefined where there is no
    /// value.
    #[napi(ts_type = "(key: string) => KeptValue | undefined | Promise<KeptValue | undefined>")]
    pub read: (),
    /// Stores a value durably if the key still has the version `expected`; undefined: if it has no value yet. Resolves
    /// to the new version, which must differ from all earlier ones of that key, or to undefined if another writer was
    /// faster.
    #[napi(
        ts_type = "(key: string, value: string, expected: string | undefined) => string | undefined | Promise<string | undefined>"
    )]
    pub write: (),
    /// Runs `work` under the lock of that key, which excludes all other holders on all machines; releases it when the
    /// promise of `work` settles, which never rejects. `signal` fires when the lock is not needed any more.
    #[napi(
        ts_type = "(key: string, work: () => Promise<void>, options: { signal: AbortSignal }) => Promise<unknown>"
    )]
    pub with_lock: (),
    /// Lists the keys with that prefix, for {@link listProfiles}. Without it, only accounts that the config or the
    /// order names are listed.
    #[napi(ts_type = "(prefix: string) => Array<string> | Promise<Array<string>>")]
    pub list: Option<()>,
    /// Reports keys that any machine writes, until the returned function is called. While it is live, a value that was
    /// read counts until a change is reported; else for a second. Called when the store is used, ended after a minute
    /// without use.
    #[napi(
        ts_type = "(listener: { changed(key: string): void; live(isLive: boolean): void }) => Promise<() => Promise<unknown> | unknown>"
    )]
    pub watch: Option<()>,
    /// Checks the engine for {@link doctor}.
    #[napi(ts_type = "() => Promise<Array<DoctorCheck>>")]
    pub inspect: Option<()>,
}

/// A value that a {@link CredentialStore} keeps.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct KeptValue {
    /// The value, exactly as it was given to `write`.
    pub value: String,
    /// The value that `write` resolved to.
    pub version: String,
}

/// Makes a store of what `index.js` asks the plugin's functions through; the number goes into configs in its place.
#[napi(skip_typescript)]
pub fn give_store(env: Env, listener: ListenerFunction<'_>) -> napi::Result<u32> {
    let asker = Listener::new(&listener, Arc::default())?.letting_go(env)?;
    let asker = Arc::new(Asker {
        listener: Mutex::new(Some(asker)),
        state: Mutex::default(),
        changed: Condvar::new(),
    });
    let mut stores = stores();
    // An id is never reused: the cached state of a login is keyed by it.
    stores.last = stores.last.wrapping_add(1);
    let id = stores.last;
    let keeper: Arc<dyn Keeper> = Arc::new(Askers(Arc::clone(&asker)));
    stores.all.push((
        id,
        PluginStore::new(id, keeper, session().clock.clone()),
        asker,
    ));
    Ok(id)
}

/// Nobody can reach that store any more.
#[napi(skip_typescript)]
pub fn forget_store(store: u32) {
    let mut stores = stores();
    let Some(at) = stores.all.iter().position(|(id, ..)| *id == store) else {
        return;
    };
    let (.., asker) = stores.all.swap_remove(at);
    drop(stores);
    // The cached state of its logins holds the asker.
    drop(lock(&asker.listener).take());
}

/// The store has begun or stopped to report changes.
#[napi(skip_typescript)]
pub fn store_is_live(store: u32, is_live: bool) {
    if let Some((store, _)) = find(store) {
        store.set_live(is_live);
    }
}

/// The store reports that this key was written, on whichever machine.
#[napi(skip_typescript)]
pub fn store_has_changed(store: u32, key: String) {
    if let Some((store, _)) = find(store) {
        store.heard_of(&key);
    }
}

/// The result of a call to a function of the plugin's store.
#[napi(skip_typescript)]
pub fn answer_store(store: u32, request: u32, answer: Unknown<'_>) {
    let Some((_, asker)) = find(store) else {
        return;
    };
    let parts = match json(&answer, "answer") {
        Ok(Value::Array(parts)) => parts,
        _ => Vec::new(),
    };
    let parts = parts
        .into_iter()
        .map(|part| match part {
            Value::String(text) => text,
            _ => String::new(),
        })
        .collect();
    asker.answered(request, parts);
}

/// The store of that number.
pub(super) fn store(id: &Value) -> Option<PluginStore> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "index.js gives what it got from `give_store`"
    )]
    let id = id.as_f64()? as u32;
    find(id).map(|(store, _)| store)
}

fn find(number: u32) -> Option<(PluginStore, Arc<Asker>)> {
    let stores = stores();
    let (_, store, asker) = stores.all.iter().find(|(id, ..)| *id == number)?;
    Some((store.clone(), Arc::clone(asker)))
}

/// The stores that JavaScript can still reach.
#[derive(Default)]
struct Stores {
    last: u32,
    all: Vec<(u32, PluginStore, Arc<Asker>)>,
}

fn stores() -> MutexGuard<'static, Stores> {
    static STORES: OnceLock<Mutex<Stores>> = OnceLock::new();
    lock(STORES.get_or_init(Mutex::default))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the functions of one store, on the JavaScript thread that gave it.
struct Asker {
    /// `None` once the store is forgotten.
    listener: Mutex<Option<Listener>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last: u32,
    /// The requests to the store, with their results so far.
    requests: Vec<Request>,
}

#[derive(Default)]
struct Request {
    id: u32,
    /// The lock that it is for, until that is granted.
    lock: Option<String>,
    answer: Option<Vec<String>>,
    /// The number of threads that wait for the result.
    waiters: usize,
    is_granted: bool,
    has_ended: bool,
}

impl Asker {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn answered(&self, id: u32, answer: Vec<String>) {
        let mut state = self.lock();
        let Some(request) = state.get_mut(id) else {
            if answer.first().is_some_and(|word| word == "granted") {
                // Asked for again while its failure was on the way: the grant would be nobody's, for ever.
                self.tell("unlock", id, Vec::new());
            }
            return;
        };
        match answer.first().map(String::as_str) {
            Some("granted") => {
                request.is_granted = true;
                if request.has_ended || request.waiters == 0 {
                    // Nobody wants it any more.
                    request.lock = None;
                    self.tell("unlock", id, Vec::new());
                }
            }
            Some("ended") => request.has_ended = true,
            _ => {
                request.has_ended = true;
                request.answer = Some(answer);
            }
        }
        state.forget_if_over(id);
        drop(state);
        self.changed.notify_all();
    }

    /// Asks, and waits for the answer.
    fn ask(&self, what: &str, rest: Vec<String>) -> Result<Vec<String>, Error> {
        let id = {
            let mut state = self.lock();
            let id = state.begin(None);
            if let Some(request) = state.get_mut(id) {
                request.waiters = 1;
            }
            id
        };
        if !self.tell(what, id, rest) {
            self.lock().remove(id);
            return Err(gone());
        }
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| {
                state
                    .get_mut(id)
                    .is_some_and(|request| request.answer.is_none())
            })
            .unwrap_or_else(PoisonError::into_inner);
        match state.remove(id).and_then(|request| request.answer) {
            Some(answer) => refusal(what, answer),
            None => Err(failed(
                what,
                &format!("did not answer within {} s", PATIENCE.as_secs()),
            )),
        }
    }

    fn tell(&self, what: &str, id: u32, rest: Vec<String>) -> bool {
        let mut parts = vec![id.to_string()];
        parts.extend(rest);
        let listener = lock(&self.listener);
        listener
            .as_ref()
            .is_some_and(|listener| listener.told(what, Payload::H(Some(parts))))
    }
}

impl State {
    /// Forgets a request that has ended and that nobody waits for.
    fn forget_if_over(&mut self, id: u32) {
        let is_over = |request: &Request| request.has_ended && request.waiters == 0;
        self.requests
            .retain(|request| request.id != id || !is_over(request));
    }

    fn begin(&mut self, lock: Option<&str>) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.requests.push(Request {
            id: self.last,
            lock: lock.map(str::to_owned),
            ..Request::default()
        });
        self.last
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    fn remove(&mut self, id: u32) -> Option<Request> {
        let at = self.requests.iter().position(|request| request.id == id)?;
        Some(self.requests.swap_remove(at))
    }

    /// The request for that lock that is not granted yet, or a new one; with one more who waits for it.
    fn wait_for(&mut self, key: &str) -> u32 {
        let is_for_it = |request: &&Request| request.lock.as_deref() == Some(key);
        let known = self.requests.iter().find(is_for_it);
        let known = known.map(|request| request.id);
        let id = known.unwrap_or_else(|| self.begin(Some(key)));
        if let Some(request) = self.get_mut(id) {
            request.waiters += 1;
        }
        id
    }
}

/// Lets a held lock own its asker.
struct Askers(Arc<Asker>);

impl Keeper for Askers {
    fn read(&self, key: &str, _: MayBlock) -> Result<Option<Versioned>, Error> {
        let mut answer = self.0.ask("read", vec![key.to_owned()])?.into_iter();
        match (answer.next().as_deref(), answer.next(), answer.next()) {
            (Some("value"), Some(value), Some(version)) => Ok(Some(Versioned {
                value: Secret::new(value),
                version,
            })),
            (Some("nothing"), ..) => Ok(None),
            _ => Err(malformed(
                "read",
                "undefined or { value, version }, both strings",
            )),
        }
    }

    fn write(
        &self,
        key: &str,
        value: &Secret,
        expected: Option<&str>,
        _: MayBlock,
    ) -> Result<Option<String>, Error> {
        let mut rest = vec![key.to_owned(), value.expose().to_owned()];
        rest.extend(expected.map(str::to_owned));
        let mut answer = self.0.ask("write", rest)?.into_iter();
        match (answer.next().as_deref(), answer.next()) {
            (Some("version"), Some(version)) if Some(version.as_str()) != expected => {
                Ok(Some(version))
            }
            (Some("version"), Some(_)) => Err(malformed("write", "a version that is new")),
            (Some("nothing"), _) => Ok(None),
            _ => Err(malformed(
                "write",
                "the new version, a string, or undefined",
            )),
        }
    }

    fn list(&self, prefix: &str, _: MayBlock) -> Result<Option<Vec<String>>, Error> {
        let mut answer = self.0.ask("list", vec![prefix.to_owned()])?;
        match answer.first().map(String::as_str) {
            Some("keys") => Ok(Some(answer.split_off(1))),
            Some("nothing") => Ok(None),
            _ => Err(malformed("list", "an array of strings")),
        }
    }

    fn try_lock(&self, key: &str, _: MayBlock) -> Result<Option<Box<dyn Held>>, Error> {
        let asker = &self.0;
        let id = asker.lock().wait_for(key);
        // Repeat this at every try: a caller that is silent for long loses its place.
        let is_told = asker.tell("lock", id, vec![key.to_owned()]);
        let (mut state, _) = asker
            .changed
            .wait_timeout_while(asker.lock(), LOCK_PATIENCE, |state| {
                is_told
                    && state.get_mut(id).is_some_and(|request| {
                        request.lock.is_some() && !request.is_granted && !request.has_ended
                    })
            })
            .unwrap_or_else(PoisonError::into_inner);
        let Some(request) = state.get_mut(id) else {
            return Ok(None);
        };
        if request.is_granted && !request.has_ended && request.lock.take().is_some() {
            // The first to see it is its holder now; others ask for a lock of their own.
            asker.changed.notify_all();
            return Ok(Some(Box::new(HeldLock {
                asker: Arc::clone(asker),
                id,
            })));
        }
        request.waiters = request.waiters.saturating_sub(1);
        if request.has_ended {
            let answer = request.answer.clone();
            request.lock = None;
            state.forget_if_over(id);
            return match answer {
                Some(answer) => refusal("withLock", answer).map(|_| None),
                None => Err(malformed(
                    "withLock",
                    "a promise that lasts as long as that of `work`",
                )),
            };
        }
        if is_told { Ok(None) } else { Err(gone()) }
    }
}

struct HeldLock {
    asker: Arc<Asker>,
    id: u32,
}

impl Held for HeldLock {
    fn is_lost(&self) -> bool {
        self.asker
            .lock()
            .get_mut(self.id)
            .is_none_or(|request| request.has_ended)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let mut state = self.asker.lock();
        if let Some(request) = state.get_mut(self.id) {
            request.waiters = 0;
        }
        state.forget_if_over(self.id);
        drop(state);
        self.asker.tell("unlock", self.id, Vec::new());
    }
}

/// A failure that JavaScript reported: by its code alone, for the words may hold the password of a database.
fn refusal(what: &str, answer: Vec<String>) -> Result<Vec<String>, Error> {
    if answer.first().map(String::as_str) != Some("failed") {
        return Ok(answer);
    }
    let code = answer.get(1).map_or("Error", String::as_str);
    Err(failed(what, &format!("failed ({code})")))
}

fn malformed(what: &str, wanted: &str) -> Error {
    failed(what, &format!("gave something else than {wanted}"))
}

fn gone() -> Error {
    failed("read", "belongs to a JavaScript thread that has ended")
}

fn failed(what: &str, how: &str) -> Error {
    Error::new(
        ErrorCode::StoreIo,
        format!(
            "`store.{what}` of the plugin {how}. Nothing that was stored is lost; fix the store and try again."
        ),
    )
}
