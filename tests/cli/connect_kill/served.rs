//! The connectors of a server, all in one, which is killed with them again and again: one of them after the other is
//! watched, and the kill comes once it has moved something.

use std::path::PathBuf;

use super::world::{
    Heard, KILLS, KINDS, MORE, MOVED_MAX, World, address, check_heard, is_gzip, length, recorded, write_file,
};

/// Where things are, and how far they have come.
struct Places {
    /// Files that go into streams.
    read: [PathBuf; 2],
    /// A file that is played from its first line on each start.
    replayed: PathBuf,
    /// Files that the stream `a` goes into.
    archived: [PathBuf; 2],
    /// Files that what is heard goes into.
    heard: [PathBuf; 2],
}

/// What is watched in a round.
#[derive(Clone, Copy, Debug)]
enum Watched {
    Stream(&'static str),
    Archived(usize),
    HeardFile(usize),
    Played,
    Replayed,
}

const WATCHED: [Watched; 10] = [
    Watched::Stream("from-file-0"),
    Watched::Stream("from-file-1"),
    Watched::Stream("copy"),
    Watched::Stream("heard"),
    Watched::Archived(0),
    Watched::Archived(1),
    Watched::HeardFile(0),
    Watched::HeardFile(1),
    Watched::Played,
    Watched::Replayed,
];
/// Who hears what is published: a stream and two files.
const LISTENERS: u64 = 3;
/// Numbers that the file that is played on each start has at first. All of them may have gone by before anybody listens.
const REPLAYED: u64 = 20_000;

impl Places {
    fn new(world: &World) -> Self {
        let places = |what: &str| KINDS.map(|kind| world.path(&format!("{what}-{kind}")));
        let replayed = world.path("replayed.jsonl");
        Self { read: places("read"), replayed, archived: places("archived"), heard: places("heard") }
    }

    fn config(&self) -> String {
        let connector =
            |name: &str, from: &str, to: &str| format!("[connector.{name}]\nfrom = \"{from}\"\nto = \"{to}\"\n\n");
        let mut text = connector("copy", "log:a", "log:copy?create")
            + &connector("record", "bus:n.*", "log:heard?create")
            + &connector("play", "log:a", "bus:played")
            + &connector("replay", &address(&self.replayed), "bus:replayed");
        for kind in 0..KINDS.len() {
            let stream = format!("log:from-file-{kind}?create");
            text += &connector(&format!("import-{kind}"), &address(&self.read[kind]), &stream);
            text += &connector(&format!("archive-{kind}"), "log:a", &address(&self.archived[kind]));
            text += &connector(&format!("listen-{kind}"), "bus:n.*", &address(&self.heard[kind]));
        }
        text
    }
}

/// What is heard in one life of the server.
struct Life {
    played: Heard,
    replayed: Heard,
}

impl Life {
    fn begin(world: &World) -> Self {
        Self { played: world.hear("played"), replayed: world.hear("replayed") }
    }

    /// How much of it there is.
    fn size(&self, world: &World, places: &Places, watched: Watched) -> u64 {
        match watched {
            Watched::Stream(stream) => world.next(stream),
            Watched::Archived(kind) => length(&places.archived[kind]),
            Watched::HeardFile(kind) => length(&places.heard[kind]),
            Watched::Played => self.played.numbers().len() as u64,
            Watched::Replayed => self.replayed.numbers().len() as u64,
        }
    }

