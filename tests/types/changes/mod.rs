//! [`changes`]: every kind of change that a value type goes through.

mod attributes;
mod collections;
mod enums;
mod meaning;
mod numbers;
mod structs;
mod wrappers;

use crate::change::Change;

/// Declares one change by its name and the types `Old` and `New`. Two functions convert a value of
/// each type into the value of the other type with the same meaning.
macro_rules! change {
    ($name:literal: $old:ty => $new:ty, |$up:pat_param| $to_new:expr, |$down:pat_param| $to_old:expr $(,)?) => {
        $crate::change::Change::new::<$old, $new>($name, |$up| $to_new, |$down| $to_old)
    };
    ($name:literal { $($item:item)+ } |$up:pat_param| $to_new:expr, |$down:pat_param| $to_old:expr $(,)?) => {{
        $(
            #[derive(
                Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize,
                ::arbitrary::Arbitrary,
            )]
            $item
        )+
        $crate::change::Change::new::<Old, New>($name, |$up| $to_new, |$down| $to_old)
    }};
}
pub(crate) use change;

/// Declares a type that stays as it is.
macro_rules! unchanged {
    ($name:literal { $($item:item)+ }) => {{
        $(
            #[derive(
                Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize,
                ::arbitrary::Arbitrary,
            )]
            $item
        )+
        $crate::change::Change::new::<Same, Same>($name, Some, Some)
    }};
}
pub(crate) use unchanged;

/// Returns all changes.
pub(crate) fn changes() -> Vec<Change> {
    [
        structs::changes(),
        numbers::changes(),
        wrappers::changes(),
        collections::changes(),
        enums::changes(),
        attributes::changes(),
        meaning::changes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
