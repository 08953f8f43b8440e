//! [`LayerName`]: the name of a layer, for applications with several layers.
//!
//! Implemented by applications. The secret hash covers the name. Plain data.

/// Name of a layer, for applications with several layers, each with its own cookie. Set by
/// [`SessionLayer::named`](crate::SessionLayer::named).
///
/// ```
/// use ruts::{SessionLayer, session, session::LayerName, store::memory::MemoryStore};
///
/// struct Staff;
///
/// impl LayerName for Staff {
///     const NAME: &str = "staff";
/// }
///
/// #[session(layer = Staff)]
/// struct Desk {
///     employee: u32,
/// }
///
/// let layer = SessionLayer::new(MemoryStore::new()).named::<Staff>();
/// # drop(layer);
/// ```
pub trait LayerName: 'static {
    /// Name of the layer. It is part of every secret hash of the layer. It is also part of the
    /// cookie's name, unless the cookie options set a name.
    const NAME: &'static str;
}

/// Name type of the unnamed layer, which is the only layer in most applications.
#[derive(Debug)]
pub enum DefaultLayer {}

impl LayerName for DefaultLayer {
    const NAME: &'static str = "";
}
