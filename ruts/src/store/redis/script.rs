use std::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use tokio::time::{Instant, sleep};

use super::client::{Call, Failure, NoAnswer, Reply, Text};
use crate::store::{StoreError, StoreErrorKind};

/// A script and the name by which a server that has seen it knows it.
pub(super) struct Script {
    text: &'static str,
    hash: String,
    probe: &'static str,
}

/// A script after what every script of its kind begins with. On a server without room, one that `Runs`
/// is run all the same, one that is `Refused` is not, and of one that `Asks` single commands fail.
macro_rules! script {
    (@Runs) => { "#!lua flags=allow-oom\n" };
    (@Refused) => { "#!lua\n" };
    (@Asks) => { "" };
    ($(#[$meta:meta])* $name:ident = $header:ident, $($file:literal,)+ $probe:ident) => {
        $(#[$meta])*
        pub(super) static $name: std::sync::LazyLock<$crate::store::redis::script::Script> =
            std::sync::LazyLock::new(|| {
                $crate::store::redis::script::Script::new(
                    concat!(
                        script!(@$header),
                        $(include_str!(concat!("lua/", $file, ".lua")),)+
                    ),
                    $probe,
                )
            });
    };
}

/// A script that asks whether a server lets this user run these commands.
macro_rules! probe {
    ($name:ident = $commands:literal) => {
        pub(super) const $name: &str =
            concat!("local needed = '", $commands, "'\n", include_str!("lua/probe.lua"));
    };
}

#[cfg(feature = "layered-store")]
pub(super) use {probe, script};

probe!(
    PROBE =
        "HPTTL HPEXPIREAT GET HGET HMGET HGETALL HSET HDEL DEL MGET PTTL PEXPIREAT PERSIST TIME"
);
probe!(PRINCIPAL = "HPTTL HPEXPIRE HGET HGETALL HKEYS HSET HDEL TIME");
probe!(
    SIGN_IN = "HPTTL HPEXPIREAT HPEXPIRE GET HGET HMGET HGETALL HKEYS HSET HDEL DEL PTTL PEXPIREAT PERSIST TIME"
);
probe!(EPOCH = "HDEL INCR");
script!(LOAD = Runs, "named", "calm", "load", "session", "load_slowly", PROBE);
script!(CREATE = Refused, "alone", "calm", "session", "create", PROBE);
script!(UPDATE = Refused, "compare", "alone", "calm", "update", "session", "update_slowly", PROBE);
script!(
    /// An update without a new value.
    UPDATE_ON_FULL_SERVER = Runs, "compare", "alone", "calm", "update", "session", "update_slowly", PROBE
);
script!(
    /// Reads of several sessions.
    LOAD_TOGETHER = Runs,
    "load_together",
    PROBE
);
script!(
    /// Updates of several sessions.
    UPDATE_TOGETHER = Refused,
    "compare",
    "apart",
    "alone",
    "calm",
    "update",
    "session",
    "update_slowly",
    "whole",
    "update_together",
    PROBE
);
script!(TAKE = Runs, "alone", "calm", "session", "take", PROBE);
script!(DELETE = Runs, "alone", "calm", "session", "delete", PROBE);
script!(
    /// Ends a session in the name of its principal.
    FORGET = Runs,
    "alone",
    "calm",
    "session",
    "forget",
    PROBE
);
script!(
    /// A sign-in that begins a session, where one server keeps it and the list.
    CREATE_SIGNED_IN = Refused,
    "apart",
    "alone",
    "calm",
    "session",
    "create",
    "whole",
    "principal/principal",
    "principal/steps",
    "principal/sign_in",
    SIGN_IN
);
script!(
    /// A sign-in of a session that is there, where one server keeps it and the list.
    UPDATE_SIGNED_IN = Refused,
    "compare",
    "apart",
    "alone",
    "calm",
    "update",
    "session",
    "update_slowly",
    "whole",
    "principal/principal",
    "principal/steps",
    "principal/sign_in",
    SIGN_IN
);
script!(JOIN = Refused, "principal/principal", "principal/steps", "principal/join", PRINCIPAL);
script!(VERIFY = Runs, "principal/principal", "principal/steps", "principal/verify", PRINCIPAL);
script!(WITHDRAW = Runs, "principal/principal", "principal/steps", "principal/withdraw", PRINCIPAL);
script!(LIST = Runs, "principal/principal", "principal/list", PRINCIPAL);
script!(REVOKE = Runs, "principal/principal", "principal/revoke", PRINCIPAL);
script!(LEAVE = Runs, "principal/principal", "principal/leave", PRINCIPAL);
script!(COUNT = Runs, "count", EPOCH);

impl Script {
    pub(super) fn new(text: &'static str, probe: &'static str) -> Self {
        let hash = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, hash, probe }
    }

    /// Runs it once: by name, or, on a server that does not know it, by its text. There is a key at least.
    pub(super) async fn call<C: Call>(
        &'static self,
        client: &C,
        keys: &[Bytes],
        arguments: &[Bytes],
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        match run(client, Text::Hash(&self.hash), keys, arguments, deadline).await {
            Err(Failure::Refused(code, _)) if code == "NOSCRIPT" => {
                require_fitness(client, self.probe, &keys[..1], deadline).await?;
                run(client, Text::Whole(self.text), keys, arguments, deadline).await
            }
            answer => answer,
        }
    }
}

/// Until when an operation has to be over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn new(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    pub(super) fn until(moment: Instant) -> Self {
        Self(moment)
    }

    fn left(self) -> Result<Duration, Failure> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Unsent(Box::new(NoAnswer)));
        }
        Ok(left)
    }
}

