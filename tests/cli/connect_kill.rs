//! Connectors killed in their midst, as real processes beside a server whose log is on disk, each twenty times: what
//! `docs/CONNECTORS.md` guarantees of each pair holds.

use std::ops::Range;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::program::Running;

mod served;
mod world;

use world::{
    KILLS, KINDS, MORE, MOVED_MAX, World, address, check_heard, check_killed, is_gzip, length, number, recorded,
    write_file,
};

/// So many bytes more for each event that goes into a file of gzip members, so that it has many of them.
const PADDING: usize = 500;

#[test]
fn a_file_goes_into_a_stream_exactly_once() {
    for (seed, kind) in (1..).zip(KINDS) {
        let mut world = World::new(seed);
        let path = world.path(kind);
        let (from, mut amid) = (address(&path), 0);
        for round in 0..KILLS {
            write_file(&path, round * MORE..(round + 1) * MORE);
            let wanted = world.next("a") + world.one_to(MOVED_MAX);
            let arguments = [&from, "log:a", "--name", "import", "--follow"];
            world.killed(round, &arguments, |world| world.next("a") >= wanted);
            amid += u64::from(world.next("a") < (round + 1) * MORE);
        }
        eprintln!("{kind}: {amid} of {KILLS} kills came before all there was had moved");
        world.finish(&[&from, "log:a", "--name", "import"]);
        assert!(world.stored("a") == (0..KILLS * MORE).collect::<Vec<_>>(), "{kind}: each once, in order");
    }
}

#[test]
fn a_stream_goes_into_a_file_exactly_once() {
    for (seed, kind) in (11..).zip(KINDS) {
        let mut world = World::new(seed);
        let path = world.path(kind);
        let to = address(&path);
        for round in 0..KILLS {
            world.fill(round * MORE..(round + 1) * MORE, if is_gzip(&path) { PADDING } else { 0 });
            // Members come whole, lines batch by batch.
            let more = world.one_to(if is_gzip(&path) { 20_000 } else { 200_000 });
            let wanted = length(&path) + more;
            world.killed(round, &["log:a", &to, "--follow"], |_| length(&path) >= wanted);
        }
        world.finish(&["log:a", &to]);
        assert!(recorded(&path) == (0..KILLS * MORE).collect::<Vec<_>>(), "{kind}: each once, in order");
    }
}

#[test]
fn a_stream_goes_into_another_exactly_once() {
    let mut world = World::new(21);
    for round in 0..KILLS {
        world.fill(round * MORE..(round + 1) * MORE, 0);
        let wanted = world.next("b") + world.one_to(MOVED_MAX);
        let arguments = ["log:a", "log:b?create", "--name", "copy", "--follow"];
        world.killed(round, &arguments, |world| world.next("b") >= wanted);
    }
    world.finish(&["log:a", "log:b?create", "--name", "copy"]);
    assert!(world.stored("b") == (0..KILLS * MORE).collect::<Vec<_>>(), "each once, in order");
}

#[test]
fn a_stream_is_published_at_least_once() {
    let mut world = World::new(31);
    let heard = world.hear("n");
    let highest = |_: &mut World| heard.numbers().iter().max().map_or(0, |highest| highest + 1);
    for round in 0..KILLS {
        world.fill(round * MORE..(round + 1) * MORE, 0);
        let wanted = highest(&mut world) + world.one_to(MOVED_MAX);
        world.killed(round, &["log:a", "bus:", "--name", "play", "--follow"], |world| highest(world) >= wanted);
    }
    world.finish(&["log:a", "bus:", "--name", "play"]);
    world.until_served("the last", |world| highest(world) == KILLS * MORE);
    let mut next = 0;
    for number in heard.numbers().iter() {
        assert!(*number <= next, "{number} came, and {next} was left out");
        next = next.max(number + 1);
    }
    assert_eq!(world.mark("a", "play")["position"].as_str(), Some((KILLS * MORE).to_string().as_str()));
}

