//! Reads of one session with commands instead of a script: [`NativeRead`].
//!
//! Used by the executor and the batched read. A script that reads one field costs the server 62,000
//! instructions, and `HMGET` 8,000. The commands answer a read of a live session with its current
//! secret, if no touch is due. Most reads are of this kind. `lua/load.lua` and
//! `lua/load_general.lua` handle the other reads. Knows nothing about connections.

use bytes::Bytes;

use super::{
    driver::client::Command,
    wire::{
        args::Arguments,
        keys::{put_epoch_key, put_session_key},
        record::RecordReply,
        reply::{Reply, ReplyItems},
    },
};
use crate::{
    field::FieldName,
    store::Loaded,
    token::{SecretHash, SessionId},
};

/// A read with the credentials of a session.
pub(super) struct NativeRead<'a> {
    pub(super) id: &'a SessionId,
    pub(super) secret: &'a SecretHash,
    /// The idle time to grant, and the part of the idle time that has to pass before a touch is
    /// due, both in milliseconds.
    pub(super) touch: [u64; 2],
    /// The requested fields. `None` for all.
    pub(super) names: Option<&'a [FieldName]>,
}

impl NativeRead<'_> {
    /// Returns whether the commands may be able to answer this read. The commands cannot touch a
    /// session, or check internal credentials. A secret hash of zeros stands for internal
    /// credentials.
    pub(super) fn is_possible(&self) -> bool {
        let [idle, after] = self.touch;
        let is_always_due = idle > 0 && after == 0;
        !is_always_due && *self.secret != SecretHash::from_bytes([0; 32])
    }

    /// Returns the key of the session, and the commands: fields, epoch, clock.
    ///
    /// - The commands are not atomic, so the epoch is read after the fields. An epoch only grows.
    ///   If the epoch equals the epoch of the session, the two were already equal when the fields
    ///   were read.
    /// - `GETEX` without options is a `GET` that counts as a write. So a replica, whose data may be
    ///   old, refuses the command.
    /// - Deadlines are compared with `TIME`. The remaining lifetime of the key (`PTTL`) could
    ///   belong to a deadline that was moved after the fields were read.
    pub(super) fn commands(&self, prefix: &str) -> (Bytes, [Command; 3]) {
        let count = self.names.map_or(0, <[_]>::len);
        let mut arguments = Arguments::new(4 + count);
        let epoch = arguments.split_off(|buffer| put_epoch_key(buffer, prefix, self.id));
        let key = arguments.split_off(|buffer| put_session_key(buffer, prefix, self.id));
        let arguments = arguments.bytes(key.clone());
        let fields = match self.names {
            Some(names) => {
                let arguments = arguments.constant("~").constant("~x");
                ("HMGET", arguments.texts(names.iter().map(|name| &**name)))
            }
            None => ("HGETALL", arguments),
        };
        let command = |name, arguments| Command { name, arguments };
        let commands = [
            command(fields.0, fields.1.into_list()),
            command("GETEX", vec![epoch]),
            command("TIME", Vec::new()),
        ];
        (key, commands)
    }

    /// Decodes the replies. `None` if a script has to decide.
    pub(super) fn loaded(&self, reply: Reply) -> Option<Loaded> {
        let mut replies = ReplyItems::new(reply)?;
        let mut fields = ReplyItems::new(replies.next()?)?;
        let epoch = replies.bytes()?.map_or(Some(0), |digits| number(&digits))?;
        let mut time = ReplyItems::new(replies.next()?)?;
        let (seconds, micros) = (number(&time.bytes()??)?, number(&time.bytes()??)?);
        let now = seconds.checked_mul(1000)?.checked_add(micros / 1000)?;
        let (header, extension) = match self.names {
            Some(_) => (fields.bytes()??, fields.bytes()?),
            None => (fields.value_of(b"~")?, fields.value_of(b"~x")),
        };
        let (secret, touch, extension) = (self.secret, self.touch, extension.as_deref());
        let record = RecordReply::on_fast_path(now, &header, extension, epoch, secret, touch)?;
        let names = self.names.map(|names| names.iter().cloned());
        fields.loaded(record, names, |stored| Some(Some(stored)))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;
    const SECRET: SecretHash = SecretHash::from_bytes([7; 32]);

    fn read<'a>(touch: [u64; 2], names: Option<&'a [FieldName]>) -> NativeRead<'a> {
        const ID: SessionId = SessionId::from_bytes([0; 16]);
        NativeRead { id: &ID, secret: &SECRET, touch, names }
    }

    fn header(flags: u8, idle: u64, epoch: u64, secret: [u8; 32]) -> Reply {
        let mut header = BytesMut::new();
        header.put_u8(flags);
        header.put_uint(NOW - HOUR, 6);
        header.put_bytes(0, 10);
        header.put_uint(idle, 6);
        header.put_uint(0, 6);
        header.put_uint(epoch, 3);
        header.put_slice(&secret);
        Reply::Bytes(header.freeze())
    }

    fn text(text: &'static str) -> Reply {
        Reply::Bytes(Bytes::from_static(text.as_bytes()))
    }

    fn replies(header: Reply, epoch: Reply) -> Reply {
        let time = Reply::Array(vec![text("1700000000"), text("999")]);
        Reply::Array(vec![Reply::Array(vec![header, Reply::Nil, text("0value")]), epoch, time])
    }

    /// An epoch that was read before the fields could be older than the fields.
    #[test]
    fn the_epoch_is_read_after_the_fields() {
        let names = [FieldName::from("a")];
        for (names, fields, count) in [(Some(&names[..]), "HMGET", 4), (None, "HGETALL", 1)] {
            let (key, commands) = read([0, 0], names).commands("ruts");
            assert_eq!(key, "ruts:{AA}AAAAAAAAAAAAAAAAAAAA");
            assert_eq!(commands.each_ref().map(|command| command.name), [fields, "GETEX", "TIME"]);
            assert_eq!(commands[0].arguments[0], key);
            assert_eq!(commands[0].arguments.len(), count);
            assert_eq!(commands[1].arguments, ["ruts:{AA}"]);
        }
    }

    #[test]
    fn only_a_live_session_is_answered() {
        let names = [FieldName::from("a")];
        let names = Some(&names[..]);
        let secret = *SECRET.as_bytes();
        let found = |touch, header, epoch| read(touch, names).loaded(replies(header, epoch));
        let live = || header(0, NOW + HOUR, 5, secret);
        let loaded = found([HOUR, HOUR / 8], live(), text("5")).unwrap();
        assert_eq!(loaded.fields[0].value, "value");
        assert_eq!(loaded.meta.idle_remaining.unwrap().as_millis(), HOUR.into());
        assert!(found([0, 0], header(0, NOW + 1, 0, secret), Reply::Nil).is_some());
        for (case, touch, header, epoch) in [
            ("a newer epoch", [0, 0], live(), text("6")),
            ("no epoch", [0, 0], live(), Reply::Nil),
            ("a different secret", [0, 0], header(0, NOW + HOUR, 5, [8; 32]), text("5")),
            ("a due touch", [HOUR, HOUR / 8], header(0, NOW + HOUR * 7 / 8, 5, secret), text("5")),
            ("a passed deadline", [0, 0], header(0, NOW, 5, secret), text("5")),
            ("a secret in its grace period", [0, 0], header(4, NOW + HOUR, 5, secret), text("5")),
            ("no session", [0, 0], Reply::Nil, text("5")),
            ("a short record", [0, 0], text("soon"), text("5")),
        ] {
            assert!(found(touch, header, epoch).is_none(), "{case}");
        }
    }

    #[test]
    fn a_read_that_no_command_can_answer_is_not_sent() {
        assert!(read([0, 0], None).is_possible());
        assert!(read([HOUR, 1], None).is_possible());
        assert!(
            !read([HOUR, 0], None).is_possible(),
            "a touch that is always due should need a script"
        );
        let by_process =
            NativeRead { secret: &SecretHash::from_bytes([0; 32]), ..read([0, 0], None) };
        assert!(!by_process.is_possible());
    }
}
