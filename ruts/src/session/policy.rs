use crate::{codec::Codec, store::Touch, ttl::Ttl};

/// How long sessions live, how untyped values are written, and whose sessions they are.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The name of the layer; empty for the unnamed one. Its secrets open its sessions only.
    pub(crate) layer: &'static str,
    /// Time without use after which a session ends.
    pub(crate) idle: Option<Ttl>,
    /// Time after which a session ends however much it is used.
    pub(crate) absolute: Option<Ttl>,
    /// The codec of values that are set by name.
    pub(crate) codec: Codec,
}

impl Policy {
    /// A use counts only after an eighth of the idle time, so that most reads write nothing.
    pub(super) fn touch(&self) -> Option<Touch> {
        self.idle.map(|idle| Touch { idle, after: idle.as_duration() / 8 })
    }
}
