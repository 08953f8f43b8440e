-- Ends all sessions by a new epoch.

update {epoch} set epoch = epoch + 1 returning epoch
