//! Each release reads what the other one has written: right, or with an error, and never wrong.

use ruts::{Session, codec::Codec};
use ruts_tests_support::seeds;

use crate::{
    change::{Direction, Run, new_session},
    changes::changes,
};

/// One shape, and another meaning: no codec and no fingerprint can tell. It takes a new `version`.
const SAME_SHAPE: [&str; 1] = ["Euros(u64) to Cents(u64)"];

/// Number of changes after which every value is read as it was meant: bincode and MessagePack, new
/// reads old and old reads new.
const RIGHT: [[usize; 2]; 2] = [[11, 10], [55, 39]];

const VALUES: usize = 30;

#[tokio::test]
async fn no_change_of_a_type_is_misread() {
    let session = new_session().await;
    for seed in seeds(1) {
        println!("RUTS_SEED={seed}");
        check(&session, seed).await;
    }
}

async fn check(session: &Session, seed: u64) {
    let changes = changes();
    assert_eq!(changes.len(), 83);
    let mut right = [[0; 2]; 2];
    let mut misread = Vec::new();
    for (codec, right) in [Codec::Bincode, Codec::MessagePack].into_iter().zip(&mut right) {
        let run = Run { session, codec, seed, values: VALUES };
        for (direction, right) in
            [Direction::NewReadsOld, Direction::OldReadsNew].into_iter().zip(right)
        {
            for change in &changes {
                let tally = change.read(&run, direction).await;
                if (tally.wrong > 0) != SAME_SHAPE.contains(&change.name) {
                    misread.push(format!("{}: {codec:?}, {direction:?}: {tally:?}", change.name));
                }
                *right += usize::from(tally.is_right());
            }
        }
    }
    assert!(misread.is_empty(), "{misread:#?}");
    assert_eq!(right, RIGHT, "changes that are read as they were meant");
}
