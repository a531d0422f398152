//! Producers by table, and beside a model that keeps everything.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn stamp(grant: &ProducerGrant, sequence: u64) -> ProducerStamp {
    ProducerStamp { id: grant.id, epoch: grant.epoch, sequence }
}

fn batch(sequence: u64, count: u32, first: u64) -> Remembered {
    Remembered { sequence, count, first, timestamp: first * 10 }
}

#[test]
fn each_case_has_its_verdict() {
    let mut producers = Producers::new(10);
    let (_, old, _) = producers.open("a", 7);
    producers.store(7, batch(0, 2, 100));
    producers.store(7, batch(2, 3, 110));
    let (_, grant, _) = producers.open("a", 8);
    assert_eq!(grant, ProducerGrant { id: 7, epoch: 2, sequence: 5, last_offset: Some(112) });
    for (stamp, count, verdict) in [
        (stamp(&grant, 5), 1, Verdict::Store),
        (stamp(&grant, 2), 3, Verdict::Duplicate(batch(2, 3, 110))),
        (stamp(&grant, 0), 2, Verdict::Duplicate(batch(0, 2, 100))),
        (stamp(&grant, 2), 2, Verdict::Old { expected: 5 }),
        (stamp(&grant, 1), 1, Verdict::Old { expected: 5 }),
        (stamp(&grant, 6), 1, Verdict::Gap { expected: 5 }),
        (stamp(&old, 5), 1, Verdict::Fenced { current: 2 }),
        (ProducerStamp { epoch: 3, ..stamp(&grant, 5) }, 1, Verdict::Fenced { current: 2 }),
        (ProducerStamp { id: 9, ..stamp(&grant, 5) }, 1, Verdict::Expired),
    ] {
        assert_eq!(producers.judge(&stamp, count), verdict, "{stamp:?}");
    }
}

#[test]
fn the_last_sixty_four_batches_are_remembered() {
    let mut producers = Producers::new(10);
    let (_, grant, _) = producers.open("a", 7);
    for sequence in 0..100 {
        producers.store(7, batch(sequence, 1, sequence));
    }
    assert_eq!(producers.judge(&stamp(&grant, 35), 1), Verdict::Old { expected: 100 });
    assert_eq!(producers.judge(&stamp(&grant, 36), 1), Verdict::Duplicate(batch(36, 1, 36)));
    assert_eq!(producers.epochs().collect::<Vec<_>>(), [(7, (1, Some(99)))]);
}

#[test]
fn who_is_silent_for_longest_is_forgotten() {
    let mut producers = Producers::new(2);
    let (_, first, _) = producers.open("a", 1);
    let (_, second, _) = producers.open("b", 2);
    producers.store(1, batch(0, 1, 0));
    producers.open("c", 3);
    assert_eq!(producers.judge(&stamp(&second, 0), 1), Verdict::Expired);
    assert_eq!(producers.judge(&stamp(&first, 1), 1), Verdict::Store);
    producers.limit(1);
    assert_eq!(producers.judge(&stamp(&first, 1), 1), Verdict::Expired);
    assert_eq!(producers.len(), 1);
}

#[test]
fn a_damaged_snapshot_is_told() {
    let mut producers = Producers::new(10);
    producers.open("a", 1);
    producers.store(1, batch(0, 1, 0));
    let bytes = producers.snapshot();
    for cut in 0..bytes.len() {
        Producers::restore(&bytes[..cut], 10).expect_err("it is cut");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Open(u8),
    /// By which producer, events, how far back of what is next, and whether the epoch is the one before.
    Batch {
        name: u8,
        count: u32,
        back: u64,
        is_fenced: bool,
    },
    /// The round is stored; or it is not.
    Commit,
    Discard,
    /// A restart, with a snapshot from that long ago.
    Restart,
    Snapshot,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (0_u8..6).prop_map(Act::Open),
        8 => (0_u8..6, 1_u32..4, 0_u64..4, prop::bool::weighted(0.1))
            .prop_map(|(name, count, back, is_fenced)| Act::Batch { name, count, back, is_fenced }),
        3 => Just(Act::Commit),
        1 => Just(Act::Discard),
        1 => Just(Act::Restart),
        1 => Just(Act::Snapshot),
    ];
    proptest::collection::vec(act, 0..200)
}

/// What the log has: everything, in order.
#[derive(Clone, Debug)]
enum Logged {
    Opening(Opening),
    Batch(u64, Remembered),
}

