//! Groups by example, and beside a model that only remembers what became of each event.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{EventBatchBuilder, Filter, NewEvent};

const WINDOW: Window = Window { events_max: 100, bytes_max: 1 << 20 };
const SHARE: Share = Share { events_max: 10, bytes_max: 1 << 20 };
const A: MemberKey = (1, 1);
const B: MemberKey = (2, 1);
const ERA: u32 = u32::MAX;
const SECOND: Duration = Duration::from_secs(1);

/// Events from `first` on, with these keys.
fn batch(first: u64, keys: &[u8]) -> StoredBatch {
    let mut builder = EventBatchBuilder::default();
    keys.iter().for_each(|key| builder.push(&NewEvent::new("x").key(vec![*key])).unwrap());
    StoredBatch { first, timestamp: 7, events: builder.finish() }
}

struct Stage {
    group: Group,
    now: Instant,
}

impl Stage {
    fn new(settings: GroupSettings) -> Self {
        let state = GroupState { settings, ..GroupState::default() };
        Self { group: Group::new(&Cursor::default(), state, WINDOW, ERA), now: Instant::now() }
    }

    /// One with these events and these members.
    fn with(settings: GroupSettings, keys: &[u8], members: &[MemberKey]) -> Self {
        let mut stage = Self::new(settings);
        members.iter().for_each(|member| stage.group.join(*member, SHARE));
        stage.group.offer(&[batch(0, keys)], keys.len() as u64);
        stage
    }

    /// Everything that can be handed out: to whom, which, and which attempt.
    fn hand_out(&mut self) -> Vec<(MemberKey, u64, u32)> {
        std::iter::from_fn(|| self.group.next(self.now, |_| true)).map(|handed| told(&handed)).collect()
    }

    fn done(&mut self, member: MemberKey, offset: u64) -> bool {
        self.settle(member, offset, 1, Settled::Done)
    }

    fn settle(&mut self, member: MemberKey, offset: u64, attempt: u32, settled: Settled) -> bool {
        let era = self.group.era();
        self.group.settle(member, era, (offset, attempt, settled), self.now)
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.group.handle_timeout(self.now);
    }

    fn cursor(&mut self) -> (u64, Vec<(u64, u64)>) {
        let (cursor, _) = self.group.cursor();
        (cursor.offset, cursor.above)
    }
}

fn told(handed: &Handed) -> (MemberKey, u64, u32) {
    let delta = handed.event.events.views().next().unwrap().delta;
    assert_eq!(handed.event.events.count(), 1);
    (handed.member, handed.event.first + u64::from(delta), handed.attempt)
}

#[test]
fn events_are_shared_among_the_members() {
    let mut stage = Stage::with(GroupSettings::default(), &[0; 4], &[A, B]);
    assert_eq!(stage.hand_out(), [(A, 0, 1), (B, 1, 1), (A, 2, 1), (B, 3, 1)]);
    assert!(stage.done(B, 3) && stage.done(A, 0));
    assert!(!stage.done(A, 0), "once");
    assert!(!stage.done(A, 1), "not its own");
    assert_eq!(stage.cursor(), (1, vec![(3, 4)]));
    assert!(stage.done(B, 1) && stage.done(A, 2));
    assert_eq!(stage.cursor(), (4, vec![]));
}

#[test]
fn what_is_not_acknowledged_in_time_goes_to_somebody_else() {
    let mut stage = Stage::with(GroupSettings::default(), &[0], &[A]);
    assert_eq!(stage.hand_out(), [(A, 0, 1)]);
    stage.group.join(B, SHARE);
    stage.advance(29 * SECOND);
    assert_eq!(stage.hand_out(), []);
    stage.advance(SECOND);
    assert_eq!(stage.hand_out(), [(B, 0, 2)]);
    assert!(!stage.done(A, 0), "it is with another one");
    assert!(stage.settle(B, 0, 2, Settled::Done));
}