#[test]
fn a_file_is_played_from_its_beginning_each_time() {
    let mut world = World::new(41);
    let path = world.path(KINDS[0]);
    let from = address(&path);
    write_file(&path, 0..KILLS * MORE);
    for round in 0..KILLS {
        // A subject for each run, since what was killed may still be on its way.
        let subject = format!("run.{round}");
        let (heard, wanted) = (world.hear(&subject), world.one_to(MOVED_MAX) as usize);
        let to = format!("bus:{subject}");
        world.killed(round, &[&from, &to, "--name", "play"], |_| heard.numbers().len() >= wanted);
        let numbers = heard.numbers();
        assert!(*numbers == (0..numbers.len() as u64).collect::<Vec<_>>(), "in order, from the beginning");
    }
    let heard = world.hear("run.last");
    world.finish(&[&from, "bus:run.last", "--name", "play"]);
    world.until_served("the last", |_| heard.numbers().len() as u64 >= KILLS * MORE);
    assert!(*heard.numbers() == (0..KILLS * MORE).collect::<Vec<_>>(), "in order, from the beginning");
}

#[test]
fn lines_that_were_read_are_stored_once() {
    let mut world = World::new(51);
    let arguments = ["stdin:?format=raw", "log:a", "--name", "lines"];
    for round in 0..KILLS {
        let lines: String = (0..MORE).map(|number| format!("{}\n", round * MORE + number)).collect();
        // What the one before had sent may be stored only now; so a line of this one is waited for.
        let wanted = round * MORE + world.one_to(MORE as usize) - 1;
        let mut running = world.connect(round, &arguments);
        running.feed_and_keep(lines.as_bytes());
        world.until(&mut running, |world| world.newest("a") >= Some(wanted));
        running.signal(Signal::KILL);
        check_killed(running);
        assert!(world.newest("a") >= Some(wanted), "what was stored stays");
    }
    let mut running = world.connect(0, &arguments);
    let last = KILLS * MORE;
    running.feed(format!("{last}\n").as_bytes());
    assert!(running.end().status.success());
    let stored = world.stored("a");
    // Of each run the lines from its first on, as far as they were stored.
    let begins: Vec<u64> = (0..=KILLS).map(|round| round * MORE).collect();
    check_heard(&stored, &begins);
    assert!(begins.iter().all(|begin| stored.binary_search(begin).is_ok()), "each run has stored something");
    assert_eq!(stored.last(), Some(&last));
}

#[test]
fn events_are_written_out_at_least_once() {
    let mut world = World::new(61);
    let (mut next, mut again) = (0, 0);
    let mut take = |line: &[u8]| {
        let number = number(line).expect("no probe");
        assert!(number <= next, "{number} came, and {next} was left out");
        again += u64::from(number < next);
        next = next.max(number + 1);
        next
    };
    let mut reached = 0;
    for round in 0..KILLS {
        world.fill(round * MORE..(round + 1) * MORE, 0);
        let wanted = reached + world.one_to(MOVED_MAX);
        let mut running = world.connect(round, &["log:a", "stdout:?format=raw", "--name", "show", "--follow"]);
        while reached < wanted {
            reached = take(running.line().as_bytes());
        }
        running.signal(Signal::KILL);
        let rest = running.end().stdout;
        // The last line may be half a one.
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        rest[..whole].split_inclusive(|byte| *byte == b'\n').for_each(|line| reached = take(line));
    }
    let ended = world.connect(0, &["log:a", "stdout:?format=raw", "--name", "show"]).end();
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout.split_inclusive(|byte| *byte == b'\n').for_each(|line| reached = take(line));
    assert_eq!(reached, KILLS * MORE);
    eprintln!("{again} events were written again");
}

/// Where a connector keeps what it hears.
enum Kept {
    Stream,
    File(PathBuf),
}

