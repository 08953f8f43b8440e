#![no_implicit_prelude]

#[::ruts::session]
struct Shop {
    #[field(ttl = "1h", hot = "never", principal)]
    user: ::std::string::String,
    #[field(default)]
    cart: u8,
    maybe: ::core::option::Option<u8>,
    #[field(once)]
    flash: u8,
}

fn main() {}