#[test]
fn who_is_late_and_first_all_the_same_is_heard() {
    let mut stage = Stage::with(GroupSettings::default(), &[0], &[A]);
    stage.hand_out();
    stage.advance(30 * SECOND);
    assert!(stage.done(A, 0), "nobody else has it yet");
    assert_eq!(stage.hand_out(), []);
}

#[test]
fn what_is_handed_back_comes_again_after_its_delay() {
    let mut stage = Stage::with(GroupSettings::default(), &[0], &[A]);
    stage.hand_out();
    assert!(stage.settle(A, 0, 1, Settled::Again(5 * SECOND)));
    assert_eq!(stage.group.next_timeout(), Some(stage.now + 5 * SECOND));
    stage.advance(4 * SECOND);
    assert_eq!(stage.hand_out(), []);
    stage.advance(SECOND);
    assert_eq!(stage.hand_out(), [(A, 0, 2)]);
}

#[test]
fn what_fails_too_often_is_given_up_and_listed() {
    let settings = GroupSettings { deliveries_max: Some(2), ..GroupSettings::default() };
    let mut stage = Stage::with(settings, &[0, 0], &[A]);
    stage.hand_out();
    assert!(stage.done(A, 1));
    stage.settle(A, 0, 1, Settled::Again(Duration::ZERO));
    assert_eq!(stage.hand_out(), [(A, 0, 2)]);
    stage.settle(A, 0, 2, Settled::Again(SECOND));
    assert_eq!(stage.hand_out(), []);
    let info = stage.group.info("g", 2);
    assert_eq!((info.given_up, info.given_up_last, info.lag), (1, vec![0], 0));
    assert_eq!(stage.cursor(), (2, vec![]));
}

#[test]
fn a_member_that_leaves_in_order_costs_no_attempt_and_one_that_vanishes_does() {
    let mut stage = Stage::with(GroupSettings::default(), &[0], &[A]);
    stage.hand_out();
    stage.group.leave(A, false);
    stage.group.join(B, SHARE);
    assert_eq!(stage.hand_out(), [(B, 0, 1)]);
    stage.group.cut(B, stage.now + 3 * SECOND);
    stage.group.join(A, SHARE);
    stage.advance(2 * SECOND);
    assert_eq!(stage.hand_out(), [], "it may come back");
    stage.advance(SECOND);
    assert_eq!(stage.hand_out(), [(A, 0, 2)]);
}

#[test]
fn who_comes_back_keeps_what_it_has_and_gets_what_was_lost() {
    let mut stage = Stage::with(GroupSettings::default(), &[0; 3], &[A]);
    assert_eq!(stage.hand_out().len(), 3);
    stage.group.cut(A, stage.now + SECOND);
    let held = |runs: &[(u64, u32, u32)]| Held { era: ERA, runs: runs.to_vec() };
    assert_eq!(stage.group.rejoin(A, SHARE, &held(&[(0, 1, 1), (2, 9, 1)])), Some(vec![(0, 1), (2, 1)]));
    assert_eq!(stage.hand_out(), [(A, 1, 1)]);
    assert_eq!(stage.group.rejoin(A, SHARE, &held(&[(0, 3, 1)])), Some(vec![(0, 3)]));
    assert_eq!(stage.group.rejoin(A, SHARE, &held(&[(0, 1, 2), (1, 2, 1)])), Some(vec![(1, 2)]), "another attempt");
    assert_eq!(stage.group.rejoin(B, SHARE, &held(&[])), None);
}

#[test]
fn what_was_handed_out_before_a_reset_is_nobodys_after_it() {
    let mut stage = Stage::with(GroupSettings::default(), &[0; 2], &[A]);
    assert_eq!(stage.hand_out(), [(A, 0, 1), (A, 1, 1)]);
    let held = Held { era: stage.group.era(), runs: vec![(0, 2, 1)] };
    stage.group.reset(0);
    assert_ne!(stage.group.era(), held.era);
    stage.group.offer(&[batch(0, &[0; 2])], 2);
    assert_eq!(stage.hand_out(), [(A, 0, 1), (A, 1, 1)], "anew, under the same numbers");
    assert!(!stage.group.settle(A, held.era, (0, 1, Settled::Done), stage.now), "said about what was before");
    // Both were on their way when it was cut: what it still has is what it had before the reset.
    assert_eq!(stage.group.rejoin(A, SHARE, &held), Some(vec![]));
    assert_eq!(stage.hand_out(), [(A, 0, 1), (A, 1, 1)]);
}

