//! The protocol holds in everything that is searched; what is written instead, and the protocol without any
//! one of its parts, does not.

use ruts_protocol::{BOTH, Breach, Mask, ONE, Play, Setting, Shape, search};

const OTHER: Mask = BOTH - ONE;
const WRONG: [Breach; 2] = [Breach::Stale, Breach::Dirty];
const ONE_FIELD: Setting = Setting::ONE_FIELD;

fn holds(setting: Setting, looked_for: &[Breach]) {
    let outcome = search(&Play { shape: Shape::Fenced, setting }, looked_for);
    println!("{setting:?}: {outcome}");
    assert!(outcome.breach.is_none(), "{setting:?}: {outcome}");
}

fn is_found_broken(shape: Shape, setting: Setting) {
    let outcome = search(&Play { shape, setting }, &[Breach::Stale]);
    println!("{shape:?}: {outcome}");
    assert!(outcome.breach.is_some(), "{shape:?}: {outcome}");
}

#[test]
fn it_holds_for_two_writers_and_two_readers() {
    holds(Setting { faults: 1, ..ONE_FIELD }, &WRONG);
}

#[test]
fn it_holds_for_a_writer_and_a_deleter_and_two_readers() {
    holds(Setting { deletes: true, faults: 1, ..ONE_FIELD }, &WRONG);
}

#[test]
fn it_holds_when_two_things_go_wrong() {
    for cached in [true, false] {
        let setting = Setting { readers: [Some(ONE), None], faults: 2, cached, ..ONE_FIELD };
        holds(setting, &WRONG);
        holds(Setting { deletes: true, ..setting }, &WRONG);
    }
}

/// A write drops its own fields only: the others stay readable.
#[test]
fn it_holds_for_writers_of_different_fields() {
    for writers in [[ONE, OTHER], [ONE, BOTH], [BOTH, BOTH]] {
        let writers = writers.map(Some);
        let readers = [Some(BOTH), Some(ONE)];
        holds(Setting { writers, readers, ..ONE_FIELD }, &WRONG);
        let readers = [Some(BOTH), None];
        holds(Setting { writers, readers, faults: 1, ..ONE_FIELD }, &WRONG);
        holds(Setting { writers, readers, faults: 1, deletes: true, ..ONE_FIELD }, &WRONG);
    }
}

/// Nobody reads what was replaced after somebody has read what replaced it, answered or not.
#[test]
fn reads_go_forward_when_nothing_goes_wrong() {
    let any = [Breach::Stale, Breach::Dirty, Breach::Back];
    for cached in [true, false] {
        holds(Setting { punctual: true, watches: true, cached, ..ONE_FIELD }, &any);
    }
}

/// Fields are read as they stood together at some moment.
#[test]
fn nothing_is_torn_when_nothing_goes_wrong() {
    let any = [Breach::Stale, Breach::Dirty, Breach::Back, Breach::Torn];
    for writers in [[ONE, BOTH], [BOTH, BOTH], [ONE, OTHER]] {
        let (writers, readers) = (writers.map(Some), [Some(ONE), Some(OTHER)]);
        let setting = Setting { writers, readers, punctual: true, watches: true, ..ONE_FIELD };
        holds(setting, &any);
    }
}

#[test]
fn shapes_that_break_by_themselves_are_found() {
    for shape in [
        Shape::Parallel,
        Shape::SetAfterCommit,
        Shape::DropAfterCommit,
        Shape::DropAroundCommit,
        Shape::Tombstone,
        Shape::AnsweredBeforeFinish,
    ] {
        is_found_broken(shape, Setting { readers: [Some(ONE), None], ..ONE_FIELD });
    }
}

#[test]
fn shapes_that_one_fault_breaks_are_found() {
    for shape in [Shape::Versioned, Shape::FencedWithoutRun] {
        is_found_broken(shape, Setting { readers: [Some(ONE), None], faults: 1, ..ONE_FIELD });
    }
}

#[test]
fn no_part_of_the_protocol_can_be_left_out() {
    for shape in [
        Shape::FenceLeavesTicket,
        Shape::FenceLeavesValues,
        Shape::TicketsInSpiteOfFences,
        Shape::FinishIgnoresOthers,
        Shape::FinishForgives,
        Shape::FinishLeavesTicket,
        Shape::FinishTellsNobody,
        Shape::FilledWithoutTicket,
    ] {
        is_found_broken(shape, Setting { faults: 1, ..ONE_FIELD });
    }
}
