//! The statements of a store, and the columns of their rows.
//!
//! Made once for each store, so that the server recognises prepared statements. Owned by the
//! executor, used by its callers, `decode` and `check`. Knows nothing about values or connections.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{identifiers::Identifiers, templates::fill};

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}

pub(super) struct Statements {
    pub(super) create: SqlStr,
    pub(super) load: ByProjection,
    pub(super) load_and_touch: ByProjection,
    pub(super) load_batch: ByProjection,
    pub(super) update: SqlStr,
    pub(super) update_batch: SqlStr,
    pub(super) take: SqlStr,
    pub(super) delete: SqlStr,
    pub(super) inspect: SqlStr,
    pub(super) expiry: SqlStr,
    pub(super) list_by_principal: SqlStr,
    pub(super) revoke: SqlStr,
    pub(super) revoke_everyone: SqlStr,
    pub(super) delete_expired: SqlStr,
}

/// A read of all fields, and a read of named fields.
///
/// If one statement served both cases, PostgreSQL would not use the index to read a few fields of a
/// large session.
pub(super) struct ByProjection {
    all: SqlStr,
    named: SqlStr,
}

impl ByProjection {
    pub(super) const fn get(&self, is_named: bool) -> &SqlStr {
        if is_named { &self.named } else { &self.all }
    }
}

impl Statements {
    pub(super) fn new(identifiers: &Identifiers) -> Self {
        let text = |template, field_filter: &str| {
            let text: Arc<str> = fill(template, identifiers, field_filter).into();
            AssertSqlSafe(text).into_sql_str()
        };
        let statement = |template| text(template, "");
        let by_projection = |template, field_filter| ByProjection {
            all: text(template, ""),
            named: text(template, field_filter),
        };
        Self {
            create: statement(template!("create")),
            load: by_projection(template!("load"), "and f.name = any ($3)"),
            load_and_touch: by_projection(template!("load_and_touch"), "and f.name = any ($5)"),
            load_batch: by_projection(template!("load_batch"), "and f.name = any ($5)"),
            update: statement(template!("update")),
            update_batch: statement(template!("update_batch")),
            take: statement(template!("take")),
            delete: statement(template!("delete")),
            inspect: statement(template!("inspect")),
            expiry: statement(template!("expiry")),
            list_by_principal: text(
                template!("list_by_principal"),
                "and ($4::text[] is null or f.name = any ($4))",
            ),
            revoke: statement(template!("revoke")),
            revoke_everyone: statement(template!("revoke_everyone")),
            delete_expired: statement(template!("delete_expired")),
        }
    }
}

/// Declares the columns of a statement, by name, from the index `first` on.
macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident from $first:literal { $($column:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(super) enum $name {
            $($column),+
        }

        impl From<$name> for usize {
            fn from(column: $name) -> Self {
                $first + column as Self
            }
        }

        #[cfg(test)]
        impl $name {
            const ALL: &'static [Self] = &[$(Self::$column),+];
        }
    )+};
}

columns! {
    /// First columns of every read except `expiry`.
    SessionColumn from 0 {
        IsStandby, IsOnlyStatement, NowAt, CreatedAt, IssuedAt, UsedAt, IdleAt, AbsoluteAt,
        SignedInAt, Principal, Assurance,
    }

    /// Further columns of a read that returns fields.
    FieldColumn from 11 { Names, Contents, CachePolicies, Expiries }

    /// Next columns of a read by a secret.
    LoadColumn from 15 { ByFormerSecret, FormerUntil, EndedAt, IsRevoked }

    /// Last column of `load_and_touch`.
    TouchColumn from 19 { Touched }

    /// Last columns of `load_batch`.
    LoadBatchColumn from 19 { Ordinal, TouchIsDue }

    /// Last column of `list_by_principal`.
    ListColumn from 15 { SessionId }

    /// First columns of a function that works on one session. `create` has no `AgoMs`.
    OutcomeColumn from 0 { Outcome, AgoMs }

    /// Next columns of `update` and `update_batch`.
    UpdateColumn from 2 { FieldsFound, Value }

    /// Last column of `update_batch`.
    UpdateBatchColumn from 4 { Ordinal }

    /// Last column of `take`.
    TakeColumn from 2 { Value }

    /// The columns of `revoke`.
    RevokeColumn from 0 { SessionIds, NextFrom }

    /// The column of `delete_expired`.
    DeleteExpiredColumn from 0 { Count }
}

