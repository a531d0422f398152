//! Rounds by table, and beside a model that is copied at the start of each round.

use proptest::prelude::*;

use super::*;
use crate::{EventBatchBuilder, NewEvent, ProducerStamp};

fn batch(count: usize) -> EventBatch {
    let mut builder = EventBatchBuilder::default();
    (0..count).for_each(|_| builder.push(&NewEvent::new("x")).expect("small"));
    builder.finish()
}

fn append(count: usize) -> Append {
    Append { events: batch(count), expected_next: None, producer: None }
}

fn state() -> StreamState {
    StreamState::new("s".into(), 10, 1_000, Producers::new(10))
}

fn judged(state: &mut StreamState, append: &Append) -> Result<Appended> {
    match state.judge(append, Level::Fsynced) {
        Judgement::Store(appended) => Ok(appended),
        Judgement::Answer(answer) => answer,
    }
}

#[test]
fn a_round_is_judged_on_what_is_pending() {
    let mut state = state();
    state.begin(2_000);
    let first = judged(&mut state, &append(3)).expect("stored");
    assert_eq!((first.first, first.count, first.timestamp, first.duplicate), (10, 3, 2_000, false));
    let wrong = judged(&mut state, &Append { expected_next: Some(10), ..append(1) }).expect_err("it is 13 by now");
    assert!(matches!(wrong, Error::WrongOffset { expected: 10, next: 13, .. }), "{wrong}");
    assert_eq!(judged(&mut state, &Append { expected_next: Some(13), ..append(1) }).expect("it is").first, 13);
    state.commit();
    assert_eq!(state.next(), 14);
}

#[test]
fn log_time_does_not_go_back() {
    let mut state = state();
    for (now, timestamp) in [(500, 1_000), (1_500, 1_500), (1_200, 1_500)] {
        state.begin(now);
        assert_eq!(judged(&mut state, &append(1)).expect("stored").timestamp, timestamp);
        state.commit();
    }
}

#[test]
fn what_is_discarded_never_was() {
    let mut state = state();
    let (_, grant) = state.open_producer("p", 5);
    state.commit();
    let stamp = ProducerStamp { id: grant.id, epoch: grant.epoch, sequence: 0 };
    let stamped = Append { producer: Some(stamp), ..append(2) };
    state.begin(9_000);
    judged(&mut state, &stamped).expect("stored");
    assert!(judged(&mut state, &stamped).expect("known").duplicate);
    let (_, next) = state.open_producer("p", 6);
    assert_eq!((next.epoch, next.sequence), (2, 2));
    state.discard();
    state.begin(2_000);
    let again = judged(&mut state, &stamped).expect("the epoch is the old one again, and nothing is stored");
    assert_eq!((again.first, again.timestamp, again.duplicate), (10, 2_000, false));
}

#[track_caller]
fn check_refused(config: &StreamConfig, events: &EventBatch, text: &str) {
    assert_eq!(check_batch("s", config, events).expect_err("refused").to_string(), text);
}

#[test]
fn sizes_are_checked() {
    let config = StreamConfig { event_bytes_max: 64, ..StreamConfig::default() };
    check_batch("s", &config, &batch(3)).expect("small ones");
    check_refused(
        &config,
        &batch(0),
        "not a batch of events: record 0 of a batch, at byte 0, does not hold together: there is no event in it",
    );
    let mut builder = EventBatchBuilder::default();
    builder.push(&NewEvent::new(vec![0; 48])).expect("64 bytes with its head");
    check_batch("s", &config, &builder.finish()).expect("just as large as may be");
    let mut builder = EventBatchBuilder::default();
    builder.push(&NewEvent::new(vec![0; 49])).expect("one more");
    check_refused(
        &config,
        &builder.finish(),
        "an event of 65 bytes for `s`; the limit is 64: split it, or raise `event_bytes_max` of the stream",
    );
    let mut builder = EventBatchBuilder::default();
    builder.push_at(1, &NewEvent::new("x")).expect("small");
    check_refused(
        &config,
        &builder.finish(),
        "not a batch of events: record 0 of a batch, at byte 0, does not hold together: its offsets have gaps",
    );
    let mut builder = EventBatchBuilder::default();
    let large = NewEvent::new(vec![0; 1 << 20]);
    (0..17).for_each(|_| builder.push(&large).expect("there is room for 4 GiB"));
    let config = StreamConfig { event_bytes_max: 2 << 20, ..config };
    check_refused(
        &config,
        &builder.finish(),
        "a batch of 17826064 bytes for `s`; the limit is 16777216: append it in smaller ones",
    );
}

#[test]
fn what_cannot_be_configured_is_named() {
    check_config("s", &StreamConfig::default()).expect("the default can be");
    let default = StreamConfig::default;
    for (config, text) in [
        (
            StreamConfig { segment_bytes_max: 1, ..default() },
            "`segment_bytes_max` of stream `s` cannot be 1: a segment has 4 KiB to 1 GiB",
        ),
        (
            StreamConfig { index_interval_bytes: 0, ..default() },
            "`index_interval_bytes` of stream `s` cannot be 0: it is 256 bytes to 16 MiB",
        ),
        (
            StreamConfig { event_bytes_max: 0, ..default() },
            "`event_bytes_max` of stream `s` cannot be 0: an event may have 64 bytes to 16 MiB",
        ),
        (
            StreamConfig { producers_max: 0, ..default() },
            "`producers_max` of stream `s` cannot be 0: 1 to 100,000 producers can be remembered",
        ),
    ] {
        assert_eq!(check_config("s", &config).expect_err("it cannot").to_string(), text);
    }
}

proptest! {
    #[test]
    fn rounds_are_all_or_nothing(rounds in proptest::collection::vec(
        (proptest::collection::vec((1_usize..4, 0_u64..3, any::<bool>()), 1..5), any::<bool>()), 1..30)
    ) {
        let mut state = state();
        let (mut sequence, mut next) = (0_u64, 10_u64);
        let (_, grant) = state.open_producer("p", 5);
        state.commit();
        for (number, (requests, is_stored)) in rounds.into_iter().enumerate() {
            let (sequence_before, next_before) = (sequence, next);
            state.begin(2_000 + number as u64);
            for (count, ahead, is_stamped) in requests {
                let stamp = ProducerStamp { id: grant.id, epoch: grant.epoch, sequence };
                let producer = is_stamped.then_some(stamp);
                let append = Append { events: batch(count), expected_next: Some(next + ahead), producer };
                match judged(&mut state, &append) {
                    Ok(appended) => {
                        prop_assert_eq!((ahead, appended.first), (0, next));
                        next += count as u64;
                        sequence += if is_stamped { count as u64 } else { 0 };
                    }
                    Err(Error::WrongOffset { next: told, .. }) => prop_assert!(ahead > 0 && told == next),
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
            if is_stored {
                state.commit();
            } else {
                state.discard();
                (sequence, next) = (sequence_before, next_before);
            }
            prop_assert_eq!(state.next(), next);
        }
    }
}
