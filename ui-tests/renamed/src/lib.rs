//! A crate that knows ruts by another name only.

use renamed::session;

/// A session.
#[session(crate = renamed)]
pub struct Shop {
    /// The cart.
    #[field(ttl = "1h", hot = "never", default)]
    cart: Vec<u8>,
    #[field(once)]
    flash: String,
}

/// Writes two fields and reads one.
///
/// # Errors
///
/// The store fails.
pub async fn handler(shop: Shop) -> Result<Vec<u8>, renamed::Error> {
    shop.edit().cart(&[1, 2][..]).flash("saved").commit().await?;
    shop.cart().await
}
