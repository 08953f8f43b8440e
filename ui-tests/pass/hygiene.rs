//! Names of the application that could collide with names in generated code.

#![allow(non_camel_case_types, non_upper_case_globals)]

/// Structs with the names of generics and of the library's types.
mod structs {
    use ruts::session;

    #[session]
    struct S {
        #[field(principal)]
        user: u64,
        #[field(once)]
        flash: String,
    }

    #[session]
    struct T {
        #[field(default)]
        cart: u8,
    }

    #[session]
    struct M {
        cart: u8,
    }

    #[session(prefix = "a")]
    struct Session {
        #[field(principal)]
        user: u64,
    }

    #[session(prefix = "b")]
    struct Entry {
        user: u64,
    }

    #[session(prefix = "c")]
    struct Field {
        #[field(default = 1, ttl = "1h", hot = "5m", version = 2, migrate(1 => u64), writes = 1)]
        user: u64,
    }

    pub fn schemas() -> [&'static str; 3] {
        [S::SCHEMA.name(), T::SCHEMA.name(), M::SCHEMA.name()]
    }
}

/// Types with the names of the prelude and of the library.
mod types {
    use ruts::session;
    use serde::{Deserialize, Serialize};

    macro_rules! shadow {
        ($($name:ident)*) => {
            $(#[derive(Serialize, Deserialize)]
            pub struct $name;)*
        };
    }

    shadow! { Box Debug Duration Err Error Field FieldSpec Future None Ok Once Option }
    shadow! { PhantomData Principal Result Self_ Send Session Sized Some StoredAs String Sync Ttl }
    shadow! { Values Vec WriteFuture ruts_macros core std u16 usize str bool }

    #[session(prefix = "types")]
    pub struct Shop {
        #[field(principal, version = 2, migrate(1 => u64))]
        user: u64,
        option: Option,
        result: Result,
        #[field(ttl = "1h", hot = "never", version = 2, migrate(1 => String), writes = 1)]
        string: String,
        #[field(once)]
        vec: Vec,
        #[field(lazy, codec = "bincode")]
        session_: Session,
        number: usize,
    }
}

/// Constants with the names of bindings. In a pattern, such a name would refer to the constant.
mod constants {
    pub const changes: () = ();
    pub const f: () = ();
    pub const field: () = ();
    pub const fields: () = ();
    pub const parts: () = ();
    pub const request: () = ();
    pub const session: () = ();
    pub const state: () = ();
    pub const store: () = ();
    pub const value: () = ();
    pub const values: () = ();

    #[ruts::session(prefix = "constants")]
    pub struct Shop {
        #[field(principal)]
        user: u64,
        #[field(default = 7)]
        cart: u8,
        #[field(once)]
        flash: u8,
    }
}

/// Lifetimes with names that generated code could use.
mod lifetimes {
    use std::marker::PhantomData;

    #[ruts::session(prefix = "lifetimes")]
    pub struct Shop {
        #[field(principal)]
        user: u64,
        function: PhantomData<for<'a, 'r> fn(&'a (), &'r ())>,
    }
}

/// Traits in scope whose methods have the names of the library's.
mod traits {
    pub trait Everything: Sized {
        const SCHEMA: u8 = 0;
        const CART: u8 = 0;
        fn by(&self) {}
        fn clone(&self) {}
        fn commit(&self) {}
        fn edit(&self) {}
        fn fmt(&self) {}
        fn load(&self) {}
        fn read(&self) {}
        fn session(&self) {}
        fn set(&self) {}
    }

    impl<T> Everything for T {}

    #[ruts::session(prefix = "traits")]
    pub struct Shop {
        #[field(principal)]
        user: u64,
        cart: u8,
    }
}

/// A module without a prelude, in a function.
fn in_a_function() -> &'static str {
    mod inner {
        #![no_implicit_prelude]

        #[::ruts::session(prefix = "inner")]
        pub struct S {
            #[field(principal)]
            user: ::std::string::String,
        }
    }

    #[ruts::session(prefix = "function")]
    struct S {
        #[field(principal)]
        user: u64,
        r#as: u64,
        r#type: u64,
    }

    let _ = inner::S::USER;
    S::TYPE.spec().name()
}

fn main() {
    assert_eq!(structs::schemas(), ["S", "T", "M"]);
    assert_eq!(in_a_function(), "function.type");
}
