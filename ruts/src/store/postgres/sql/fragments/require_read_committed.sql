-- Fails in another isolation than read committed. A statement that follows a wait for a lock would
-- not see what was committed meanwhile.

if current_setting('transaction_isolation') <> 'read committed' then
  raise exception using errcode = 'RUT01',
    message = 'the default transaction isolation must be `read committed`';
end if;
