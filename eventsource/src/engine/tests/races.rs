//! Readers that retention overtakes: told each time, never served a gap in silence.

use sinew_journal::SimulatedDisk;

use super::*;
use crate::Retention;

#[test]
fn a_reader_overtaken_by_retention_is_told_each_time() {
    let clock = HandClock::new();
    let engine = engine_on(SimulatedDisk::new(1), &clock).expect("opened");
    let retention = Retention { events_max: Some(40), ..Retention::default() };
    let stream = engine.open_now(&name("s"), &StreamConfig { retention, ..config() }).expect("opened");
    let limits = ReadLimits { bytes_max: 1_000, events_max: 5 };
    for race in 0..200_u64 {
        let from = stream.current_range().first;
        // The reader is in the midst of it.
        let at = if race % 2 == 0 { from } else { stream.read(from, &limits).expect("there").next };
        std::thread::scope(|scope| {
            let removing = scope.spawn(|| {
                while stream.current_range().first <= at {
                    append_now(&stream, append_of(&[vec![0; 300].into()])).expect("appended");
                    stream.maintain(&mut |_| true).expect("maintained");
                }
            });
            // Whatever is read meanwhile goes on where it was asked to, or is refused: there is no third.
            loop {
                match stream.read(at, &limits) {
                    Ok(page) => assert!(page.batches.first().is_none_or(|batch| batch.first == at), "race {race}"),
                    Err(Error::OutOfRange { requested, first, next, .. }) => {
                        assert!(requested == at && first > at && next > first, "race {race}: {first} {next}");
                        break;
                    }
                    Err(error) => panic!("race {race}: {error}"),
                }
            }
            removing.join().expect("no panic");
        });
        let refused = stream.read(at, &limits).expect_err("it is gone");
        assert!(matches!(refused, Error::OutOfRange { requested, .. } if requested == at), "race {race}: {refused}");
    }
}
