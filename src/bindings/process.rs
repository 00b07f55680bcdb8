//! Everything that exists once per loaded image of the addon: made on first use, so that loading it does nothing.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{io, thread};

use napi::Env;
use tokio::runtime::{Builder, Handle, RuntimeMetrics};

use crate::environment::ProcessEnvironment;
use crate::error::{Error, ErrorCode};
use crate::http::native::NativeClient;
use crate::http::{BoxFuture, HttpClient};
use crate::session::Session;
use crate::time::{Clock, SharedClock, SystemClock};

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
    HTTP.get_or_init(|| {
        let clock = SharedClock::from(Arc::new(SystemClock) as Arc<dyn Clock>);
        Arc::new(NativeClient::new(clock, Box::new(ProcessEnvironment)))
    })
}

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// How often the runtime's thread looks whether it has anything left to do.
const LOOK: Duration = Duration::from_secs(5);
/// The runtime ends after this many looks without work.
const IDLE_LOOKS: u32 = 6;

/// The runtime, while there is one, and how much work it was given so far.
struct Runtime {
    handle: Option<Handle>,
    works: u64,
}

fn runtime() -> MutexGuard<'static, Runtime> {
    static RUNTIME: Mutex<Runtime> = Mutex::new(Runtime {
        handle: None,
        works: 0,
    });
    RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on the one thread of the runtime: all that this library does is wait. It is started with the first work, ends
/// after half a minute without any, and starts again.
///
/// # Errors
/// `STORE_IO` where the operating system refuses a thread.
pub(super) fn spawn(work: BoxFuture<'static, ()>) -> Result<(), Error> {
    let mut runtime = runtime();
    let handle = match &runtime.handle {
        Some(handle) => handle.clone(),
        None => start_runtime().map_err(|_| {
            Error::new(
                ErrorCode::StoreIo,
                "The operating system refused a thread. Raise the limit of processes (ulimit -u, or that of the container), or end \
                 some, then try again.",
            )
            .retryable(true)
        })?,
    };
    // With the lock held, so that it does not end in between.
    drop(handle.spawn(work));
    runtime.works = runtime.works.wrapping_add(1);
    runtime.handle = Some(handle);
    Ok(())
}

fn start_runtime() -> io::Result<Handle> {
    const NAME: &str = "plugin-auth";
    let tokio = Builder::new_current_thread()
        .thread_name(NAME)
        // Look at the clock after each piece of work: a server that floods a connection must not outrun its time limit.
        .event_interval(1)
        .enable_io()
        .enable_time()
        // The first blocking thread stays as long as the runtime: where the system refuses another one, work waits for it.
        .thread_keep_alive(FOR_EVER)
        .build()?;
    let handle = tokio.handle().clone();
    // tokio panics where it gets no first one, so that is found out before.
    let probe = thread::Builder::new().spawn(|| ())?;
    drop(probe.join());
    catch_unwind(AssertUnwindSafe(|| drop(handle.spawn_blocking(|| ()))))
        .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
    thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || tokio.block_on(idle(tokio.metrics())))?;
    Ok(handle)
}

/// Ends when there was no work for a while; from then on others start another runtime.
async fn idle(metrics: RuntimeMetrics) {
    let (mut seen, mut looks) = (0, 0);
    loop {
        tokio::time::sleep(LOOK).await;
        let mut runtime = runtime();
        // Work that is under way may create more. Without any, only `spawn` creates work, and it waits for this check.
        if metrics.num_alive_tasks() > 0 || runtime.works != seen {
            seen = runtime.works;
            looks = 0;
        } else if looks == IDLE_LOOKS {
            runtime.handle = None;
            return;
        }
        looks += 1;
    }
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
