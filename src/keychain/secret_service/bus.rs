//! Calls to the service over the session bus, each of which ends at the deadline.

use std::cell::Cell;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{
    Connection, DBusError as _, Error, MatchRule, Message, MessageStream, ObjectPath,
    OwnedObjectPath, OwnedVariant, Variant, match_rule,
};

use super::super::failure::{Failure, clean};
use super::super::person::PATIENCE;
use super::address;

pub(super) const SECRETS: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";

/// Why a program gives no answer that was there.
pub(super) const ENDED: &str = "it ended before it answered";

/// How long a prompt may take to go away.
const DISMISSAL: Duration = Duration::from_millis(200);

/// A connection to the bus.
pub(super) struct Bus {
    // Dropped before the runtime that reads for it.
    connection: Connection,
    runtime: Runtime,
    /// The connection of the program that has opened the session: another that takes its name meanwhile is not asked.
    service: String,
    deadline: Cell<Instant>,
    /// The remaining time for questions to a person.
    patience: Cell<Duration>,
}

/// How much time a prompt may take.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// The remaining time for a person who types a password.
    OfAPerson,
    /// Half of that: the next prompt has its turn after one that nobody answers.
    HalfOfAPerson,
    /// Half of what is left of the time limit, for a prompt that asks nobody.
    Half,
}

/// The path of the service itself.
pub(super) fn root() -> ObjectPath<'static> {
    ObjectPath::from_static_str_unchecked(ROOT)
}

impl Bus {
    /// A connection, and a session with the service.
    pub(super) fn connect(limit: Duration) -> Result<(Self, OwnedObjectPath), Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let opened = runtime.block_on(async {
            let deadline = Instant::now() + limit;
            let opening = async {
                let connection = address::connect().await?;
                let reply = connection
                    .call_method(
                        Some(SECRETS),
                        ROOT,
                        Some("org.freedesktop.Secret.Service"),
                        "OpenSession",
                        &("plain", Variant::from("")),
                    )
                    .await?;
                let (_, session): (OwnedVariant, OwnedObjectPath) = reply.body().deserialize()?;
                let service = reply
                    .header()
                    .sender()
                    .map_or_else(|| SECRETS.to_owned(), ToString::to_string);
                Ok((connection, service, session, deadline))
            };
            timeout_at(deadline, opening).await
        });
        let (connection, service, session, deadline) = opened
            .map_err(|_| Failure::TimedOut)?
            .map_err(|error: Error| unreachable(&error))?;
        let bus = Self {
            connection,
            runtime,
            service,
            deadline: Cell::new(deadline),
            patience: Cell::new(PATIENCE),
        };
        Ok((bus, session))
    }

    /// The name of the service's connection.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Runs a prompt of the service until it is completed, and says whether a person declined; dismisses it when its
    /// time is over, and says nothing then.
    pub(super) fn run_prompt(
        &self,
        prompt: &OwnedObjectPath,
        share: Share,
    ) -> Result<Option<bool>, Asked> {
        let completed = self.runtime.block_on(async {
            let began = Instant::now();
            let end = match share {
                Share::OfAPerson => began + self.patience.get(),
                Share::HalfOfAPerson => began + self.patience.get() / 2,
                Share::Half => began + self.deadline.get().saturating_duration_since(began) / 2,
            };
            let completed = timeout_at(end, self.completion(prompt)).await;
            if !matches!(share, Share::Half) {
                // A person's time does not count against later calls.
                let took = began.elapsed();
                self.deadline.set(self.deadline.get() + took);
                self.patience.set(self.patience.get().saturating_sub(took));
            }
            completed
        });
        if let Ok(completed) = completed {
            return completed.map(Some);
        }
        self.dismiss(prompt);
        Ok(None)
    }

    /// Lets a prompt go.
    pub(super) fn dismiss(&self, prompt: &OwnedObjectPath) {
        let dismissal = self.connection.call_method(
            Some(self.service.as_str()),
            prompt,
            Some("org.freedesktop.Secret.Prompt"),
            "Dismiss",
            &(),
        );
        let _may_fail = self
            .runtime
            .block_on(async { tokio::time::timeout(DISMISSAL, dismissal).await });
    }

    /// Whether a person declined.
    async fn completion(&self, prompt: &OwnedObjectPath) -> Result<bool, Asked> {
        // Listening first: it may be completed before the call returns.
        let completed = MatchRule::builder()
            .interface("org.freedesktop.Secret.Prompt")
            .member("Completed")
            .path(prompt.as_str());
        let mut completed = self.signals(completed).await?;
        let ended = MatchRule::builder()
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, self.service.as_str());
        let mut ended = self.signals(ended).await?;
        self.connection
            .call_method(
                Some(self.service.as_str()),
                prompt,
                Some("org.freedesktop.Secret.Prompt"),
                "Prompt",
                &("",),
            )
            .await
            .map_err(Asked::Answered)?;
        let signal = std::future::poll_fn(|context| {
            let signal = Pin::new(&mut completed).poll_next(context);
            // Nobody would complete the prompt of a program that has ended.
            match Pin::new(&mut ended).poll_next(context) {
                Poll::Ready(_) if signal.is_pending() => Poll::Ready(None),
                _ => signal,
            }
        })
        .await;
        let (dismissed, _result): (bool, OwnedVariant) = signal
            .ok_or(Asked::Ended)?
            .and_then(|signal| signal.body().deserialize_ignore_signature())
            .map_err(Asked::Answered)?;
        Ok(dismissed)
    }

    async fn signals(&self, rule: match_rule::Builder<'_>) -> Result<MessageStream, Asked> {
        let stream = async {
            let rule = rule.msg_type(Type::Signal).build()?;
            MessageStream::for_match_rule(rule, &self.connection, None).await
        };
        stream.await.map_err(Asked::Answered)
    }

    /// Calls a method of a name on the bus.
    pub(super) fn ask<B, T>(
        &self,
        name: &str,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<T, Asked>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        let call = self
            .connection
            .call_method(Some(name), path, Some(interface), method, body);
        let reply: Message = self
            .runtime
            .block_on(async { timeout_at(self.deadline.get(), call).await })
            .map_err(|_| Asked::TimedOut)?
            .map_err(Asked::Answered)?;
        reply
            .body()
            .deserialize_ignore_signature()
            .map_err(Asked::Answered)
    }
}

/// Why there is no usable answer.
pub(super) enum Asked {
    TimedOut,
    /// The program that was asked has ended.
    Ended,
    Answered(Error),
}

/// Before there is a session, the service is not there.
pub(super) fn unreachable(error: &Error) -> Failure {
    Failure::Unreachable(described(error))
}

/// The name of the error on the bus. zbus has a type of its own for errors of the D-Bus specification.
pub(super) fn name_of(error: &Error) -> String {
    match error {
        Error::MethodError(name, ..) => name.to_string(),
        Error::FDO(error) => error.name().to_string(),
        _ => String::new(),
    }
}

/// In one line, with the program's reason.
pub(super) fn described(error: &Error) -> String {
    match error {
        Error::FDO(error) if matches!(**error, zbus::fdo::Error::NoReply(_)) => ENDED.to_owned(),
        Error::MethodError(name, Some(reason), _) if !reason.trim().is_empty() => {
            format!("{}: {}", name.as_str(), clean(reason))
        }
        Error::MethodError(name, ..) => name.as_str().to_owned(),
        _ => clean(&error.to_string()),
    }
}
