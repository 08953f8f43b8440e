-- Fails in a transaction that the application left open on the connection. Also fails at an
-- isolation level other than read committed. At such a level, a statement that follows a wait for a
-- lock would not see the changes that were committed during the wait.
--
-- needs: {is_only_statement_predicate}

if not {is_only_statement_predicate} then
  raise exception using errcode = 'RUT02',
    message = 'the application left a transaction open on a connection of the pool';
elsif current_setting('transaction_isolation') <> 'read committed' then
  raise exception using errcode = 'RUT01',
    message = 'the default transaction isolation must be `read committed`';
end if;
