-- Whether the transaction began with this statement. If not, the application left a transaction
-- open on the connection. A read could then return old rows, and a write could be rolled back after
-- its answer.
--
-- The server begins the transaction of a single statement when it receives the parameters. At the
-- same moment it opens the unnamed cursor of the statement. A pooler may prepare the statement
-- before that, in the same transaction.

exists (
  select from pg_catalog.pg_cursors c
  where c.name = '' and (
    c.creation_time = transaction_timestamp()
    or exists (
      select from pg_catalog.pg_prepared_statements p
      where p.statement = c.statement and p.prepare_time = transaction_timestamp()
    )
  )
)
