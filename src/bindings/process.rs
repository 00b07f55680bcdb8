//! What lives once per loaded copy of the addon: made on first use, so that loading it does nothing.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use napi::Env;
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorCode};
use crate::http::native::NativeClient;
use crate::session::Session;
use crate::store::location::ProcessEnvironment;
use crate::time::SystemClock;

/// How long a process that exits waits for a refresh that was sent to be saved.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn session() -> &'static Arc<Session> {
    static SESSION: OnceLock<Arc<Session>> = OnceLock::new();
    SESSION.get_or_init(|| {
        Session::new(
            Arc::new(NativeClient::new()),
            Arc::new(SystemClock),
            Box::new(ProcessEnvironment),
        )
    })
}

/// One worker thread: all that this library does is wait.
pub(super) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("plugin-auth")
                .enable_io()
                .enable_time()
                .build()
                .ok()
        })
        .as_ref()
        .ok_or_else(|| {
            Error::new(
                ErrorCode::StoreIo,
                "The operating system refused a thread. Raise the process limit and start the program again.",
            )
        })
}

/// Makes `process.exit` and the end of a worker wait for what must not be lost.
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
