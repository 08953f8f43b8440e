//! A crate that knows ruts only by another name.

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
/// Fails if the store fails.
pub async fn handler(shop: Shop) -> Result<Vec<u8>, renamed::Error> {
    shop.edit().cart(&[1, 2][..]).flash("saved").commit().await?;
    shop.cart().await
}
