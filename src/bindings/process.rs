//! What lives once per loaded copy of the addon: made on first use, so that loading it does nothing.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{future, io, thread};

use napi::Env;
use tokio::runtime::{Builder, Handle};

use crate::error::{Error, ErrorCode};
use crate::http::HttpClient;
use crate::http::native::NativeClient;
use crate::session::Session;
use crate::store::location::ProcessEnvironment;
use crate::time::SystemClock;

/// How long the end of a thread waits for a refresh that was sent to be saved.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn session() -> &'static Arc<Session> {
    static SESSION: OnceLock<Arc<Session>> = OnceLock::new();
    SESSION.get_or_init(|| {
        Session::new(
            Arc::clone(http()) as Arc<dyn HttpClient>,
            Arc::new(SystemClock),
            Box::new(ProcessEnvironment),
        )
    })
}

/// The one HTTP client.
pub(super) fn http() -> &'static Arc<NativeClient> {
    static HTTP: OnceLock<Arc<NativeClient>> = OnceLock::new();
    HTTP.get_or_init(|| Arc::new(NativeClient::new()))
}

/// One thread, started with the first work: all that this library does is wait. It ends with the process.
pub(super) fn runtime() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| start_runtime().ok())
        .as_ref()
        .ok_or_else(|| {
            Error::new(
                ErrorCode::StoreIo,
                "The operating system refused a thread. Raise the process limit and start the program again.",
            )
        })
}

fn start_runtime() -> io::Result<Handle> {
    const NAME: &str = "plugin-auth";
    let runtime = Builder::new_current_thread()
        .thread_name(NAME)
        // Look at the clock after each piece of work: a server that floods a connection must not outrun its time limit.
        .event_interval(1)
        .enable_io()
        .enable_time()
        .build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || runtime.block_on(future::pending::<()>()))?;
    Ok(handle)
}

/// Makes the end of a worker wait for what must not be lost. On the main thread Node runs no such hook at `process.exit`
/// or an uncaught exception: there `index.js` calls `leave`.
pub(super) fn settle_before_exit(env: Env) {
    thread_local! {
        static HOOKED: Cell<bool> = const { Cell::new(false) };
    }
    if HOOKED.replace(true) {
        return;
    }
    // Without the hook an exit may lose a refresh; there is no better place to say so than the next login.
    drop(env.add_env_cleanup_hook((), |()| session().settle(EXIT_PATIENCE)));
}
