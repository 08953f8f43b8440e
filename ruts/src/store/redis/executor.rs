//! Runs the scripts of the catalogue on a client: [`Executor`].
//!
//! Used by the store, the batches, the principal list and the cache. It handles keys and timeouts,
//! and remembers whether a server refuses scripts of several sessions. It makes no decisions about
//! sessions.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{
    driver::client::{Call, CommandClient},
    error::{CommandError, NAME, corrupt},
    eval::{Deadline, Script, probe},
    native::NativeRead,
    parallel::run_all,
    scripts::LOAD,
    wire::{
        args::{Arguments, presented, touch_millis},
        keys::put_session_key,
        reply::{Reply, ReplyItems, ScriptOutcome, field_names, loaded},
    },
};
use crate::{
    auth::PrincipalKey,
    store::{Credentials, Loaded, Projection, StoreError, StoreResult, Touch},
    token::SessionId,
    turns::{Turn, Turns},
};

/// Time after which a command that the server did not know or refused is tried again. The rights of
/// a user may change.
const SCRIPTS_FOR: Duration = Duration::from_secs(60);

/// Expected length of a key in bytes. A buffer for several keys has this size for each key.
const KEY: usize = 32;

/// A client, the prefix of its keys, and a timeout.
pub(super) struct Executor<C> {
    client: C,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    /// Whether a cluster has refused a script because its keys have different slots.
    is_cross_slot: AtomicBool,
    /// The end of the time in which no [`NativeRead`] is sent. The server did not know one of its
    /// commands, or refused it to this user.
    scripts_until: Mutex<Option<Instant>>,
    /// Turns of the sign-ins that have a session limit. Without turns, each of them would end the
    /// session of another one.
    sign_ins: Turns<PrincipalKey>,
}

