use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::client::{Call, Failure, Reply, Text};
use crate::store::{StoreError, StoreErrorKind};

/// A script and the name by which a server that has seen it knows it.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// Scripts that never need more memory than they free run on a full server too.
macro_rules! script {
    ($(#[$meta:meta])* $name:ident = $flags:literal, $file:literal) => {
        $(#[$meta])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua", $flags, "\n",
                include_str!("lua/session.lua"),
                include_str!(concat!("lua/", $file, ".lua")),
            ))
        });
    };
}

script!(LOAD = " flags=allow-oom", "load");
script!(CREATE = "", "create");
script!(UPDATE = "", "update");
script!(
    /// An update without a new value.
    UPDATE_ON_FULL_SERVER = " flags=allow-oom", "update"
);
script!(TAKE = " flags=allow-oom", "take");
script!(DELETE = " flags=allow-oom", "delete");

const PROBE: &str = include_str!("lua/probe.lua");

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, hash }
    }

    /// Runs it once: by name, or, on a server that does not know it, by its text.
    pub(super) async fn call<C: Call>(
        &'static self,
        client: &C,
        key: &Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let by_name = client.call(Text::Hash(&self.hash), key.clone(), arguments.clone(), timeout);
        match by_name.await {
            Err(Failure::Refused(code, _)) if code == "NOSCRIPT" => {
                require_field_expiry(client, key, timeout).await?;
                client.call(Text::Whole(self.text), key.clone(), arguments, timeout).await
            }
            answer => answer,
        }
    }
}

/// The server that keeps `key` cannot expire fields.
#[derive(Debug, thiserror::Error)]
#[error("the server cannot expire fields: Redis 7.4, Valkey 9 or later is needed")]
struct NoFieldExpiry;

const NO_FIELD_EXPIRY: &str = "NOFIELDEXPIRY";

/// Asks the server that keeps `key` whether it can keep sessions.
pub(super) async fn require_field_expiry<C: Call>(
    client: &C,
    key: &Bytes,
    timeout: Duration,
) -> Result<(), Failure> {
    match client.call(Text::Whole(PROBE), key.clone(), Vec::new(), timeout).await? {
        Reply::Int(1) => Ok(()),
        _ => Err(Failure::Refused(NO_FIELD_EXPIRY.to_owned(), Box::new(NoFieldExpiry))),
    }
}

impl Failure {
    pub(super) fn into_error(self, store: &'static str) -> StoreError {
        let (kind, source) = match self {
            Self::Unsent(source) => (StoreErrorKind::Unavailable, source),
            Self::Lost(source) => (StoreErrorKind::Unknown, source),
            Self::Refused(code, source) => (refusal(&code), source),
        };
        StoreError::new(store, kind).with_source(source)
    }
}

fn refusal(code: &str) -> StoreErrorKind {
    match code {
        "OOM" => StoreErrorKind::Full,
        "WRONGTYPE" | "CORRUPT" => StoreErrorKind::Corrupt,
        NO_FIELD_EXPIRY | "NOAUTH" | "NOPERM" | "WRONGPASS" => StoreErrorKind::Unsupported,
        _ => StoreErrorKind::Unavailable,
    }
}
