use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::{Bytes, BytesMut};

use super::{
    arguments::Arguments,
    client::{Call, Failure, Reply},
    layout::key_into,
    script::{Limit, Script},
};
use crate::token::Handle;

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
        limit: Limit,
    ) -> Result<Reply, Failure> {
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        let answer = Box::pin(script.call(&*self.link, keys, arguments, limit)).await;
        if answer.as_ref().is_err_and(Failure::is_scattered) {
            self.scattered.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Runs the script of one session.
    pub(super) async fn alone(
        &self,
        script: &'static Script,
        handle: &Handle,
        mut arguments: Arguments,
        limit: Limit,
    ) -> Result<Reply, Failure> {
        let key = arguments.cut(|buffer| key_into(buffer, &self.prefix, handle));
        self.call(script, &[key], &arguments.list(), limit).await
    }

    /// The keys of several sessions.
    pub(super) fn keys<'a>(
        &self,
        handles: impl ExactSizeIterator<Item = &'a Handle>,
    ) -> Vec<Bytes> {
        let mut buffer = BytesMut::with_capacity(KEY * handles.len());
        let key = |handle| {
            key_into(&mut buffer, &self.prefix, handle);
            buffer.split().freeze()
        };
        handles.map(key).collect()
    }
}

impl Failure {
    /// Whether it came of keys that are on different nodes.
    pub(super) fn is_scattered(&self) -> bool {
        matches!(self, Self::Refused(code, _) if code == "CROSSSLOT")
    }
}
