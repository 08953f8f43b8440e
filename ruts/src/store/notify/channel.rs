use std::{error::Error, future::Future};

use tokio::sync::broadcast;

use crate::token::SessionId;

/// Why a channel does not work.
pub type ChannelError = Box<dyn Error + Send + Sync>;

/// Where processes tell each other short texts. Any of them may be lost.
pub trait Channel: Send + Sync + 'static {
    /// Tells all who listen, in whatever process.
    fn publish(&self, message: String) -> impl Future<Output = Result<(), ChannelError>> + Send;

    /// Listens until that fails; it is called again after a while. Says so when it
    /// [has begun](Heard::from_now_on), and after each interruption that it got over by itself.
    fn listen(&self, heard: &Heard) -> impl Future<Output = ChannelError> + Send;
}

/// What has come through a [`Channel`], for those who watch a session in this process.
#[derive(Debug, Clone)]
pub struct Heard(pub(super) broadcast::Sender<Option<SessionId>>);

impl Heard {
    /// A message has come.
    pub fn message(&self, text: &str) {
        // What is no id is no reason to be deaf to it.
        let _ = self.0.send(text.parse().ok());
    }

    /// Messages come from now on; some may have been missed.
    pub fn from_now_on(&self) {
        let _ = self.0.send(None);
    }
}