#[test]
fn events_of_a_key_go_one_after_the_other() {
    let settings = GroupSettings { key_order: true, ..GroupSettings::default() };
    let mut stage = Stage::with(settings, &[1, 1, 2, 1], &[A, B]);
    assert_eq!(stage.hand_out(), [(A, 0, 1), (B, 2, 1)]);
    stage.settle(A, 0, 1, Settled::Again(SECOND));
    assert_eq!(stage.hand_out(), [], "the key waits with its first event");
    stage.advance(SECOND);
    assert_eq!(stage.hand_out(), [(B, 0, 2)]);
    stage.settle(B, 0, 2, Settled::Done);
    assert_eq!(stage.hand_out(), [(A, 1, 1)]);
    stage.group.leave(A, true);
    assert_eq!(stage.hand_out(), [(B, 1, 2)]);
}

#[test]
fn a_member_gets_no_more_than_its_share() {
    let mut stage = Stage::new(GroupSettings::default());
    stage.group.join(A, Share { events_max: 2, bytes_max: 1 << 20 });
    stage.group.join(B, Share { events_max: 10, bytes_max: 1 });
    stage.group.offer(&[batch(0, &[0; 5])], 5);
    assert_eq!(stage.hand_out(), [(A, 0, 1), (B, 1, 1), (A, 2, 1)], "one event goes whatever its size");
}

#[test]
fn a_paused_group_hands_nothing_out_and_one_that_is_reset_begins_anew() {
    let mut stage = Stage::with(GroupSettings::default(), &[0; 3], &[A]);
    stage.group.pause(true);
    assert_eq!((stage.hand_out(), stage.group.wants()), (vec![], None));
    stage.group.pause(false);
    assert_eq!(stage.hand_out().len(), 3);
    stage.group.reset(1);
    assert_eq!((stage.group.wants(), stage.cursor()), (Some(1), (1, vec![])));
    assert!(!stage.done(A, 2), "it does not count any more");
    stage.group.offer(&[batch(0, &[0; 3])], 3);
    assert_eq!(stage.hand_out(), [(A, 1, 1), (A, 2, 1)]);
}

#[test]
fn a_filter_passes_over_what_is_not_wanted() {
    let settings = GroupSettings { filter: Filter::key(vec![1]), ..GroupSettings::default() };
    let mut stage = Stage::with(settings, &[0, 1, 0, 0], &[A]);
    assert_eq!(stage.hand_out(), [(A, 1, 1)]);
    assert_eq!(stage.cursor(), (1, vec![(2, 4)]));
    stage.done(A, 1);
    assert_eq!(stage.cursor(), (4, vec![]));
}

#[test]
fn what_was_done_before_a_restart_is_not_handed_out_again() {
    let cursor = Cursor { offset: 2, above: vec![(3, 5), (7, 8)], state: Vec::new() };
    let mut group = Group::new(&cursor, GroupState::default(), WINDOW, ERA);
    group.join(A, SHARE);
    assert_eq!(group.cursor().0, cursor);
    assert_eq!((group.wants(), group.info("g", 10).lag), (Some(2), 5));
    group.offer(&[batch(0, &[0; 4])], 4);
    assert_eq!(group.cursor().0, cursor, "half way through");
    group.offer(&[batch(4, &[0; 6])], 10);
    let now = Instant::now();
    let handed: Vec<_> = std::iter::from_fn(|| group.next(now, |_| true)).map(|handed| told(&handed).1).collect();
    assert_eq!(handed, [2, 5, 6, 8, 9]);
}

