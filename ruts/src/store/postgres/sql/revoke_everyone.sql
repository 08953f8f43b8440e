-- Ends all sessions by a new epoch.

select epoch
from {next_epoch}()
