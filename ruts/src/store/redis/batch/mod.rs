//! Batches: the operations of several sessions in one script.
//!
//! [`read`], [`write`] and [`cache_lookup`] each implement
//! [`BatchOp`](crate::store::batch::BatchOp), which the store runs through a
//! [`Batcher`](crate::store::batch::Batcher). They know the executor and the format of the batch
//! scripts, and nothing about queues.

#[cfg(feature = "layered-store")]
pub(super) mod cache_lookup;
pub(super) mod read;
mod size;
pub(super) mod write;
