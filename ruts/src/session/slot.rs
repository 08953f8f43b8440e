use std::{any::type_name, marker::PhantomData};

use http::Extensions;

use super::Session;
use crate::error::Error;

/// Tells apart several sessions in one app, each with its own cookie:
/// [`SessionLayer::named`](crate::SessionLayer::named).
///
/// ```
/// use ruts::{SessionLayer, SessionName, session, store::memory::MemoryStore};
///
/// struct Staff;
///
/// impl SessionName for Staff {
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
pub trait SessionName: 'static {
    /// Part of the cookie's name, unless the layer's cookie options set another.
    const NAME: &'static str;
}

/// The name of a session that has none: the only one in most apps.
#[derive(Debug)]
pub enum Unnamed {}

impl SessionName for Unnamed {
    const NAME: &'static str = "";
}

/// Where a request carries the session of the layer called `L`.
struct Slot<L> {
    session: Session,
    layer: PhantomData<fn() -> L>,
}

impl<L> Clone for Slot<L> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone(), layer: PhantomData }
    }
}

impl Session {
    pub(crate) fn into_extensions<L: SessionName>(self, extensions: &mut Extensions) {
        extensions.insert(Slot::<L> { session: self, layer: PhantomData });
    }

    /// The session that the layer called `L` put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`].
    pub fn from_extensions_of<L: SessionName>(extensions: &Extensions) -> Result<Self, Error> {
        match extensions.get::<Slot<L>>() {
            Some(slot) => Ok(slot.session.clone()),
            None => Err(Error::MissingLayer { layer: type_name::<L>() }),
        }
    }
}
