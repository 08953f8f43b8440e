//! [`check`]: compares the client fingerprint of a request with the fingerprint of the sign-in.
//!
//! Called by `transfer` after a read. May end the session. Knows one reserved field.

use super::{exchange::Exchange, field_cache::FieldCache, state::ClientTrust};
use crate::{
    client::{ClientChangeAction, RECORD},
    codec,
    error::Error,
    event,
    store::Credentials,
};

/// Checks the client once, after the session was read, and reacts to a change.
pub(super) async fn check(exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let (Some(client), Some(watch)) = (&exchange.shared.client, &exchange.shared.config().clients)
    else {
        return Ok(());
    };
    let Some((id, secret)) = exchange.credentials() else { return Ok(()) };
    let state = &mut *exchange.state;
    if state.client != ClientTrust::Unchecked {
        return Ok(());
    }
    state.client = ClientTrust::Trusted;
    let is_signed_in = state.meta.is_some_and(|(meta, _)| meta.signed_in.is_some());
    let record = state.fields.get(RECORD).filter(|_| is_signed_in);
    // A later release may write the value in a different form. If this release cannot read the
    // value, the client counts as unchanged.
    let record = record.and_then(|record| codec::unwrap_own(record).ok());
    let changed = record.map_or_else(Vec::new, |record| client.differences(&id, record));
    if changed.is_empty() {
        return Ok(());
    }
    let action = (watch.judge)(&changed);
    event::client_changed(&id, &changed, action.name());
    match action {
        ClientChangeAction::Accept => {}
        ClientChangeAction::StepUp => state.client = ClientTrust::Downgraded,
        ClientChangeAction::End => {
            // If the deletion fails, the next operation reads the session and checks the client
            // again.
            state.client = ClientTrust::Unchecked;
            (state.fields, state.meta) = (FieldCache::default(), None);
            let deleted = exchange.shared.call_store().delete(Credentials::new(&id, &secret));
            let deleted = deleted.await?;
            event::ended(&id, "client");
            exchange.note_ended_by_request();
            exchange.state.stale_for = deleted.ok().and_then(|deleted| deleted.stale_for);
            return exchange.check_fresh();
        }
    }
    Ok(())
}
