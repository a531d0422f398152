//! The kit finds faults: each wrapper of `mem` breaks one promise, and breaks exactly the cases named for it.
//!
//! Runs with tokio's clock paused, so that a wait that never ends is over at once.

mod wrapper;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sinew_transport_api::conformance::{Mode, Subject, Verdict, cases, seed};
use sinew_transport_api::{Endpoint, Transport};

use wrapper::{Fault, Faulty};

struct Wrapped(Fault);

impl Subject for Wrapped {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Faulty::new(self.0))
    }

    fn endpoint(&self) -> Endpoint {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("mem://faulty-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().expect("a good endpoint")
    }

    fn mode(&self) -> Mode {
        Mode::Plaintext
    }

    fn slack_bytes(&self) -> usize {
        0
    }
}

/// Runs all cases against `fault` and compares those that are broken with `expected`.
fn check(fault: Fault, expected: &[&str]) {
    let mut broken = BTreeSet::new();
    for case in cases() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        if let Verdict::Broken(how) = runtime.block_on(case.run(Arc::new(Wrapped(fault)), seed())) {
            println!("{}: {how}", case.name());
            broken.insert(case.name());
        }
    }
    assert_eq!(broken, expected.iter().copied().collect(), "broken cases on the left, those named for {fault:?} right");
}

/// The cases in which enough blocks flow over a connection that one of them is hit.
const STREAMS: [&str; 12] = [
    "blocks_arrive_whole_and_in_order",
    "both_directions_flow_at_once",
    "each_lane_keeps_its_order",
    "a_slow_reader_holds_its_peer_back",
    "a_stuck_peer_holds_up_no_other",
    "flush_waits_and_loses_nothing",
    "a_dropped_recv_loses_nothing",
    "a_dropped_ready_loses_nothing",
    "a_dropped_flush_loses_nothing",
    "close_delivers_everything",
    "both_ends_close_at_once",
    "an_abrupt_end_is_lost",
];

/// Of those, the one in which the block that is hit is answered before the next is sent, so that none can overtake it.
const ANSWERED_ONE_BY_ONE: &str = "a_stuck_peer_holds_up_no_other";

fn streams_without(case: &str) -> Vec<&'static str> {
    STREAMS.into_iter().filter(|stream| *stream != case).collect()
}

#[test]
fn without_a_fault_nothing_is_broken() {
    check(Fault::None, &[]);
}

#[test]
fn reordering_is_found() {
    check(Fault::Reorders, &streams_without(ANSWERED_ONE_BY_ONE));
}

#[test]
fn loss_is_found() {
    check(Fault::Loses, &STREAMS);
}

#[test]
fn doubling_is_found() {
    check(Fault::Doubles, &STREAMS);
}

#[test]
fn splitting_is_found() {
    check(Fault::Splits, &STREAMS);
}

#[test]
fn truncation_is_found() {
    check(Fault::Truncates, &STREAMS);
}

#[test]
fn an_ignored_limit_is_found() {
    check(Fault::IgnoresTheLimit, &["the_largest_block_passes_and_no_larger", "an_oversize_block_ends_its_sender"]);
}

#[test]
fn a_close_that_hangs_is_found() {
    let expected = [
        "close_delivers_everything",
        "close_is_idempotent",
        "nothing_is_sent_after_close",
        "both_ends_close_at_once",
        "the_peer_of_a_closed_connection_learns_it",
        "close_ends_in_time_when_nobody_reads",
        "a_dropped_close_still_closes",
    ];
    check(Fault::HangsOnClose, &expected);
}

#[test]
fn loss_on_close_is_found() {
    let expected = [
        "close_delivers_everything",
        "close_is_idempotent",
        "nothing_is_sent_after_close",
        "both_ends_close_at_once",
        "the_peer_of_a_closed_connection_learns_it",
        "a_dropped_close_still_closes",
    ];
    check(Fault::LosesOnClose, &expected);
}

#[test]
fn a_recv_that_is_not_cancel_safe_is_found() {
    check(Fault::NotCancelSafe, &["a_dropped_recv_loses_nothing"]);
}

#[test]
fn missing_back_pressure_is_found() {
    let expected = [
        "a_slow_reader_holds_its_peer_back",
        "a_stuck_peer_holds_up_no_other",
        "a_full_lane_holds_up_no_other",
        "those_who_wait_learn_of_a_loss",
    ];
    check(Fault::NoBackPressure, &expected);
}
