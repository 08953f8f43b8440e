//! TTLs, defaults and types that reach the attribute as fragments of a macro.
#![deny(warnings)]

use std::time::Duration;

use ruts::{Ttl, session};

macro_rules! shop {
    ($name:ident { $field:ident: $ty:ty = $default:expr, $maybe:ty, $ttl:expr }) => {
        #[session]
        struct $name {
            #[field(ttl = $ttl, default = $default)]
            $field: $ty,
            #[field(hot = $ttl)]
            list: Vec<$ty>,
            maybe: $maybe,
        }
    };
}

shop!(Text { cart: u8 = 3, Option<u8>, "30d" });
shop!(Expression { cart: (u8, String) = (4, String::new()), bool, Duration::from_secs(7) });

/// The fields come from the caller.
macro_rules! whole {
    ($($fields:tt)*) => {
        #[session]
        struct Whole { $($fields)* }
    };
}

whole! {
    #[field(principal, version = 2, migrate(1 => u32), writes = 1)]
    user: u32,
    #[field(version = 3, migrate(1 => u8, 2 => discard))]
    visits: u64,
}

async fn handler(shop: Text) -> Result<Option<u8>, ruts::Error> {
    shop.set_cart(&5).await?;
    shop.maybe().await
}

fn main() {
    let _ = handler;
    assert_eq!(Whole::VISITS.spec().version(), 3);
    assert_eq!(Text::CART.spec().ttl(), Some(Ttl::from_secs(30 * 24 * 60 * 60)));
    assert_eq!(Expression::CART.spec().ttl(), Some(Ttl::from_secs(7)));
}
