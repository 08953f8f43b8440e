//! [`OldSessions`]: the trait that reads and ends the sessions of another library. [`OldSession`]:
//! one such session.
//!
//! Implemented by the files of the old libraries and by applications, and called by `lift`. Knows
//! nothing about cookies.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::Error,
    link::{Digest, Link, OldState, digest},
};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The store of another library's sessions.
///
/// This crate has implementations for tower-sessions, axum_session and ruts 0.13. For another
/// library, implement these two methods:
///
/// ```
/// use std::collections::HashMap;
/// use ruts_lift::{BoxError, OldSession, OldSessions};
/// use serde_json::Value;
///
/// struct Legacy;
///
/// impl OldSessions for Legacy {
///     async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
///         let text = std::fs::read_to_string(format!("sessions/{}.json", id.parse::<u128>()?))?;
///         Ok(Some(OldSession::new(serde_json::from_str::<HashMap<String, Value>>(&text)?)))
///     }
///
///     async fn delete(&self, id: &str) -> Result<(), BoxError> {
///         Ok(std::fs::remove_file(format!("sessions/{}.json", id.parse::<u128>()?))?)
///     }
/// }
/// ```
pub trait OldSessions: Send + Sync + 'static {
    /// Reads a live session. `None` if it does not exist, or if `id`, which comes from the client,
    /// is malformed.
    ///
    /// # Errors
    ///
    /// [`Malformed`](crate::Malformed) if the session cannot be decoded. The request then continues
    /// without it. Every other error counts as a failure of the store.
    fn load(&self, id: &str) -> impl Future<Output = Result<Option<OldSession>, BoxError>> + Send;

    /// Ends a session. A session that does not exist is not an error.
    fn delete(&self, id: &str) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// A session of another library, in the state that was read from its store.
///
/// A session may be lifted several times while both libraries run. [`changed`](Self::changed)
/// returns a value only if the old library has written it since the last lift.
#[derive(Clone)]
pub struct OldSession {
    values: BTreeMap<String, Value>,
    ends: Option<SystemTime>,
    /// Digests of the values at the last lift.
    lifted: BTreeMap<String, Digest>,
}

impl OldSession {
    /// Creates a session with these values.
    pub fn new(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { values: values.into_iter().collect(), ends: None, lifted: BTreeMap::new() }
    }

    /// Sets the time at which the session expires. Without this time, a session that no longer
    /// exists counts as signed out.
    #[must_use]
    pub fn ends(mut self, at: SystemTime) -> Self {
        self.ends = Some(at);
        self
    }

    /// Returns a value, or `None` if the session does not have it.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if the value has a different type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        match T::deserialize(value) {
            Ok(value) => Ok(Some(value)),
            // A serde error may quote the value.
            Err(_) => Err(Error::Value { name: name.to_owned() }),
        }
    }

    /// Returns a value if the old library has written it since the last lift. At the first lift
    /// every value counts as written.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if the value has a different type.
    pub fn changed<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.has_changed(name) {
            true => self.get(name),
            false => Ok(None),
        }
    }

    /// Returns whether the old library has removed a value since the last lift.
    pub fn is_removed(&self, name: &str) -> bool {
        self.lifted.contains_key(name) && !self.values.contains_key(name)
    }

    /// Returns the names of all values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Returns whether the old library has written or removed a value since the last lift.
    pub(crate) fn has_changes(&self) -> bool {
        self.names().any(|name| self.has_changed(name))
            || self.lifted.keys().any(|name| self.is_removed(name))
    }

    /// Returns whether the session has no values.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn has_changed(&self, name: &str) -> bool {
        self.values.get(name).map(digest).as_ref() != self.lifted.get(name)
    }

    /// Sets the state at the last lift. [`changed`](Self::changed) compares the values with it.
    pub(crate) fn since(&mut self, link: Option<&Link>) {
        self.lifted = link.map(|link| link.old.digests.clone()).unwrap_or_default();
    }

    pub(crate) fn state(&self, id: &str) -> OldState {
        let until = self.ends.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        OldState {
            id: id.to_owned(),
            ends: until.map(|until| until.as_secs()),
            digests: self
                .values
                .iter()
                .map(|(name, value)| (name.clone(), digest(value)))
                .collect(),
        }
    }
}

/// Shows only the names of the values.
impl fmt::Debug for OldSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldSession")
            .field("names", &self.values.keys())
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Errors are logged with their sources.
    #[test]
    fn an_error_quotes_no_value() {
        let old = OldSession::new([("user".to_owned(), json!("secret-name"))]);
        let error = old.get::<u64>("user").unwrap_err();
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            assert!(!format!("{error} {error:?}").contains("secret-name"), "{error:?}");
            next = error.source();
        }
    }
}