#[cfg(test)]
mod tests {
    use super::{super::templates::tests::identifiers, *};

    /// Returns the names of the columns of a statement.
    fn selected(sql: &SqlStr) -> Vec<String> {
        let (mut columns, mut depth) = (vec![String::new()], 0);
        let sql = sql.as_str();
        let main = if sql.starts_with("with") { sql.rsplit_once("\n)\n").unwrap().1 } else { sql };
        let list = main.split_once("select").unwrap().1;
        for (at, sign) in list.char_indices() {
            depth += i32::from(sign == '(') - i32::from(sign == ')');
            match sign {
                _ if depth == 0 && list[at..].starts_with("\nfrom") => break,
                ',' if depth == 0 => columns.push(String::new()),
                _ => columns.last_mut().unwrap().push(sign),
            }
        }
        let name = |column: &String| column.rsplit([' ', '.', '\n']).next().unwrap().to_owned();
        columns.iter().map(name).collect()
    }

    /// Converts the name of a variant, such as `ByFormerSecret`, to the name of its column,
    /// `by_former_secret`.
    fn snake(name: &str) -> String {
        let mut text = String::new();
        for sign in name.chars() {
            if sign.is_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.push(sign.to_ascii_lowercase());
        }
        text
    }

    macro_rules! assert_columns {
        ($sql:expr, $($columns:ident),+) => {
            let mut expected = Vec::new();
            $(for column in $columns::ALL {
                assert_eq!(usize::from(*column), expected.len(), "{column:?}");
                expected.push(snake(&format!("{column:?}")));
            })+
            assert_eq!(selected($sql), expected);
        };
    }

    /// A pooler may mix up prepared statements, and run a write instead of a read. The server
    /// refuses the write if its number of parameters is different. Otherwise the write refuses the
    /// parameters, because one of them has to be the name of the write.
    #[test]
    fn no_read_is_answered_by_a_write() {
        let all = Statements::new(&identifiers());
        let parameters =
            |sql: &SqlStr| (1..).take_while(|n| sql.as_str().contains(&format!("${n}"))).count();
        let by_projection = [&all.load, &all.load_and_touch, &all.load_batch];
        let reads = by_projection.into_iter().flat_map(|read| [&read.all, &read.named]);
        let reads = reads.chain([&all.inspect, &all.expiry, &all.list_by_principal]);
        let reads: Vec<_> = reads.map(parameters).collect();
        let (update, take) = (&all.update, &all.take);
        for write in [&all.create, update, &all.update_batch, take, &all.delete, &all.revoke] {
            let names_itself = write.as_str().contains("::text = '");
            assert!(names_itself || !reads.contains(&parameters(write)), "{}", write.as_str());
        }
    }

    #[test]
    fn columns_are_those_of_the_statements() {
        let all = Statements::new(&identifiers());
        for load in [&all.load.all, &all.load.named] {
            assert_columns!(load, SessionColumn, FieldColumn, LoadColumn);
        }
        let touch = &all.load_and_touch.named;
        assert_columns!(touch, SessionColumn, FieldColumn, LoadColumn, TouchColumn);
        let batch = &all.load_batch.named;
        assert_columns!(batch, SessionColumn, FieldColumn, LoadColumn, LoadBatchColumn);
        assert_columns!(&all.list_by_principal, SessionColumn, FieldColumn, ListColumn);
        assert_columns!(&all.inspect, SessionColumn);
        assert_columns!(&all.update, OutcomeColumn, UpdateColumn);
        assert_columns!(&all.update_batch, OutcomeColumn, UpdateColumn, UpdateBatchColumn);
        assert_columns!(&all.take, OutcomeColumn, TakeColumn);
        assert_columns!(&all.delete, OutcomeColumn);
        assert_columns!(&all.revoke, RevokeColumn);
        assert_columns!(&all.delete_expired, DeleteExpiredColumn);
        assert_eq!(selected(&all.create), ["outcome"]);
        assert!(all.expiry.as_str().trim_end().ends_with("as expiry"));
    }
}
