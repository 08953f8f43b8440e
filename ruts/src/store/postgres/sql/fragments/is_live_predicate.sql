-- Whether row x is a live session of the principal.
--
-- needs: p_principal, x, {epoch}

x.principal = p_principal and x.ended_at is null
and (x.idle_at is null or x.idle_at > clock_timestamp())
and (x.absolute_at is null or x.absolute_at > clock_timestamp())
and x.epoch = (select e.epoch from {epoch} e)
