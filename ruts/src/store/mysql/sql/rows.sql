insert ignore into {locks} (n) values {lock_rows};

insert ignore into {epoch} (one, epoch) select 1, coalesce(max(epoch) + 1, 0) from {sessions};