/// How long to wait for a cluster's new map of its slots.
const REMAPPING: Duration = Duration::from_millis(20);

/// Sends a script, and again if the node refused it because the key is not its own: the client is
/// fetching a new map then.
async fn run<C: Call>(
    client: &C,
    text: Text,
    keys: &[Bytes],
    arguments: &[Bytes],
    deadline: Deadline,
) -> Result<Reply, Failure> {
    loop {
        match client.call(text, keys, arguments, deadline.left()?).await {
            Err(Failure::Refused(code, _))
                if matches!(&*code, "MOVED" | "ASK" | "TRYAGAIN")
                    && deadline.left().is_ok_and(|left| left > REMAPPING) =>
            {
                sleep(REMAPPING).await;
            }
            answer => return answer,
        }
    }
}

/// Why a server cannot keep sessions.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the server cannot expire fields: Redis 7.4, Valkey 9 or later is needed")]
    NoFieldExpiry,
    #[error("the server does not let this user run {0} in a script")]
    NotAllowed(String),
}

const UNFIT: &str = "UNFIT";

/// Asks the server that keeps the one key whether it can keep sessions. A script that finds out halfway
/// would leave its writes behind.
pub(super) async fn require_fitness<C: Call>(
    client: &C,
    probe: &'static str,
    key: &[Bytes],
    deadline: Deadline,
) -> Result<(), Failure> {
    let complaint = match run(client, Text::Whole(probe), key, &[], deadline).await {
        Ok(Reply::Int(1)) => return Ok(()),
        Ok(Reply::Bytes(command))
            if !matches!(&*command, b"HPTTL" | b"HPEXPIRE" | b"HPEXPIREAT") =>
        {
            Unfit::NotAllowed(String::from_utf8_lossy(&command).into_owned())
        }
        Ok(_) => Unfit::NoFieldExpiry,
        // Nothing else was sent.
        Err(Failure::Lost(source)) => return Err(Failure::Unsent(source)),
        Err(failure) => return Err(failure),
    };
    Err(Failure::Refused(UNFIT.to_owned(), Box::new(complaint)))
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
        UNFIT | "NOAUTH" | "NOPERM" | "WRONGPASS" => StoreErrorKind::Unsupported,
        // A script that broke off, perhaps after its first write.
        "ERR" => StoreErrorKind::Unknown,
        _ => StoreErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a script runs, its probe has asked for.
    #[test]
    fn a_probe_asks_for_all_that_its_scripts_run() {
        let mut scripts = vec![
            &LOAD,
            &LOAD_TOGETHER,
            &CREATE,
            &UPDATE,
            &UPDATE_ON_FULL_SERVER,
            &UPDATE_TOGETHER,
            &TAKE,
            &DELETE,
            &FORGET,
            &CREATE_SIGNED_IN,
            &UPDATE_SIGNED_IN,
            &JOIN,
            &VERIFY,
            &WITHDRAW,
            &LIST,
            &REVOKE,
            &LEAVE,
            &COUNT,
        ];
        #[cfg(feature = "layered-store")]
        scripts.extend(crate::store::redis::cache::SCRIPTS);
        for script in scripts {
            let needed = script.probe.split('\'').nth(1).unwrap();
            let needed: Vec<&str> = needed.split(' ').collect();
            let words = script.text.split('\'').filter(|word| {
                word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
            });
            for word in words.filter(|word| *word != "FIELDS") {
                assert!(needed.contains(&word), "{word}");
            }
        }
    }
}
