//! The queue beside a server that stores in order, over a connection that loses, is cut and says busy.

use proptest::prelude::*;

use super::*;
use crate::{EventBatchBuilder, Level, NewEvent};

fn batch(count: u32) -> EventBatch {
    let mut builder = EventBatchBuilder::default();
    (0..count).for_each(|_| builder.push(&NewEvent::new("x")).unwrap());
    builder.finish()
}

fn stored(first: u64) -> Result<Appended> {
    Ok(Appended { first, count: 1, timestamp: 0, level: Level::Memory, duplicate: false })
}

fn unknown() -> Result<Appended> {
    Err(SessionError::OutcomeUnknown.into())
}

fn pumped(queue: &mut Queue<u32>) -> Vec<(u64, u64)> {
    assert!(queue.begin_pumping());
    let sends = std::iter::from_fn(|| match queue.next() {
        Next::Send(outgoing) => Some((outgoing.ticket, outgoing.sequence)),
        Next::Wait { .. } | Next::Nothing => None,
    });
    sends.collect()
}

/// The pause that is to be waited out now, and how long in turns.
fn paused(queue: &mut Queue<u32>) -> (u64, u32) {
    assert!(queue.begin_pumping());
    match queue.next() {
        Next::Wait { pause, turn } => (pause, turn),
        other => panic!("{other:?}"),
    }
}

fn busy() -> Result<Appended> {
    Err(Error::Busy { stream: "s".into(), bytes: 1 })
}

#[test]
fn batches_go_together_and_come_off_as_they_are_stored() {
    let mut queue = Queue::new(10);
    (0..3).for_each(|name| queue.push(batch(2), name).unwrap());
    assert_eq!(pumped(&mut queue), [(1, 10), (2, 12), (3, 14)]);
    assert_eq!(queue.settle(1, stored(0)).len(), 1);
    assert_eq!(queue.settle(1, stored(0)).len(), 0, "an answer counts once");
    assert_eq!(pumped(&mut queue), []);
}

