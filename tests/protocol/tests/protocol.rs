//! The protocol keeps its promises in every searched setting. The alternatives break a promise, and
//! so does the protocol if any one of its parts is missing.

use ruts_protocol::{BOTH, Mask, ONE, Protocol, Scenario, Setting, Violation, search};

const OTHER: Mask = BOTH - ONE;
const PROMISED: [Violation; 2] = [Violation::Stale, Violation::Dirty];
const ONE_FIELD: Setting = Setting::ONE_FIELD;

/// The protocol holds, with and without a limit on write intents.
fn holds(setting: Setting, violations: &[Violation]) {
    for protocol in [Protocol::Complete, Protocol::MergedIntents] {
        let outcome = search(&Scenario { protocol, setting }, violations);
        println!("{protocol:?}, {setting:?}: {outcome}");
        assert!(outcome.violation.is_none(), "{protocol:?}, {setting:?}: {outcome}");
    }
}

fn breaks(protocol: Protocol, setting: Setting) {
    let outcome = search(&Scenario { protocol, setting }, &[Violation::Stale]);
    println!("{protocol:?}: {outcome}");
    assert!(outcome.violation.is_some(), "{protocol:?}: {outcome}");
}

#[test]
fn it_holds_for_two_writers_and_two_readers() {
    holds(Setting { faults: 1, ..ONE_FIELD }, &PROMISED);
}

#[test]
fn it_holds_for_a_writer_a_deletion_and_two_readers() {
    holds(Setting { deletes: true, faults: 1, ..ONE_FIELD }, &PROMISED);
}

#[test]
fn it_holds_with_two_faults() {
    for cached in [true, false] {
        let setting = Setting { readers: [Some(ONE), None], faults: 2, cached, ..ONE_FIELD };
        holds(setting, &PROMISED);
        holds(Setting { deletes: true, ..setting }, &PROMISED);
    }
}

/// A write drops only its own fields from the cache. The other fields stay readable.
#[test]
fn it_holds_for_writers_of_different_fields() {
    for writers in [[ONE, OTHER], [ONE, BOTH], [BOTH, BOTH]] {
        let writers = writers.map(Some);
        let readers = [Some(BOTH), Some(ONE)];
        holds(Setting { writers, readers, ..ONE_FIELD }, &PROMISED);
        let readers = [Some(BOTH), None];
        holds(Setting { writers, readers, faults: 1, ..ONE_FIELD }, &PROMISED);
        holds(Setting { writers, readers, faults: 1, deletes: true, ..ONE_FIELD }, &PROMISED);
    }
}

/// Without faults, no read returns an older value than an earlier read, even while the write is not
/// yet answered.
#[test]
fn reads_never_go_backwards_without_faults() {
    let violations = [Violation::Stale, Violation::Dirty, Violation::Backwards];
    for cached in [true, false] {
        let setting = Setting { punctual: true, tracks_reads: true, cached, ..ONE_FIELD };
        holds(setting, &violations);
    }
}

/// Without faults, a read returns fields that were current at the same time.
#[test]
fn reads_are_never_torn_without_faults() {
    let violations = [Violation::Stale, Violation::Dirty, Violation::Backwards, Violation::Torn];
    for writers in [[ONE, BOTH], [BOTH, BOTH], [ONE, OTHER]] {
        let (writers, readers) = (writers.map(Some), [Some(ONE), Some(OTHER)]);
        let setting = Setting { writers, readers, punctual: true, tracks_reads: true, ..ONE_FIELD };
        holds(setting, &violations);
    }
}

#[test]
fn alternatives_that_break_without_faults_are_found() {
    for protocol in [
        Protocol::Parallel,
        Protocol::SetAfterCommit,
        Protocol::DropAfterCommit,
        Protocol::DropAroundCommit,
        Protocol::Tombstone,
        Protocol::AnswerBeforeFinish,
    ] {
        breaks(protocol, Setting { readers: [Some(ONE), None], ..ONE_FIELD });
    }
}

#[test]
fn alternatives_that_break_by_one_fault_are_found() {
    for protocol in [Protocol::Versioned, Protocol::WithoutRunId] {
        breaks(protocol, Setting { readers: [Some(ONE), None], faults: 1, ..ONE_FIELD });
    }
}

#[test]
fn no_part_of_the_protocol_can_be_left_out() {
    for protocol in [
        Protocol::IntentKeepsLease,
        Protocol::IntentKeepsValues,
        Protocol::LeaseDespiteIntent,
        Protocol::FinishIgnoresOverlap,
        Protocol::LateFinishDoesNothing,
        Protocol::EvictionKeepsLease,
        Protocol::EvictionOverlapsNone,
        Protocol::FillWithoutLease,
    ] {
        breaks(protocol, Setting { faults: 1, ..ONE_FIELD });
    }
}

/// If a limit on write intents dropped them, a reader could fill in an older value during a write.
#[test]
fn intents_beyond_the_limit_cannot_be_dropped() {
    let setting = Setting { punctual: true, tracks_reads: true, ..ONE_FIELD };
    let scenario = Scenario { protocol: Protocol::DroppedIntents, setting };
    let outcome = search(&scenario, &[Violation::Backwards]);
    assert!(outcome.violation.is_some(), "{outcome}");
}