/// The right to read a session.
#[derive(Clone, Copy)]
pub(super) enum Reader<'a> {
    Credentials(Credentials<'a>),
    /// The right of the principal that is signed in to the session.
    Principal(&'a PrincipalKey),
    /// The right of any caller, which may read only the metadata.
    Anyone,
}

impl<C: CommandClient> Executor<C> {
    pub(super) fn new(client: C, prefix: String, timeout: Duration) -> Self {
        let is_cross_slot = AtomicBool::new(false);
        let (scripts_until, sign_ins) = (Mutex::default(), Turns::default());
        Self { client, prefix, timeout, is_cross_slot, scripts_until, sign_ins }
    }

    fn scripts_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.scripts_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a sign-in with a session limit, within the timeout. `None` if the turn
    /// did not begin by then.
    pub(super) async fn sign_in_turn(
        &self,
        principal: &PrincipalKey,
    ) -> Option<Turn<'_, PrincipalKey>> {
        self.sign_ins.wait(*principal, Instant::now() + self.timeout).await
    }

    /// Returns the deadline of an operation that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// Returns whether a server has refused a script because its keys have different slots.
    pub(super) fn is_cross_slot(&self) -> bool {
        self.is_cross_slot.load(Ordering::Relaxed)
    }

    /// Runs a script.
    pub(super) async fn call(
        &self,
        script: &'static Script,
        keys: &[Bytes],
        arguments: &[Bytes],
        deadline: Deadline,
    ) -> Result<Reply, CommandError> {
        // Boxed: otherwise the futures of drivers nest too deeply for the compiler.
        let answer = Box::pin(script.call(&self.client, keys, arguments, deadline)).await;
        if answer.as_ref().is_err_and(CommandError::is_cross_slot) {
            self.is_cross_slot.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Runs a script of one session.
    pub(super) async fn call_one(
        &self,
        script: &'static Script,
        id: &SessionId,
        mut arguments: Arguments,
        deadline: Deadline,
    ) -> Result<ScriptOutcome, StoreError> {
        let key = arguments.split_off(|buffer| put_session_key(buffer, &self.prefix, id));
        let reply = self.call(script, &[key], &arguments.into_list(), deadline).await?;
        ScriptOutcome::new(reply)
    }

    /// Runs a script of several sessions. Returns `None` if their keys have different slots.
    pub(super) async fn call_batch(
        &self,
        script: &'static Script,
        keys: &[Bytes],
        arguments: Arguments,
        deadline: Deadline,
    ) -> Result<Option<Reply>, StoreError> {
        match self.call(script, keys, &arguments.into_list(), deadline).await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error.is_cross_slot() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a script on one key, such as a list or a cache entry, within the timeout.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        key: Bytes,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        let arguments = arguments.into_list();
        Ok(self.call(script, &[key], &arguments, self.deadline()).await?)
    }

    /// Runs a script without arguments on each key, up to 256 keys at the same time.
    pub(super) async fn run_at_each(
        self: &Arc<Self>,
        script: &'static Script,
        keys: impl Iterator<Item = Bytes>,
    ) -> Result<(), StoreError> {
        let calls = keys.map(|key| {
            let executor = Arc::clone(self);
            async move { executor.run(script, key, Arguments::new(0)).await.map(drop) }
        });
        run_all(calls).await.map(drop)
    }

    /// Reads a session with commands instead of a script, in one round trip. Returns `None` if a
    /// script has to decide.
    ///
    /// Also returns `None` if a command failed, or got no answer in half of the time. The caller
    /// then sends the script, with the retries of `eval`.
    pub(super) async fn read_natively(
        &self,
        read: &NativeRead<'_>,
        deadline: Deadline,
    ) -> Result<Option<Loaded>, CommandError> {
        let needs_scripts = self.scripts_until().is_some_and(|until| Instant::now() < until);
        if needs_scripts || !read.is_possible() {
            return Ok(None);
        }
        let (key, commands) = read.commands(&self.prefix);
        let call = Call::Commands { key: &key, commands: &commands };
        // Boxed, as in `call`.
        match Box::pin(self.client.call(call, deadline.time_left()? / 2)).await {
            Ok(reply) => Ok(read.loaded(reply)),
            Err(error) if deadline.time_left().is_err() => Err(error),
            Err(error) => {
                if error.is_of_unknown_command() {
                    *self.scripts_until() = Some(Instant::now() + SCRIPTS_FOR);
                }
                Ok(None)
            }
        }
    }

    /// Reads a session without a batch.
    pub(super) async fn load(
        &self,
        reader: Reader<'_>,
        id: &SessionId,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let (subject, [all, named]) = match reader {
            Reader::Credentials(credentials) => (presented(credentials), ["*", ""]),
            Reader::Principal(principal) => (*principal.as_bytes(), ["&", "@"]),
            Reader::Anyone => ([0; 32], ["?", "?"]),
        };
        let (touch, deadline) = (touch_millis(touch), self.deadline());
        if let (Reader::Credentials(credentials), Projection::All) = (reader, fields)
            && let Some(secret) = credentials.secret()
        {
            let read = NativeRead { id, secret, touch, names: None };
            if let Some(loaded) = self.read_natively(&read, deadline).await? {
                return Ok(Ok(loaded));
            }
        }
        let (letter, names) = match fields {
            Projection::All => (all, &[][..]),
            Projection::Named(names) => (named, names),
        };
        let arguments = Arguments::for_session(&subject, touch, letter, names.len())
            .texts(names.iter().copied());
        let outcome = self.call_one(&LOAD, id, arguments, deadline).await?;
        outcome.answer(|reply| loaded(reply, field_names(fields)))
    }

    /// Asks the server of a key whether it can keep sessions.
    pub(super) async fn probe(&self, script: &'static str, key: Bytes) -> Result<(), StoreError> {
        Ok(probe(&self.client, script, &[key], self.deadline()).await?)
    }

    /// Runs a script that returns texts, and logs each text as a warning.
    pub(super) async fn log_advice(
        &self,
        script: &'static Script,
        key: Bytes,
    ) -> Result<(), StoreError> {
        let reply = self.run(script, key, Arguments::new(0)).await?;
        let mut items = ReplyItems::new(reply).ok_or_else(corrupt)?;
        while let Some(Some(advice)) = items.bytes() {
            tracing::warn!(store = NAME, "{}", String::from_utf8_lossy(&advice));
        }
        Ok(())
    }

    /// Returns the keys of several sessions.
    pub(super) fn session_keys<'a>(
        &self,
        ids: impl ExactSizeIterator<Item = &'a SessionId>,
    ) -> Vec<Bytes> {
        let mut buffer = BytesMut::with_capacity(KEY * ids.len());
        let key = |id| {
            put_session_key(&mut buffer, &self.prefix, id);
            buffer.split().freeze()
        };
        ids.map(key).collect()
    }
}
