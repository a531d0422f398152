//! Every call to the disk failing, once and for ever: no panic, nothing let out that is not stored, and after a restart
//! everything that was let out is there.

use sinew_journal::{Fault, FaultKind};

use super::life::{Life, Living, config};
use super::view::View;
use super::*;

const STEPS: usize = 200;

fn live_with(seed: u64, fault: Option<Fault>) -> Life {
    let mut living = Living::new(seed);
    if let Some(fault) = fault {
        living.life.disk.fail(fault);
    }
    for _ in 0..STEPS {
        if !living.step(false) {
            break;
        }
    }
    living.end()
}

/// After a restart on a disk that works again.
fn check(life: &Life, place: &str) {
    life.disk.mend();
    let run = life.runs.last().expect("one");
    let wall = run.wall(usize::MAX);
    let engine = engine_on(&life.disk, move || wall).expect(place);
    let queue = engine.opened(&name("q")).expect(place);
    let now = queue.shell.now();
    let found = queue.shell.look(|scheduler| View::of(scheduler, now));
    let (least, most) = run.bounds(usize::MAX);
    let view = |count: usize| (View::from(&run.records(count), &config(), now), run.kept(count));
    let fits = |(all, kept): (View, _)| found.fits(&all, &kept);
    if !(least..=most).rev().any(|count| fits(view(count))) {
        let (all, kept) = view(most);
        panic!(
            "{place}: not what {least} to {most} records say: {}\n{}",
            found.difference(&all, &kept),
            life.steps.join("\n")
        );
    }
    // It goes on.
    let heard = Heard::new(&life.disk);
    queue.shell.listen(heard.clone());
    queue.shell.tell(vec![submit(1_000_000, "after", waits())]);
    queue.round_now().expect(place);
    assert!(matches!(heard.answer(client(1, 1_000_000)), Some(Ok(Answer::Accepted { .. }))), "{place}");
    engine.close_now().expect(place);
}

const KINDS: [FaultKind; 4] = [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::Sync];

fn fail_each_call(kind: FaultKind, count: u64) {
    let _entered = entered();
    let (first, last) = {
        let living = Living::new(1);
        let first = living.life.disk.calls();
        drop(living.end());
        (first, live_with(1, None).disk.calls())
    };
    let mut ended = 0;
    for call in first..last {
        let life = live_with(1, Some(Fault { kind, call, count }));
        ended += usize::from(life.has_ended);
        check(&life, &format!("{kind:?} at call {call}, {count} times"));
    }
    assert_eq!(ended > 20, matches!(kind, FaultKind::Io | FaultKind::Sync), "{kind:?}: after {ended} calls it ended");
    println!("{kind:?}: {} calls, after {ended} of them the queue ended", last - first);
}

#[test]
fn every_call_fails_once() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, 1));
}

#[test]
fn every_call_fails_for_ever() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, u64::MAX));
}
