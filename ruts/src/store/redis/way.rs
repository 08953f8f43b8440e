use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::{Bytes, BytesMut};

use super::{
    arguments::Arguments,
    client::{Call, Failure, Reply},
    layout::key_into,
    script::{Deadline, Script},
};
use crate::token::SessionId;

/// About how long a key is.
const KEY: usize = 32;

/// The way to what a store keeps.
pub(super) struct Way<C> {
    pub(super) link: Arc<C>,
    pub(super) prefix: Box<str>,
    /// It is on different nodes: what concerns several keys is done one after the other.
    scattered: AtomicBool,
}

impl<C: Call> Way<C> {
    pub(super) fn new(link: Arc<C>, prefix: &str) -> Self {
        Self { link, prefix: prefix.into(), scattered: AtomicBool::new(false) }
    }

    pub(super) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Runs a script, and takes note if its keys are scattered.
    pub(super) async fn call(
        &self,
        script: &'static Script,
        keys: &[Bytes],
        arguments: &[Bytes],
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        let answer = Box::pin(script.call(&*self.link, keys, arguments, deadline)).await;
        if answer.as_ref().is_err_and(Failure::is_scattered) {
            self.scattered.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Runs the script of one session.
    pub(super) async fn alone(
        &self,
        script: &'static Script,
        id: &SessionId,
        mut arguments: Arguments,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let key = arguments.cut(|buffer| key_into(buffer, &self.prefix, id));
        self.call(script, &[key], &arguments.list(), deadline).await
    }

    /// The keys of several sessions.
    pub(super) fn keys<'a>(&self, ids: impl ExactSizeIterator<Item = &'a SessionId>) -> Vec<Bytes> {
        let mut buffer = BytesMut::with_capacity(KEY * ids.len());
        let key = |id| {
            key_into(&mut buffer, &self.prefix, id);
            buffer.split().freeze()
        };
        ids.map(key).collect()
    }
}

impl Failure {
    /// Whether it came of keys that are on different nodes.
    pub(super) fn is_scattered(&self) -> bool {
        matches!(self, Self::Refused(code, _) if code == "CROSSSLOT")
    }
}
