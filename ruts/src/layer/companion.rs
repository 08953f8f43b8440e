//! [`Companion`]: marks a request that a companion crate sends through the session layer.
//!
//! Read by `service`. Knows nothing about sessions.

/// The request extension with which a companion crate, such as `ruts-lift`, marks its requests.
///
/// The token is in the headers of the request and the response, even if there is a cookie jar.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companion {
    /// The request of the client, or a request that changes the session of the client.
    Acts,
    /// A request that only reads the session of the client, before the client's own request. So
    /// this request does not count as activity, and nothing is logged or counted for it.
    Looks,
}
