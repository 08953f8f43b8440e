//! The check of names that become part of a statement, and its error: [`InvalidName`].
//!
//! Used by the stores on SQL servers for the tables that an application names.

/// A schema or table name that is empty or too long, or has a character that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error(
    "invalid schema or table name {0:?}: use at most 50 of the characters A-Z, a-z, 0-9, _ and -"
)]
pub struct InvalidName(String);

/// Checks a name that statements contain in quotes.
pub(in crate::store) fn check_name(name: &str) -> Result<(), InvalidName> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > 50 || !name.bytes().all(is_plain) {
        return Err(InvalidName(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_end_a_quotation_are_invalid() {
        for name in ["sessions", "_s", "2s", "Sessions", "a-b", &"n".repeat(50)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a.b", "a\"b", "a'b", "a`b", "a$b", "größe", "a b", &"n".repeat(51)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