impl Kept {
    /// How much there is.
    fn size(&self, world: &World) -> u64 {
        match self {
            Self::Stream => world.next("a"),
            Self::File(path) => length(path),
        }
    }

    /// The number that was kept last.
    fn newest(&self, world: &World) -> Option<u64> {
        match self {
            Self::Stream => world.newest("a"),
            Self::File(path) => recorded(path).last().copied(),
        }
    }

    /// How much more there is to be before a kill.
    fn more(&self, world: &mut World) -> u64 {
        match self {
            Self::Stream => world.one_to(MOVED_MAX),
            // Members come whole, five times in a second at least.
            Self::File(path) if is_gzip(path) => 1,
            Self::File(_) => world.one_to(100_000),
        }
    }
}

/// Numbers that are published at one time.
const PUBLISHED: u64 = 100;

/// Publishes until what was published from `first` on is kept. The server does not know at once that a killed connector
/// hears nothing any more, so no receipt tells whether the next one listens.
fn publish_until_heard(world: &mut World, running: &mut Running, kept: &Kept, first: u64) -> u64 {
    let (mut next, mut seen) = (first, kept.size(world));
    world.until(running, |world| {
        world.publish(next..next + PUBLISHED);
        next += PUBLISHED;
        let is_other = std::mem::replace(&mut seen, kept.size(world)) != seen;
        is_other && kept.newest(world) >= Some(first)
    });
    next
}

/// What is heard by a connector while it is killed again and again. Gives the numbers that were to be published next at
/// each kill, and which of those after the last one must have been heard.
fn record(world: &mut World, arguments: &[&str], kept: &Kept) -> (Vec<u64>, Range<u64>) {
    let (mut next, mut killed_at) = (0, Vec::new());
    for round in 0..KILLS {
        let mut running = world.connect(round, arguments);
        next = publish_until_heard(world, &mut running, kept, next);
        let (wanted, first) = (kept.size(world) + kept.more(world), next);
        world.until(&mut running, |world| {
            // Not far ahead, so that nothing has to be dropped.
            if next < first + MORE {
                world.publish(next..next + PUBLISHED);
                next += PUBLISHED;
            }
            kept.size(world) >= wanted
        });
        running.signal(Signal::KILL);
        check_killed(running);
        assert!(kept.size(world) >= wanted, "what was kept stays");
        killed_at.push(next);
    }
    let mut running = world.connect(0, arguments);
    let first = publish_until_heard(world, &mut running, kept, next);
    let last = first..first + MORE;
    world.publish(last.clone());
    world.until(&mut running, |world| kept.newest(world) == Some(last.end - 1));
    running.signal(Signal::INT);
    let ended = running.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    (killed_at, last)
}

#[test]
fn what_is_heard_goes_into_a_stream_once() {
    let mut world = World::new(71);
    let arguments = ["bus:n.*", "log:a", "--name", "record"];
    let (killed_at, last) = record(&mut world, &arguments, &Kept::Stream);
    let stored = world.stored("a");
    check_heard(&stored, &killed_at);
    assert!(stored.ends_with(&last.collect::<Vec<_>>()), "all that was heard while nothing was killed");
    let mark = world.mark("a", "record");
    assert_eq!(mark["count"].as_u64(), Some(world.next("a")), "{mark}");
    assert!(mark["uncounted"].as_u64() >= Some(1), "a run that was interrupted is told: {mark}");
}

#[test]
fn what_is_heard_goes_into_a_file_once() {
    for (seed, kind) in (81..).zip(KINDS) {
        let mut world = World::new(seed);
        let path = world.path(kind);
        let (killed_at, last) = record(&mut world, &["bus:n.*", &address(&path)], &Kept::File(path.clone()));
        let recorded = recorded(&path);
        check_heard(&recorded, &killed_at);
        assert!(recorded.ends_with(&last.collect::<Vec<_>>()), "{kind}: all that was heard while nothing was killed");
    }
}
