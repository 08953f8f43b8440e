//! Writes to the session of a request: [`update`].
//!
//! Used by `operations`. Decides which session a write changes: the presented one, a successor, or
//! a new one.

use super::{
    new_session::update_or_create, successor::sign_in_successor, transfer::Transfer,
    write_plan::WritePlan,
};
use crate::{
    error::Error,
    store::{Update, Updated},
};

/// Changes the session. Starts a session if there is none and this request may start one.
pub(super) async fn update(
    transfer: &mut Transfer<'_>,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Updated, Error> {
    transfer.exchange.resolve().await?;
    if !plan.is_sign_in() {
        transfer.check_client().await?;
    } else if transfer.state().identity.is_successor() {
        // Boxed, because few sessions are successors.
        return Box::pin(sign_in_successor(transfer, update, plan)).await;
    }
    update_or_create(transfer, update, plan).await
}
