//! Reads, changes and writes one field atomically: [`modify`], [`settle`].
//!
//! Used by `operations`. Repeats a compare-and-set until it succeeds. Knows stored bytes, and
//! nothing about value types.

use std::{iter, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    decrypted::decrypt_field,
    field_cache::Life,
    index::IndexChange,
    shared::Shared,
    transfer::Transfer,
    write,
    write_plan::{EagerGroup, WritePlan, field_write},
};
use crate::{
    codec,
    crypto::field_cipher::Plaintext,
    error::Error,
    field::FieldSpec,
    session::{index_key::key_beside, update_queue, value},
    store::{Change, FieldWrite, Precondition, Update, Updated},
    ttl::Ttl,
};

/// Maximum number of attempts to update or rewrite a field.
const TRIES: u32 = 48;
/// Maximum pause between two attempts of an `update`.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The change of an `update`. It may run several times.
pub(in crate::session) type Modify<'a> =
    &'a mut (dyn FnMut(Option<&Plaintext>) -> Result<Option<Bytes>, Error> + Send);

/// Reads, changes and writes one field atomically: repeats a compare-and-set until it succeeds,
/// at most [`TRIES`] times. The updates of a session in one process run one at a time.
pub(super) async fn modify(
    shared: &Shared,
    field: &'static FieldSpec,
    group: EagerGroup,
    modify: Modify<'_>,
) -> Result<(), Error> {
    let mut state = shared.lock().await?;
    shared.hint_cache_policy(field);
    let _turn = match state.identity.id() {
        Some(id) => update_queue::turn(id).await,
        None => None,
    };
    Transfer::new(shared, &mut state).ensure_known(field.name(), group).await?;
    for attempt in 0..TRIES {
        let current = state.fields.get(field.name()).cloned();
        let (name, known) = (field.name(), field.version());
        let plaintext = decrypt_field(shared, &state, name, known, current.as_ref())?;
        let next = modify(plaintext.as_ref())?;
        let change = match &next {
            Some(value) => Change::Set(field_write(field, value)),
            None if current.is_none() => return Ok(()),
            None => Change::Remove(field.name()),
        };
        let precondition = Some(Precondition::new(field.name(), current.as_ref()));
        let (changes, plan) = ([change], WritePlan::of(field));
        let mut transfer = Transfer::new(shared, &mut state);
        let index = IndexChange::begin(&mut transfer, &changes, &plan).await?;
        let with_keys = IndexChange::with_keys(index.as_ref(), &changes);
        let update = Update { changes: &with_keys, precondition, ..Update::default() };
        match write::update(&mut transfer, update, &plan).await? {
            Updated::Applied { .. } => {
                if let Some(index) = index {
                    Box::pin(index.finish(&transfer, &plan)).await?;
                }
                return transfer.exchange.check_fresh();
            }
            Updated::Conflict { .. } | Updated::NotDue => pause(attempt).await,
        }
    }
    Err(Error::Conflict { field: field.name().to_owned() })
}

/// Rewrites a field with its remaining lifetime, if its value is not stored in the current
/// form. Returns whether the field was rewritten. `is_current` returns whether a stored value
/// has the current form.
pub(super) async fn settle(
    shared: &Shared,
    field: &'static FieldSpec,
    group: EagerGroup,
    is_current: &(dyn Fn(&[u8]) -> bool + Sync),
    encode: Modify<'_>,
) -> Result<bool, Error> {
    let name = field.name();
    let mut state = shared.lock().await?;
    shared.hint_cache_policy(field);
    for _ in 0..TRIES {
        let mut transfer = Transfer::new(shared, &mut state);
        transfer.ensure_known(name, group).await?;
        let Some(current) = state.fields.get(name).cloned() else { return Ok(false) };
        let encrypts = field.encrypts(field.written_version());
        let has_current_key = shared.config().cipher.is_current(encrypts, &current);
        if is_current(&current) && has_current_key {
            return Ok(false);
        }
        let ttl = match state.fields.life(name) {
            Life::Session => None,
            Life::Until(end) => match Ttl::new(end.duration_since(Instant::now())) {
                Ok(ttl) => Some(ttl),
                // The field has expired since it was read.
                Err(_) => return Ok(false),
            },
            Life::Unknown => {
                state.fields.forget(name);
                continue;
            }
        };
        let plaintext = decrypt_field(shared, &state, name, field.version(), Some(&current))?;
        let Some(next) = encode(plaintext.as_ref())? else { return Ok(false) };
        // `encode` keeps the fields that only another release knows, so `next` may equal the
        // stored value.
        let is_same = |stored: &Plaintext| codec::is_merged_to_the_same(&stored.bytes, &next);
        if has_current_key && plaintext.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
        let precondition = Some(Precondition::new(name, Some(&current)));
        // The value stays the same, so the secret is not replaced, and the entries of an index
        // stay.
        let plan = WritePlan { rotate: false, indexed: Vec::new(), ..WritePlan::of(field) };
        let key = key_beside(field, shared.config().layer, &next)
            .map_err(|source| value::encode_error(name, source))?;
        let change = Change::Set(field_write(field, &next).ttl(ttl));
        let keys = key.iter().map(|(name, key)| Change::Set(FieldWrite::new(name, key)));
        let changes: Vec<Change<'_>> = iter::once(change).chain(keys).collect();
        let update = Update { changes: &changes, precondition, ..Update::default() };
        let mut transfer = Transfer::new(shared, &mut state);
        if let Updated::Applied { .. } = write::update(&mut transfer, update, &plan).await? {
            return transfer.exchange.check_fresh().map(|()| true);
        }
    }
    Err(Error::Conflict { field: name.to_owned() })
}

/// Waits for a random time, so that concurrent updates do not collide again. The maximum of this
/// time doubles with each attempt, up to [`LONGEST_PAUSE`].
async fn pause(attempt: u32) {
    let longest = LONGEST_PAUSE.min(Duration::from_micros(500) * 2_u32.saturating_pow(attempt));
    // Without random numbers the pause is the maximum.
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    tokio::time::sleep(longest.mul_f64(share)).await;
}