#[test]
fn after_a_cut_what_was_sent_goes_again_before_what_waits_in_the_outbox() {
    let mut queue = Queue::new(0);
    (0..3).for_each(|name| queue.push(batch(1), name).unwrap());
    pumped(&mut queue);
    queue.settle(1, unknown());
    queue.settle(2, unknown());
    queue.push(batch(1), 3).unwrap();
    assert_eq!(pumped(&mut queue), [], "nothing overtakes");
    let again: Vec<_> = queue.after_cut().iter().map(|outgoing| outgoing.sequence).collect();
    assert_eq!(again, [0, 1], "the third is still in the outbox");
    assert_eq!(pumped(&mut queue).iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_busy_server_is_asked_with_one_batch_at_a_time() {
    let mut queue = Queue::new(0);
    (0..3).for_each(|name| queue.push(batch(1), name).unwrap());
    pumped(&mut queue);
    let gap = || Err(Error::SequenceGap { stream: "s".into(), producer: 1, sequence: 1, expected: 0 });
    queue.settle(1, busy());
    assert_eq!(pumped(&mut queue), []);
    queue.settle(2, gap());
    queue.settle(3, gap());
    let (pause, _) = paused(&mut queue);
    assert_eq!(pumped(&mut queue), [], "not before the pause is over");
    queue.resume(pause);
    assert_eq!(pumped(&mut queue), [(4, 0)]);
    queue.settle(4, stored(0));
    assert_eq!(pumped(&mut queue), [(5, 1), (6, 2)]);
}

#[test]
fn each_pause_is_longer_until_something_is_stored() {
    let mut queue = Queue::new(0);
    (0..3).for_each(|name| queue.push(batch(1), name).unwrap());
    let tickets = pumped(&mut queue);
    // All that were under way may have been refused: that is one pause.
    tickets.iter().for_each(|(ticket, _)| drop(queue.settle(*ticket, busy())));
    for expected in 0..5 {
        let (pause, turn) = paused(&mut queue);
        assert_eq!(turn, expected);
        queue.resume(pause);
        let sent = pumped(&mut queue);
        assert_eq!(sent.len(), 1, "one alone");
        queue.settle(sent[0].0, busy());
    }
    let (pause, _) = paused(&mut queue);
    queue.resume(pause);
    let ticket = pumped(&mut queue)[0].0;
    assert_eq!(queue.settle(ticket, stored(0)).len(), 1);
    pumped(&mut queue).iter().for_each(|(ticket, _)| drop(queue.settle(*ticket, busy())));
    assert_eq!(paused(&mut queue).1, 0);
}

#[test]
fn a_cut_ends_a_pause() {
    let mut queue = Queue::new(0);
    queue.push(batch(1), 0).unwrap();
    pumped(&mut queue);
    queue.settle(1, busy());
    let (pause, _) = paused(&mut queue);
    assert_eq!(queue.after_cut().len(), 1);
    queue.settle(2, busy());
    let (later, _) = paused(&mut queue);
    queue.resume(pause);
    assert_eq!(pumped(&mut queue), [], "the older pause is not this one");
    queue.resume(later);
    assert_eq!(pumped(&mut queue), [(3, 0)]);
}

#[test]
fn a_batch_that_cannot_be_stored_does_not_stop_the_others() {
    let mut queue = Queue::new(0);
    (0..3).for_each(|name| queue.push(batch(2), name).unwrap());
    pumped(&mut queue);
    let told = queue.settle(1, Err(Error::NoSpace { stream: "s".into() }));
    assert!(matches!(&told[..], [(0, Err(Error::NoSpace { .. }))]));
    let gap = || Err(Error::SequenceGap { stream: "s".into(), producer: 1, sequence: 2, expected: 0 });
    queue.settle(2, gap());
    queue.settle(3, gap());
    assert_eq!(pumped(&mut queue), [(4, 0)], "the second has the numbers of the first");
    queue.settle(4, stored(0));
    assert_eq!(pumped(&mut queue), [(5, 2)]);
}

#[test]
fn who_is_fenced_is_over() {
    let mut queue = Queue::new(0);
    (0..2).for_each(|name| queue.push(batch(1), name).unwrap());
    pumped(&mut queue);
    let fenced = Error::ProducerFenced { stream: "s".into(), producer: 1, epoch: 1, current: 2 };
    assert_eq!(queue.settle(1, Err(fenced)).len(), 2);
    assert!(matches!(queue.push(batch(1), 2), Err(Error::ProducerFenced { .. })));
    assert_eq!(queue.after_cut().len(), 0);
}

#[test]
fn a_server_that_has_lost_what_it_acknowledged_is_not_asked_for_ever() {
    let mut queue = Queue::new(0);
    (0..3).for_each(|name| queue.push(batch(1), name).unwrap());
    pumped(&mut queue);
    queue.settle(1, stored(0));
    // It comes back without the first one.
    [2, 3].into_iter().for_each(|ticket| assert!(queue.settle(ticket, unknown()).is_empty()));
    let again: Vec<_> = queue.after_cut().iter().map(|outgoing| outgoing.ticket).collect();
    assert_eq!(again, [4, 5]);
    let gap = Error::SequenceGap { stream: "s".into(), producer: 1, sequence: 1, expected: 0 };
    let told = queue.settle(4, Err(gap));
    assert!(matches!(&told[..], [(1, Err(Error::SequenceGap { .. })), (2, Err(Error::SequenceGap { .. }))]));
    assert!(matches!(queue.push(batch(1), 3), Err(Error::SequenceGap { .. })));
}

#[test]
fn a_malformed_batch_does_not_stop_the_others() {
    let mut queue = Queue::new(0);
    queue.push(batch(0), 0).unwrap();
    queue.push(batch(1), 1).unwrap();
    assert_eq!(pumped(&mut queue), [(1, 0), (2, 0)]);
    let malformed = || SessionError::Failed(crate::protocol::bad_request("there is no event in it"));
    assert_eq!(queue.settle(1, Err(malformed().into())).len(), 1);
    assert!(matches!(&queue.settle(2, stored(0))[..], [(1, Ok(_))]));
    queue.failed().unwrap();
}

#[test]
fn the_numbers_of_a_batch_that_may_be_stored_are_given_to_no_other() {
    let too_large =
        || Error::TooLarge { stream: "s".into(), what: "an event".into(), bytes: 2, max: 1, advice: "split it".into() };
    let mut queue = Queue::new(0);
    (0..2).for_each(|name| queue.push(batch(1), name).unwrap());
    pumped(&mut queue);
    // Both may be stored; then the stream is altered.
    [1, 2].into_iter().for_each(|ticket| assert!(queue.settle(ticket, unknown()).is_empty()));
    queue.after_cut();
    let told = queue.settle(3, Err(too_large()));
    assert!(matches!(&told[..], [(0, Err(Error::TooLarge { .. })), (1, Err(Error::TooLarge { .. }))]));
    queue.failed().unwrap_err();
}

/// A server: the next number, and what it has stored.
#[derive(Default)]
struct Server {
    next: u64,
    stored: Vec<u64>,
}

impl Server {
    fn take(&mut self, outgoing: &(u64, u64, u32), busy: bool) -> Result<Appended> {
        let (_, sequence, count) = *outgoing;
        if sequence < self.next {
            return stored(sequence);
        }
        if sequence > self.next {
            return Err(Error::SequenceGap { stream: "s".into(), producer: 1, sequence, expected: self.next });
        }
        if busy {
            return Err(Error::Busy { stream: "s".into(), bytes: 1 });
        }
        self.stored.push(sequence);
        self.next += u64::from(count);
        stored(sequence)
    }
}

proptest! {
    /// `steps`: append a batch, let the server take one, cut the connection with some answers lost.
    #[test]
    fn everything_is_stored_once_and_in_order(steps in proptest::collection::vec((0u8..4, 1u32..4, any::<bool>()), 1..200)) {
        let (mut queue, mut server, mut pipe) = (Queue::new(0), Server::default(), VecDeque::new());
        let (mut pushed, mut told) = (0, 0);
        let mut waits = None;
        let mut pump = |queue: &mut Queue<u32>, pipe: &mut VecDeque<(u64, u64, u32)>| {
            // A pause is over when nothing else is left to happen.
            if let Some(pause) = waits.take_if(|_| pipe.is_empty()) {
                queue.resume(pause);
            }
            assert!(queue.begin_pumping());
            loop {
                match queue.next() {
                    Next::Send(outgoing) => pipe.push_back((outgoing.ticket, outgoing.sequence, outgoing.events.count())),
                    Next::Wait { pause, .. } => {
                        waits = Some(pause);
                        break;
                    }
                    Next::Nothing => break,
                }
            }
        };
        let mut settle = |steps: Vec<(u8, u32, bool)>, queue: &mut Queue<u32>, server: &mut Server, pipe: &mut VecDeque<_>, pushed: &mut u32, told: &mut u32| {
            for (step, count, odd) in steps {
                match step {
                    0 => {
                        queue.push(batch(count), *pushed).unwrap();
                        *pushed += 1;
                    }
                    1 | 2 => if let Some(outgoing) = pipe.pop_front() {
                        let answer = server.take(&outgoing, step == 2 && odd);
                        *told += queue.settle(outgoing.0, answer).len() as u32;
                    },
                    // The first of those under way were sent, and perhaps stored; the rest stay in the outbox.
                    _ => {
                        let sent = (count as usize).min(pipe.len());
                        for outgoing in pipe.drain(..sent).collect::<Vec<_>>() {
                            if odd {
                                let _ = server.take(&outgoing, false);
                            }
                            queue.settle(outgoing.0, unknown());
                        }
                        let again = queue.after_cut();
                        for outgoing in again.into_iter().rev() {
                            pipe.push_front((outgoing.ticket, outgoing.sequence, outgoing.events.count()));
                        }
                    }
                }
                pump(queue, pipe);
            }
        };
        settle(steps, &mut queue, &mut server, &mut pipe, &mut pushed, &mut told);
        let rest = vec![(1, 0, false); 1_000];
        settle(rest, &mut queue, &mut server, &mut pipe, &mut pushed, &mut told);
        prop_assert_eq!((told, queue.batches.len()), (pushed, 0));
        prop_assert_eq!(server.stored.len() as u32, pushed);
        prop_assert!(server.stored.is_sorted());
    }
}
