-- Whether session s belongs to the current epoch.
--
-- needs: s, {epoch}

s.epoch = (select e.epoch from {epoch} e)
