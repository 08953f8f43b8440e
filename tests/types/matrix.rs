//! Each release reads values of the other one with the right meaning or reports an error. It never
//! reads a wrong value.

use ruts::{Session, codec::Codec};
use ruts_tests_support::seeds;

use crate::{
    change::{COUNTED_SEED, Direction, Run, new_session},
    changes::changes,
};

/// The meaning changes but the shape does not, so no codec and no fingerprint detects it. Such a
/// change needs a new `version`.
const SAME_SHAPE: [&str; 1] = ["Euros(u64) to Cents(u64)"];

/// Number of changes after which every value keeps its meaning: one row for bincode, one for
/// MessagePack. In each row, the new release reads values of the old one first, and then the
/// reverse.
const RIGHT: [[usize; 2]; 2] = [[15, 15], [60, 41]];

/// The same number for bincode with the lock, when the new release reads values of the old one.
const RIGHT_BY_LOCK: usize = 54;

const VALUES: usize = 30;

#[tokio::test]
async fn no_change_of_a_type_is_misread() {
    let session = new_session().await;
    for seed in seeds(1) {
        println!("RUTS_SEED={seed}");
        count_right(&session, seed).await;
    }
    let right = count_right(&session, COUNTED_SEED).await;
    assert_eq!(
        right, RIGHT,
        "the numbers of changes after which every value keeps its meaning should be as listed"
    );
}

/// Returns the number of changes after which every value keeps its meaning. Panics if a value is
/// misread.
async fn count_right(session: &Session, seed: u64) -> [[usize; 2]; 2] {
    let changes = changes();
    assert_eq!(changes.len(), 89);
    let mut right = [[0; 2]; 2];
    let mut misread = Vec::new();
    for (codec, right) in [Codec::Bincode, Codec::MessagePack].into_iter().zip(&mut right) {
        let run = Run { session, codec, seed, values: VALUES, has_lock: false };
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
    right
}

/// With the lock, bincode reads values of a different type by field name, as MessagePack does.
#[tokio::test]
async fn the_lock_lets_bincode_read_by_names() {
    let session = new_session().await;
    let session = &session;
    let run =
        |codec, has_lock| Run { session, codec, seed: COUNTED_SEED, values: VALUES, has_lock };
    let (bincode, messagepack) = (run(Codec::Bincode, true), run(Codec::MessagePack, false));
    let mut right = 0;
    for change in changes() {
        let by_lock = change.read(&bincode, Direction::NewReadsOld).await;
        let by_names = change.read(&messagepack, Direction::NewReadsOld).await;
        let name = change.name;
        assert_eq!(by_lock.wrong > 0, SAME_SHAPE.contains(&name), "{name}: {by_lock:?}");
        // bincode cannot read back values with some attributes, in any release.
        let is_unwritable = by_lock.right < by_names.right && by_lock.refused > by_names.refused;
        // A type with two forms writes text to MessagePack only.
        let has_two_forms = name == "two forms to bytes";
        let is_expected = by_lock == by_names || is_unwritable || has_two_forms;
        assert!(is_expected, "{name}: {by_lock:?} {by_names:?}");
        right += usize::from(by_lock.is_right());
    }
    assert_eq!(right, RIGHT_BY_LOCK);
}
