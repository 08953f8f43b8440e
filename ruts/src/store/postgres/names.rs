use crate::store::ENDED_RETENTION;

/// A schema or table name that PostgreSQL would not take as it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no name for a schema or table of sessions: \
     at most 50 of a-z, 0-9 and _, and no digit first"
)]
pub struct InvalidName(String);

/// Tables and functions.
const PARTS: [&str; 10] = [
    "fields",
    "epoch",
    "migrations",
    "create",
    "touch",
    "update",
    "update_many",
    "take",
    "delete",
    "revoke",
];

/// The names of all that a store has in the database.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) schema: String,
    pub(super) table: String,
}

impl Names {
    pub(super) fn new(schema: &str, table: &str) -> Result<Self, InvalidName> {
        for name in [schema, table] {
            let first = name.as_bytes().first();
            let fits = first.is_some_and(|byte| !byte.is_ascii_digit()) && name.len() <= 50;
            let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if !fits || !name.bytes().all(plain) {
                return Err(InvalidName(name.to_owned()));
            }
        }
        Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
    }

    /// `template` with its names, and its fragments, in place.
    pub(super) fn fill(&self, template: &str) -> String {
        const FRAGMENTS: [(&str, &str); 11] = [
            ("{language}", "language plpgsql set search_path = pg_catalog, pg_temp"),
            ("{lock}", include_str!("sql/lock.sql")),
            ("{limit}", include_str!("sql/limit.sql")),
            ("{live}", include_str!("sql/live.sql")),
            ("{confirm}", include_str!("sql/confirm.sql")),
            ("{late}", include_str!("sql/late.sql")),
            ("{declare}", include_str!("sql/declare.sql")),
            ("{open}", include_str!("sql/open.sql")),
            ("{slide}", include_str!("sql/slide.sql")),
            ("{rotate}", include_str!("sql/rotate.sql")),
            ("{save}", include_str!("sql/save.sql")),
        ];
        let mut text = template.to_owned();
        for (mark, fragment) in FRAGMENTS {
            text = text.replace(mark, fragment.trim_end());
        }
        text = text.replace("{sessions}", &self.qualified(""));
        for part in PARTS {
            text = text.replace(&format!("{{{part}}}"), &self.qualified(&format!("_{part}")));
        }
        for index in ["gc", "principal"] {
            text = text.replace(&format!("{{{index}}}"), &format!("\"{}_{index}\"", self.table));
        }
        text.replace("{late_ms}", &ENDED_RETENTION.as_millis().to_string())
            .replace("{schema}", &format!("\"{}\"", self.schema))
    }

    fn qualified(&self, suffix: &str) -> String {
        format!("\"{}\".\"{}{suffix}\"", self.schema, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for name in ["sessions", "_s", "s2", &"n".repeat(50)] {
            assert!(Names::new("public", name).is_ok(), "{name}");
        }
        for name in
            ["", "2s", "PrincipalSessions", "a-b", "a.b", "a\"b", "größe", "a b", &"n".repeat(51)]
        {
            assert!(Names::new("public", name).is_err(), "{name}");
            assert!(Names::new(name, "sessions").is_err(), "{name}");
        }
    }

    #[test]
    fn a_template_leaves_no_mark() {
        let names = Names::new("app", "user").unwrap();
        let text = names.fill(include_str!("sql/migration_1.sql"));
        assert!(!text.replace("'{}'", "").contains(['{', '}']), "{text}");
        assert!(text.contains(r#"create table "app"."user_fields""#));
    }
}
