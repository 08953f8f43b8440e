use ruts::session;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct CartV1;

#[derive(Serialize, Deserialize)]
struct CartV2;

#[derive(Serialize, Deserialize)]
struct Cart;

impl From<CartV2> for Cart {
    fn from(_: CartV2) -> Self {
        Self
    }
}

#[session]
struct Shop {
    #[field(version = 3, migrate(1 => CartV1, 2 => CartV2))]
    cart: Cart,
}

fn main() {}