proptest! {
    /// `steps`: what happens, to which member, with which of its events.
    #[test]
    fn each_event_is_with_one_member_until_it_is_done(
        key_order in any::<bool>(),
        deliveries_max in proptest::option::of(1u32..4),
        keys in proptest::collection::vec(0u8..4, 1..60),
        steps in proptest::collection::vec((0u8..9, 0u64..3, 0usize..8), 1..300),
    ) {
        let settings = GroupSettings { key_order, deliveries_max, ..GroupSettings::default() };
        let mut stage = Stage::new(settings);
        let all = batch(0, &keys);
        // The model: who has what, and what is over.
        let mut with: HashMap<u64, (MemberKey, u32)> = HashMap::new();
        let mut over = BTreeSet::new();
        for (step, member, choice) in steps {
            let member = (member, 1);
            let own: Vec<u64> = {
                let mut own: Vec<_> = with.iter().filter(|(_, (of, _))| *of == member).map(|(offset, _)| *offset).collect();
                own.sort_unstable();
                own
            };
            let chosen = own.get(choice.min(own.len().saturating_sub(1))).copied();
            let gives_up = |attempt: u32| deliveries_max.is_some_and(|max| attempt >= max);
            match (step, chosen) {
                (0, _) if !stage.group.members.contains_key(&member) => stage.group.join(member, SHARE),
                (1, _) => {
                    stage.group.offer(std::slice::from_ref(&all), keys.len() as u64);
                }
                (2 | 3, Some(offset)) => {
                    let (of, attempt) = with.remove(&offset).unwrap();
                    prop_assert!(stage.settle(of, offset, attempt, Settled::Done));
                    over.insert(offset);
                }
                (4, Some(offset)) => {
                    let (of, attempt) = with.remove(&offset).unwrap();
                    let delay = SECOND * (choice as u32 % 2);
                    prop_assert!(stage.settle(of, offset, attempt, Settled::Again(delay)));
                    if gives_up(attempt) {
                        over.insert(offset);
                    }
                }
                (5, _) => {
                    stage.group.leave(member, true);
                    for offset in own {
                        let (_, attempt) = with.remove(&offset).unwrap();
                        if gives_up(attempt) {
                            over.insert(offset);
                        }
                    }
                }
                (6, _) => {
                    stage.advance(31 * SECOND);
                    for (offset, (_, attempt)) in with.drain() {
                        if gives_up(attempt) {
                            over.insert(offset);
                        }
                    }
                }
                _ => {}
            }
            for (member, offset, attempt) in stage.hand_out() {
                prop_assert!(!over.contains(&offset), "{} is over", offset);
                prop_assert!(with.insert(offset, (member, attempt)).is_none(), "{} is with somebody", offset);
                if key_order {
                    let key = keys[offset as usize];
                    let before = (0..offset).filter(|before| keys[*before as usize] == key);
                    prop_assert!(before.into_iter().all(|before| over.contains(&before)), "{} before its turn", offset);
                }
            }
            let (cursor, state) = stage.group.cursor();
            let done = |offset: u64| offset < cursor.offset || cursor.above.iter().any(|(start, end)| (*start..*end).contains(&offset));
            for offset in 0..keys.len() as u64 {
                prop_assert_eq!(done(offset), over.contains(&offset), "{}", offset);
            }
            prop_assert!(cursor.above.windows(2).all(|pair| pair[0].1 < pair[1].0), "apart and rising: {:?}", cursor.above);
            prop_assert!(deliveries_max.is_some() || state.given_up == 0);
        }
        // Who works through the rest comes to the end.
        stage.group.offer(std::slice::from_ref(&all), keys.len() as u64);
        for member in 0..3 {
            stage.group.leave((member, 1), false);
        }
        stage.group.join(A, SHARE);
        for _ in 0..keys.len() {
            stage.advance(31 * SECOND);
            for (member, offset, attempt) in stage.hand_out() {
                stage.settle(member, offset, attempt, Settled::Done);
            }
        }
        prop_assert_eq!(stage.cursor(), (keys.len() as u64, vec![]));
    }
}