/// The model answers from the log alone, by looking at all of it.
fn model(log: &[Logged], max: usize) -> BTreeMap<u64, (u32, Vec<Remembered>)> {
    let mut order: Vec<u64> = Vec::new();
    let mut all: BTreeMap<u64, (u32, Vec<Remembered>)> = BTreeMap::new();
    for entry in log {
        let (Logged::Opening(Opening { id, .. }) | Logged::Batch(id, _)) = entry;
        if let Logged::Batch(..) = entry
            && !all.contains_key(id)
        {
            continue;
        }
        order.retain(|of| of != id);
        order.push(*id);
        match entry {
            Logged::Opening(opening) => all.entry(*id).or_default().0 = opening.epoch,
            Logged::Batch(_, batch) => all.get_mut(id).expect("looked up").1.push(*batch),
        }
        while order.len() > max {
            all.remove(&order.remove(0));
        }
    }
    all
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_log(acts in acts(), max in 1_u32..5) {
        let mut producers = Producers::new(max);
        let (mut log, mut undo, mut stored) = (Vec::new(), Vec::new(), 0);
        let mut saved = (0, producers.snapshot());
        let (mut next, mut next_stored, mut ids) = (0_u64, 0_u64, 100_u64);
        let mut grants: BTreeMap<u8, ProducerGrant> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Open(name) => {
                    ids += 1;
                    let (opening, grant, change) = producers.open(&name.to_string(), ids);
                    undo.push(change);
                    log.push(Logged::Opening(opening));
                    grants.insert(name, grant);
                }
                Act::Batch { name, count, back, is_fenced } => {
                    let Some(grant) = grants.get(&name) else { continue };
                    let known = model(&log, max as usize);
                    let known = known.get(&grant.id);
                    let due = known.and_then(|(_, all)| all.last())
                        .map_or(0, |last| last.sequence + u64::from(last.count));
                    let sequence = (due + 1).saturating_sub(back);
                    let epoch = grant.epoch - u32::from(is_fenced);
                    let verdict = producers.judge(&ProducerStamp { id: grant.id, epoch, sequence }, count);
                    let expected = match known {
                        None => Verdict::Expired,
                        Some((current, _)) if *current != epoch => Verdict::Fenced { current: *current },
                        Some(_) if sequence > due => Verdict::Gap { expected: due },
                        Some(_) if sequence == due => Verdict::Store,
                        Some((_, all)) => all
                            .iter()
                            .rev()
                            .take(BATCHES_REMEMBERED)
                            .find(|batch| batch.sequence == sequence && batch.count == count)
                            .map_or(Verdict::Old { expected: due }, |batch| Verdict::Duplicate(*batch)),
                    };
                    prop_assert_eq!(verdict, expected);
                    if verdict == Verdict::Store {
                        let new = batch(sequence, count, next);
                        next += u64::from(count);
                        undo.push(producers.store(grant.id, new));
                        log.push(Logged::Batch(grant.id, new));
                    }
                }
                Act::Commit => {
                    undo.clear();
                    (stored, next_stored) = (log.len(), next);
                }
                Act::Discard => {
                    while let Some(change) = undo.pop() {
                        producers.undo(change);
                    }
                    log.truncate(stored);
                    next = next_stored;
                }
                Act::Snapshot if undo.is_empty() => saved = (next, producers.snapshot()),
                Act::Snapshot => {}
                Act::Restart => {
                    // Openings take no offset: those at the snapshot's are read again whether it has them or not.
                    producers = Producers::restore(&saved.1, max).expect("written by us");
                    log.truncate(stored);
                    (undo, next) = (Vec::new(), next_stored);
                    let mut offset = 0;
                    for entry in &log {
                        match entry {
                            Logged::Opening(opening) if offset >= saved.0 => producers.replay_opening(opening),
                            Logged::Opening(_) => {}
                            Logged::Batch(id, batch) => {
                                if batch.first >= saved.0 {
                                    producers.replay_batch(*id, *batch);
                                }
                                offset = batch.first + u64::from(batch.count);
                            }
                        }
                    }
                }
            }
            let model = model(&log, max as usize);
            prop_assert_eq!(producers.len(), model.len());
            for (id, (epoch, batches)) in &model {
                let producer = &producers.by_id[id];
                prop_assert_eq!(producer.epoch, *epoch);
                let recent: Vec<_> = producer.recent.iter().copied().collect();
                prop_assert_eq!(&recent[..], &batches[batches.len().saturating_sub(BATCHES_REMEMBERED)..]);
            }
        }
    }

    #[test]
    fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Producers::restore(&bytes, 10);
    }
}
