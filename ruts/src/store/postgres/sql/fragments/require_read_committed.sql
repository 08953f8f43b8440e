-- Fails at an isolation level other than read committed. At such a level, a statement that follows a wait
-- for a lock would not see the changes that were committed during the wait.

if current_setting('transaction_isolation') <> 'read committed' then
  raise exception using errcode = 'RUT01',
    message = 'the default transaction isolation must be `read committed`';
end if;
