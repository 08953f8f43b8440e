//! [`LayerName`]: the name of a layer, which tells several layers of one application apart.
//!
//! Implemented by applications. Part of the secret hash. Plain data.

/// The name of a session, for apps with several sessions that have a cookie each:
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
    /// Part of the cookie's name, unless the cookie options of the layer set another name.
    const NAME: &'static str;
}

/// The name of a session without a name, which is the only session in most apps.
#[derive(Debug)]
pub enum DefaultLayer {}

impl LayerName for DefaultLayer {
    const NAME: &'static str = "";
}
