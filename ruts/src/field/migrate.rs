//! [`MigratesFrom`] and [`Downgrade`]: conversions between the types of two versions of a field.
//!
//! Used by code that `#[session]` generates. Implemented by every type with a matching `TryFrom`.
//! The error of a conversion is dropped, because it may quote the value.

/// Value type that a `Former`, the type of an earlier version, can be converted into by `From` or
/// `TryFrom`.
#[diagnostic::on_unimplemented(
    message = "live sessions may hold a `{Former}`, which cannot become a `{Self}`",
    label = "expected `impl From<{Former}> for {Self}`, or `TryFrom`",
    note = "each type of `migrate` is converted to the next one, and the last to the field's type",
    note = "if both types are from other crates, such as `Vec<..>`, wrap each in a type of your own: \
            `struct Cart(Vec<Item>)` reads the values of a `Vec<Item>`",
    note = "`discard` in place of a type reads values of its version as absent"
)]
pub trait MigratesFrom<Former>: Sized {
    /// Converts a value.
    fn migrate(former: Former) -> Option<Self>;
}

#[diagnostic::do_not_recommend]
impl<Former, T: TryFrom<Former>> MigratesFrom<Former> for T {
    fn migrate(former: Former) -> Option<Self> {
        former.try_into().ok()
    }
}

/// Value type that can be converted into a `Former`, the type of an earlier version, by `From` or
/// `TryFrom`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be written as the former `{Former}`",
    label = "expected `impl TryFrom<{Self}> for {Former}`, or `From`",
    note = "`writes` stores new values in the type of a former version",
    note = "a `principal` with `migrate` is also converted to its first version, because sessions \
            are listed by that value"
)]
pub trait Downgrade<Former>: Sized {
    /// Converts a value.
    fn downgrade(self) -> Option<Former>;
}

#[diagnostic::do_not_recommend]
impl<T, Former: TryFrom<T>> Downgrade<Former> for T {
    fn downgrade(self) -> Option<Former> {
        self.try_into().ok()
    }
}