    /// Whoever listens late misses the first; from then on all come in order.
    fn check(&self) {
        for heard in [&self.played, &self.replayed] {
            assert!(heard.numbers().windows(2).all(|pair| pair[1] == pair[0] + 1), "in order, and nothing left out");
        }
    }
}

#[test]
fn a_server_that_is_killed_with_its_connectors_goes_on_where_each_was() {
    let mut world = World::new(91);
    let places = Places::new(&world);
    write_file(&places.replayed, 0..REPLAYED);
    places.read.iter().for_each(|path| write_file(path, 0..1));
    world.stop();
    std::fs::write(world.home.path("connectors.toml"), places.config()).unwrap();
    let (mut published, mut killed_at) = (0, Vec::new());
    for round in 0..KILLS {
        world.start();
        let life = Life::begin(&world);
        world.until_heard_by(LISTENERS);
        let watched = WATCHED[round as usize % WATCHED.len()];
        // Before there is more to move, so that there will be so much.
        let wanted = life.size(&world, &places, watched) + more(&mut world, &places, watched);
        places.read.iter().for_each(|path| write_file(path, 1 + round * MORE..1 + (round + 1) * MORE));
        write_file(&places.replayed, REPLAYED + round * MORE..REPLAYED + (round + 1) * MORE);
        world.fill(round * MORE..(round + 1) * MORE, 0);
        let first = published;
        world.until_served(&format!("{watched:?}, {wanted},"), |world| {
            if published < first + MORE {
                world.publish(published..published + 100);
                published += 100;
            }
            life.size(world, &places, watched) >= wanted
        });
        world.kill();
        life.check();
        killed_at.push(published);
    }
    finish(&mut world, &places, published, &killed_at);
}

/// How much more there must be of it before the kill.
fn more(world: &mut World, places: &Places, watched: Watched) -> u64 {
    match watched {
        Watched::Archived(kind) if is_gzip(&places.archived[kind]) => 1,
        Watched::HeardFile(kind) if is_gzip(&places.heard[kind]) => 1,
        Watched::Archived(_) | Watched::HeardFile(_) => world.one_to(100_000),
        _ => world.one_to(MOVED_MAX),
    }
}

/// Lets them all come to the end of what there is, and looks at all of it.
fn finish(world: &mut World, places: &Places, published: u64, killed_at: &[u64]) {
    let (events, lines, replayed) = ((KILLS + 1) * MORE, 1 + KILLS * MORE, REPLAYED + (KILLS + 1) * MORE);
    world.start();
    let life = Life::begin(world);
    write_file(&places.replayed, replayed - MORE..replayed);
    world.fill(KILLS * MORE..events, 0);
    world.until_heard_by(LISTENERS);
    world.publish(published..published + MORE);
    let last = |heard: &Heard| heard.numbers().last().copied();
    for (stream, newest) in
        [("from-file-0", lines - 1), ("from-file-1", lines - 1), ("copy", events - 1), ("heard", published + MORE - 1)]
    {
        world.until_served(&format!("the last of {stream}"), |world| world.newest(stream) == Some(newest));
    }
    world.until_served("the last that is played", |_| last(&life.played) == Some(events - 1));
    world.until_served("the last that is replayed", |_| last(&life.replayed) == Some(replayed - 1));
    life.check();
    for kind in 0..KINDS.len() {
        let (archived, heard) = (&places.archived[kind], &places.heard[kind]);
        world.until_served("the last of an archive", |_| recorded(archived).last() == Some(&(events - 1)));
        world.until_served("the last in a file", |_| recorded(heard).last() == Some(&(published + MORE - 1)));
    }
    // As many were published, again or not, as the place says: none was left out.
    let mark = |world: &World| world.mark("a", "play");
    world.until_served("the last mark", |world| mark(world)["position"].as_str() == Some(&events.to_string()));
    assert_eq!(mark(world)["count"].as_u64(), Some(events));
    for stream in ["from-file-0", "from-file-1"] {
        assert!(world.stored(stream) == (0..lines).collect::<Vec<_>>(), "{stream}: each once, in order");
    }
    assert!(world.stored("copy") == (0..events).collect::<Vec<_>>(), "copy: each once, in order");
    check_heard(&world.stored("heard"), killed_at);
    let mark = world.mark("heard", "record");
    assert!(mark["uncounted"].as_u64() >= Some(1), "a run that was interrupted is told: {mark}");
    world.stop();
    for kind in 0..KINDS.len() {
        let archived = recorded(&places.archived[kind]);
        assert!(archived == (0..events).collect::<Vec<_>>(), "{:?}: each once, in order", places.archived[kind]);
        check_heard(&recorded(&places.heard[kind]), killed_at);
    }
}
