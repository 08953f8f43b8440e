fn main() {
    #[ruts::session(prefix = "inner")]
    struct Shop {
        #[field(ttl = "1h")]
        cart: u8,
    }

    async fn handler(shop: Shop) -> Result<Option<u8>, ruts::Error> {
        shop.cart().await
    }

    let _ = handler;
    assert_eq!(Shop::CART.spec().name(), "inner.cart");
}
