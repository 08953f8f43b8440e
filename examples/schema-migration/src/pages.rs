//! The pages of the shop, which are the same in all releases. Each release compiles them with its
//! own session.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, auth::Assurance};

use super::{Coupon, Shop};

pub(crate) fn app(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/sign-in/{user}", post(sign_in))
        .route("/cart", get(pieces))
        .route("/cart/{product}", post(add))
        .route("/coupon/{percent}", post(get_coupon))
        .route("/coupon", post(use_coupon))
        .layer(sessions)
}

async fn sign_in(shop: Shop, Path(user): Path<u64>) -> Result<(), Error> {
    shop.user().sign_in(&user, Assurance::Aal1).await
}

async fn pieces(shop: Shop) -> Result<String, Error> {
    Ok(shop.cart().await?.pieces().to_string())
}

async fn add(shop: Shop, Path(product): Path<String>) -> Result<(), Error> {
    shop.cart().update(|cart| cart.add(product.clone())).await
}

async fn get_coupon(shop: Shop, Path(percent): Path<u32>) -> Result<(), Error> {
    shop.set_coupon(&Coupon::new(percent)).await
}

async fn use_coupon(shop: Shop) -> Result<String, Error> {
    let coupon = shop.coupon().take().await?;
    Ok(coupon.map_or_else(|| "none".to_owned(), |coupon| coupon.percent().to_string()))
}
