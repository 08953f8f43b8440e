//! Three releases of a shop, whose cart changes its type while sessions are live.
//!
//! In an application, the releases are three states of one module. Here they are separate modules,
//! so that `tests/rolling.rs` can run instances of all releases on one store.
//! `docs/changing-types.md` lists which deploys each change needs.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::IntoStore};
use serde::{Deserialize, Serialize};

/// The cart of the first release: one string for each item.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CartV1(Vec<String>);

/// The cart of the later releases: one line for each product.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cart {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    product: String,
    pieces: usize,
}

impl From<CartV1> for Cart {
    fn from(CartV1(pieces): CartV1) -> Self {
        let mut cart = Self::default();
        pieces.into_iter().for_each(|product| cart.add(product));
        cart
    }
}

/// The conversion back, for the bridge release.
impl From<Cart> for CartV1 {
    fn from(Cart { lines }: Cart) -> Self {
        let pieces = |Line { product, pieces }| std::iter::repeat_n(product, pieces);
        Self(lines.into_iter().flat_map(pieces).collect())
    }
}

impl CartV1 {
    fn add(&mut self, product: String) {
        self.0.push(product);
    }

    fn pieces(&self) -> usize {
        self.0.len()
    }
}

impl Cart {
    fn add(&mut self, product: String) {
        match self.lines.iter_mut().find(|line| line.product == product) {
            Some(line) => line.pieces += 1,
            None => self.lines.push(Line { product, pieces: 1 }),
        }
    }

    fn pieces(&self) -> usize {
        self.lines.iter().map(|line| line.pieces).sum()
    }
}

/// The pages of a release, which are the same in all of them.
macro_rules! pages {
    () => {
        /// Returns an instance of this release, with sessions in this store.
        pub fn app(store: impl IntoStore) -> Router {
            Router::new()
                .route("/cart", get(pieces))
                .route("/cart/{product}", post(add))
                .layer(SessionLayer::new(store))
        }

        async fn pieces(shop: Shop) -> Result<String, Error> {
            Ok(shop.cart().await?.pieces().to_string())
        }

        async fn add(shop: Shop, Path(product): Path<String>) -> Result<(), Error> {
            shop.cart().update(|cart| cart.add(product.clone())).await
        }
    };
}

/// The first release.
pub mod before {
    use super::*;

    /// The session of the shop.
    #[session]
    pub struct Shop {
        #[field(default)]
        cart: CartV1,
    }

    pages!();
}

/// The bridge release: reads both types, and writes the former one. It can run beside the first and beside
/// the last release.
pub mod bridge {
    use super::*;

    /// The session of the shop.
    #[session]
    pub struct Shop {
        #[field(default, version = 2, migrate(1 => CartV1), writes = 1)]
        cart: Cart,
    }

    pages!();
}

/// The last release: reads both types, and writes the new one.
pub mod after {
    use super::*;

    /// The session of the shop.
    #[session]
    pub struct Shop {
        #[field(default, version = 2, migrate(1 => CartV1))]
        cart: Cart,
    }

    pages!();
}
