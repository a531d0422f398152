//! The conformance kit: every promise of the contract as one named test, for any transport.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! use sinew_transport_api::conformance::{Mode, Subject};
//! use sinew_transport_api::{Endpoint, Mem, Transport};
//!
//! #[derive(Default)]
//! struct InMemory {
//!     next: AtomicUsize,
//! }
//!
//! impl Subject for InMemory {
//!     fn transport(&self) -> Arc<dyn Transport> {
//!         Arc::new(Mem::default())
//!     }
//!     fn endpoint(&self) -> Endpoint {
//!         let number = self.next.fetch_add(1, Ordering::Relaxed);
//!         format!("mem://subject-{number}").parse().expect("a good endpoint")
//!     }
//!     fn mode(&self) -> Mode {
//!         Mode::Identity
//!     }
//! }
//!
//! sinew_transport_api::conformance!(InMemory::default()); // one subject in a test file
//! sinew_transport_api::conformance!(mod secured, InMemory::default()); // or several, each in its module
//! # fn main() {}
//! ```
//!
//! Each case runs on a runtime of its own under a deadline: all on a single thread, and those where threads matter once
//! more on two. Everything random comes from one seed, fixed unless the environment variable `SINEW_SEED` gives
//! another; a failure prints it. A case that needs what the transport does not claim says so and is skipped.

mod cases;
mod kit;
mod run;
mod subject;
mod traffic;

pub use run::{Case, Report, Row, Verdict, cases, check, report, seed};
pub use subject::{Mode, RawPeer, Stage, Subject};

/// Expands to one `#[test]` for each promise of the contract, for a [`Subject`](crate::conformance::Subject) that is
/// made by the given expression: `conformance!(MySubject)`, or `conformance!(mod name, MySubject)` to have several
/// subjects in one file.
#[macro_export]
macro_rules! conformance {
    (mod $name:ident, $subject:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__each_case! { __case_tests ($subject) }
        }
    };
    ($subject:expr $(,)?) => {
        $crate::conformance! { mod conformance, $subject }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case_tests {
    (($subject:expr) $($room:ident :: $case:ident, $threads:ident, $promise:literal;)*) => {
        $(
            #[doc = $promise]
            #[test]
            fn $case() {
                $crate::conformance::check(stringify!($case), ::std::sync::Arc::new($subject));
            }
        )*
    };
}

/// The one list of cases: where it is, whether it also runs on two threads, and what it shows.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_case {
    ($then:ident ($($with:tt)*)) => {
        $crate::$then! { ($($with)*)
            blocks::blocks_arrive_whole_and_in_order, both, "blocks of every size arrive whole, once and in order";
            blocks::both_directions_flow_at_once, both, "both directions carry blocks at the same time";
            blocks::each_lane_keeps_its_order, both, "blocks arrive in order within each lane";
            blocks::a_lane_may_carry_blocks_before_the_peer_opens_it, one, "a block may arrive on a lane before the receiving side has opened it";
            blocks::two_hundred_connections_echo, both, "two hundred connections at once carry blocks";
            limits::the_largest_block_passes_and_no_larger, one, "a block of the maximum passes, one byte more is refused and the connection lives on";
            limits::an_empty_block_is_refused, one, "an empty block is refused and the connection lives on";
            limits::an_unknown_lane_is_refused, one, "a lane that was not agreed is refused and the connection lives on";
            limits::an_oversize_block_ends_its_sender, one, "a block above the receiver's limit is not delivered and ends the connection";
            limits::connections_max_is_kept, one, "a listener has no more connections than its limit, and takes others when some have ended";
            pressure::a_slow_reader_holds_its_peer_back, both, "a reader that does not read holds its peer back within the byte bound, and nothing is lost";
            pressure::a_stuck_peer_holds_up_no_other, one, "a peer that does not read holds up no other peer";
            pressure::a_full_lane_holds_up_no_other, one, "a full lane holds up no other where lanes are independent";
            pressure::those_who_wait_learn_of_a_loss, one, "whoever waits for room or for a block when the connection is lost learns it";
            pressure::flush_waits_and_loses_nothing, one, "flush resolves once everything taken is on its way";
            cancel::a_dropped_recv_loses_nothing, both, "recv is cancel-safe";
            cancel::a_dropped_ready_loses_nothing, both, "ready is cancel-safe";
            cancel::a_dropped_flush_loses_nothing, one, "flush is cancel-safe";
            cancel::a_dropped_accept_loses_nobody, one, "accept is cancel-safe";
            cancel::a_dropped_connect_leaves_nothing_behind, both, "dropping the connect future leaves nothing behind";
            cancel::a_dropped_close_still_closes, one, "a close whose future was dropped can be called again and ends in order";
            closing::close_delivers_everything, both, "an orderly close delivers everything taken before, then the end";
            closing::close_is_idempotent, one, "closing again changes nothing";
            closing::nothing_is_sent_after_close, one, "try_send after close is refused as closed here";
            closing::both_ends_close_at_once, one, "both ends may close at the same time";
            closing::the_peer_of_a_closed_connection_learns_it, one, "after the peer's close, sending and waiting fail rather than hang";
            closing::an_abrupt_end_is_lost, one, "a connection dropped without close is lost at the peer, after a prefix of what was sent";
            closing::close_ends_in_time_when_nobody_reads, one, "close ends within its timeout when the peer does not read";
            listening::a_listener_says_where_it_listens, one, "a listener's endpoint can be connected to and its port is never 0";
            listening::a_second_bind_is_refused, one, "a second listener at one endpoint is refused as in use";
            listening::a_closed_listener_takes_nobody, one, "a closed listener takes no new connection, and those accepted live on";
            listening::whoever_is_not_accepted_yet_is_lost, one, "a client that was not accepted when its listener closed is not left in the belief to be connected";
            listening::connecting_to_nobody_fails_in_time, one, "connecting where nobody listens fails within the timeout";
            identity::both_ends_know_each_other, one, "each end knows the other by the right key";
            identity::an_unlisted_key_is_refused_at_both_ends, one, "a peer that is not admitted is refused at both ends, by its fingerprint";
            identity::the_wrong_server_key_is_refused, one, "a server with another key than the expected is refused";
            identity::a_secured_peer_needs_the_server_key, one, "a secured connection without a server key is an error";
            identity::plaintext_and_secured_do_not_mix, one, "plaintext against secured is refused, both ways round";
            identity::admission_is_asked_each_time, one, "admission is asked for each connection, so a removed key does not come back";
            identity::nothing_arrives_before_admission, one, "a peer that is refused delivers nothing, and others are served meanwhile";
            hostile::garbage_before_the_handshake_harms_nobody, one, "random bytes before the handshake harm nobody else";
            hostile::a_silent_peer_at_the_door_holds_up_nobody, one, "a peer that connects and says nothing holds up nobody";
            hostile::a_handshake_has_a_deadline, one, "a peer that says nothing does not keep its place among the pending";
            hostile::garbage_after_the_handshake_harms_nobody, one, "random bytes after the handshake harm nobody else";
        }
    };
}
