//! Every call to the disk failing, once and for ever: no panic, no wrong data, each request answered, and after a restart
//! what was acknowledged is there.

use sinew_journal::{Dice, Fault, FaultKind, SimulatedDisk};

use super::*;
use crate::Retention;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    events: Vec<(u64, Vec<u8>)>,
    /// The newest cursor, and what was asked for since.
    cursor: Option<u64>,
    asked: Vec<u64>,
    failed: usize,
    full: usize,
}

fn stream_config() -> StreamConfig {
    StreamConfig { retention: Retention { events_max: Some(1_000), ..Retention::default() }, ..config() }
}

/// Appends, commits and maintains, noting what is acknowledged; errors end nothing here.
fn live(disk: &SimulatedDisk, seed: u64, fault: Option<Fault>) -> Acknowledged {
    let (mut dice, clock) = (Dice::new(seed), HandClock::new());
    let mut noted = Acknowledged::default();
    let Ok(engine) = engine_on(disk.clone(), &clock) else { return noted };
    let opened = engine.open_now(&name("s"), &stream_config());
    if let Some(fault) = fault {
        disk.fail(fault);
    }
    let Ok(stream) = opened else { return noted };
    for number in 0..60_u64 {
        match dice.below(10) {
            0..7 => {
                let body = vec![number as u8; 1 + dice.below(300)];
                match append_now(&stream, append_of(&[body.clone().into()])) {
                    Ok(appended) => noted.events.push((appended.first, body)),
                    Err(Error::NoSpace { .. } | Error::NotNow { .. }) => noted.full += 1,
                    Err(Error::Storage { .. }) => noted.failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            7..9 => {
                noted.asked.push(number);
                let cursor = Some(Cursor { offset: number, ..Cursor::default() });
                match commit_now(&stream, vec![CursorUpdate { name: "c".into(), cursor }]) {
                    Ok(()) => (noted.cursor, noted.asked) = (Some(number), Vec::new()),
                    Err(Error::NoSpace { .. } | Error::NotNow { .. } | Error::Storage { .. }) => noted.failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            _ => match stream.maintain(&mut |_| true) {
                Ok(_) | Err(Error::NoSpace { .. } | Error::NotNow { .. } | Error::Storage { .. }) => {}
                Err(error) => panic!("{error}"),
            },
        }
        // What readers see is what was acknowledged, whatever failed since.
        if let Ok(events) = read_all(&stream, 0, &ALL) {
            let found: Vec<_> = events.iter().map(|event| (event.offset, event.payload.to_vec())).collect();
            assert_eq!(found, noted.events, "seed {seed}, {fault:?}");
        }
    }
    engine.forget();
    noted
}

/// After a restart on a disk that works again: all that was acknowledged, at most one request more.
fn check(disk: &SimulatedDisk, noted: &Acknowledged, place: &str) {
    disk.mend();
    let engine = engine_on(disk.clone(), &HandClock::new()).expect(place);
    let stream = engine.open_now(&name("s"), &stream_config()).expect(place);
    let found = read_all(&stream, 0, &ALL).expect(place);
    let found: Vec<_> = found.iter().map(|event| (event.offset, event.payload.to_vec())).collect();
    assert_eq!(found.get(..noted.events.len()), Some(&noted.events[..]), "{place}");
    assert!(found.len() <= noted.events.len() + 1, "{place}");
    let cursor = stream.cursors.cursor("c").map(|cursor| cursor.offset);
    assert!(cursor == noted.cursor || cursor.is_some_and(|of| noted.asked.contains(&of)), "{place}: {cursor:?}");
    append_now(&stream, append_of(&["after".into()])).expect(place);
    engine.forget();
}

const KINDS: [FaultKind; 5] =
    [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::Open, FaultKind::Sync];

fn fail_each_call(kind: FaultKind, count: u64) {
    let disk = SimulatedDisk::new(1);
    live(&disk, 1, None);
    let calls = disk.calls();
    let mut faults = 0;
    for call in 0..calls {
        let disk = SimulatedDisk::new(1);
        let noted = live(&disk, 1, Some(Fault { kind, call, count }));
        faults += usize::from(noted.failed + noted.full > 0);
        check(&disk, &noted, &format!("{kind:?} at call {call}, {count} times"));
    }
    // Nobody notices a short write, and few requests open something.
    let least = match kind {
        FaultKind::ShortWrite => 0,
        FaultKind::Open => 5,
        _ => 21,
    };
    assert!(faults >= least, "{kind:?}: {faults} of {calls} calls made a request fail");
}

#[test]
fn every_call_fails_once() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, 1));
}

#[test]
fn every_call_fails_for_ever() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, u64::MAX));
}

#[test]
fn a_full_disk_refuses_and_goes_on_by_itself() {
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    let grant = open_producer(&stream, "p").expect("opened");
    let stamped = |sequence| {
        let producer = Some(ProducerStamp { id: grant.id, epoch: grant.epoch, sequence });
        Append { producer, ..append_of(&[vec![0; 1_000].into()]) }
    };
    append_now(&stream, stamped(0)).expect("there is room");
    disk.fail(Fault { kind: FaultKind::NoSpace, call: disk.calls(), count: u64::MAX });
    let mut stored = 1;
    let refused = loop {
        match append_now(&stream, stamped(stored)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert_eq!(stream.current_range().next, stored);
    assert_eq!(read_all(&stream, 0, &ALL).expect("reading goes on").len() as u64, stored);
    // A producer that comes back sends again what is stored together with what is not: it must not take the one for the
    // other, or it would give the numbers of the first to another batch.
    let laters = [stored - 1, stored, stored].map(|sequence| append(&stream, stamped(sequence)));
    let _ = stream.round_now();
    let [known, new, twice] = laters.map(|later| later.answer().expect("the round answers"));
    let known = known.expect("it is stored");
    assert_eq!((known.first, known.duplicate), (stored - 1, true));
    assert!(matches!(new, Err(Error::NoSpace { .. })));
    assert!(matches!(twice, Err(Error::NoSpace { .. })));
    disk.mend();
    // What was refused was not remembered.
    let appended = append_now(&stream, stamped(stored)).expect("there is room again");
    assert_eq!((appended.first, appended.duplicate), (stored, false));
}

#[test]
fn a_failed_sync_ends_it_and_is_published() {
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    append_now(&stream, append_of(&["a".into()])).expect("appended");
    let failed = stream.host.failure.told();
    assert!(failed.borrow().is_none());
    disk.fail(Fault { kind: FaultKind::Sync, call: disk.calls(), count: u64::MAX });
    let laters = [append(&stream, append_of(&["b".into()])), append(&stream, append_of(&["c".into()]))];
    engine.run_dirty();
    for later in laters {
        assert!(matches!(later.answer(), Some(Err(Error::Storage { .. }))));
    }
    assert!(failed.borrow().is_some());
    disk.mend();
    // Never tried again: each is answered at once.
    let later = append(&stream, append_of(&["d".into()]));
    assert!(matches!(later.answer(), Some(Err(Error::Storage { .. }))));
    assert_eq!(read_all(&stream, 0, &ALL).expect("reading goes on").len(), 1);
}
