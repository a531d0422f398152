//! More streams than the engine keeps open: who appended once keeps nobody else out.

use std::sync::Arc;

use sinew_eventsource::{EngineOptions, GroupOptions, JournalEngine, LogLimits, Position, ReadLimits, StreamConfig};
use sinew_session::ResourceName;
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};

#[tokio::test]
async fn groups_without_members_make_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = EngineOptions::default();
    options.streams_open_max = 2;
    let engine = Arc::new(JournalEngine::open(folder.path(), options).expect("opened"));
    let net = Net::default();
    let mut setup = Setup::on(&net, "wide://here");
    let _server = setup.serve_log_on(engine, LogLimits::default()).await;
    let log = setup.log(0).await;
    let names: Vec<ResourceName> = (0..5).map(|number| format!("s{number}").parse().expect("a name")).collect();
    let (small, crew) = (StreamConfig { segment_bytes_max: 64 << 10, ..StreamConfig::default() }, "crew".parse());
    let crew = crew.expect("a name");
    for round in 0..3 {
        for name in &names {
            soon("a stream", log.create(name, &small)).await.expect("made");
            soon("an append", log.append(name, "event")).await.expect("stored");
            let mut member =
                soon("joining", log.join(name, &crew, GroupOptions::default())).await.expect("there is room");
            let event = soon("an event", member.next()).await.expect("there");
            assert_eq!(event.offset, round, "{name}");
            member.ack(&event);
            soon("leaving", member.leave()).await.expect("left");
        }
    }
    for name in &names {
        assert_eq!(soon("a group", log.group(name, &crew)).await.expect("there").offset, 3, "{name}");
    }
}

#[tokio::test]
async fn streams_that_are_only_kept_for_the_next_append_make_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = EngineOptions::default();
    options.streams_open_max = 2;
    let engine = Arc::new(JournalEngine::open(folder.path(), options).expect("opened"));
    let net = Net::default();
    let mut setup = Setup::on(&net, "wide://here");
    let _server = setup.serve_log_on(engine, LogLimits::default()).await;
    let (alice, bob) = (setup.log(0).await, setup.log(1).await);
    let names: Vec<ResourceName> = (0..5).map(|number| format!("s{number}").parse().expect("a name")).collect();
    let small = StreamConfig { segment_bytes_max: 64 << 10, ..StreamConfig::default() };
    for name in &names {
        soon("a stream", alice.create(name, &small)).await.expect("made");
        soon("an append", alice.append(name, "once")).await.expect("stored");
    }
    let limits = ReadLimits { bytes_max: 1 << 20, events_max: 10 };
    for name in &names {
        let read = soon("a read", bob.read(name, Position::Start, limits)).await.expect("there is room");
        assert_eq!(read.events.len(), 1, "{name}");
    }
    for name in &names {
        let appended = soon("an append", alice.append(name, "twice")).await.expect("the door opens again");
        assert_eq!(appended.first, 1, "{name}");
    }
}
