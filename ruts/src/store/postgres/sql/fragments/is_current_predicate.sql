-- Whether session s is of the current epoch.
--
-- needs: s, {epoch}

s.epoch = (select e.epoch from {epoch} e)
