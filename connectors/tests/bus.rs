//! The bus into files and back, over a server in memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sinew_bus::{Bus, Delivery, Headers, PublishOptions, Subject};
use sinew_connectors::{
    Connection, ConnectionOptions, Context, Error, Item, Progress, Registry, Speed, Stop, blocking, replay_file,
    stream_from_file, stream_to_file,
};
use sinew_testkit::memory;
use sinew_testkit::setup::soon;

const KINDS: [&str; 2] = ["heard.jsonl", "heard.jsonl.gz"];

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

/// Starts what stands between two addresses.
fn start(
    bus: &Bus,
    from: &str,
    to: &str,
) -> (Stop, tokio::sync::watch::Receiver<Progress>, tokio::task::JoinHandle<sinew_connectors::Result<Progress>>) {
    let context = Context { bus: Some(bus.clone()), ..Context::default() };
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    let registry = Registry::linked().unwrap();
    let connection = Connection::between(&registry, &from, &to, &context, ConnectionOptions::default()).unwrap();
    let (stop, progress) = (connection.stopper(), connection.progress());
    (stop, progress, tokio::spawn(connection.run()))
}

async fn publish_numbers(bus: &Bus, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let headers = Headers::default().with("number", number.to_string()).unwrap();
        let options = PublishOptions { headers, retain: false };
        bus.publish_with(&subject(&format!("n.{}", number % 3)), number.to_string(), &options).await.unwrap();
    }
    bus.flush().await.unwrap();
}

fn numbers(items: &[Item]) -> Vec<u64> {
    let number = |item: &Item| {
        let text = std::str::from_utf8(&item.payload).unwrap();
        assert_eq!(item.subject.as_ref().unwrap().as_str(), format!("n.{}", text.parse::<u64>().unwrap() % 3));
        assert_eq!(item.headers.get("number"), Some(text.as_bytes()));
        assert!(item.timestamp.is_some());
        text.parse().unwrap()
    };
    items.iter().map(number).collect()
}

fn read(path: &Path) -> Vec<Item> {
    stream_from_file(path).map(Result::unwrap).collect()
}

fn in_a_folder(kind: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(kind);
    (folder, path)
}

#[tokio::test]
async fn what_is_published_is_recorded_and_read_again_with_its_times() {
    for kind in KINDS {
        let (_folder, path) = in_a_folder(kind);
        let (_server, bus) = memory::bus().await;
        for part in 0..3 {
            let recording = stream_to_file(&bus, &"n.*".parse().unwrap(), &path).await.unwrap();
            publish_numbers(&bus, part * 500..(part + 1) * 500).await;
            bus.publish(&subject("other"), "unheard").await.unwrap();
            bus.flush().await.unwrap();
            soon("recording", recording.watch().wait_for(|progress| progress.moved == 500)).await.unwrap();
            assert_eq!(recording.stop().await.unwrap().moved, 500);
        }
        let items = read(&path);
        assert_eq!(numbers(&items), (0..1_500).collect::<Vec<_>>());
        assert!(items.is_sorted_by_key(|item| item.timestamp));
    }
}

#[tokio::test]
async fn a_recording_is_played_to_the_bus_again() {
    for kind in KINDS {
        let (_folder, path) = in_a_folder(kind);
        let (_server, bus) = memory::bus().await;
        let (stop, mut progress, task) = start(&bus, "bus:n.*", &format!("file:{}", path.display()));
        soon("starting", progress.wait_for(|progress| progress.phase == sinew_connectors::Phase::Moving))
            .await
            .unwrap();
        publish_numbers(&bus, 0..1_000).await;
        soon("recording", progress.wait_for(|progress| progress.confirmed == 1_000)).await.unwrap();
        stop.stop();
        task.await.unwrap().unwrap();

        let mut again = bus.subscribe(&"n.*".parse().unwrap()).await.unwrap();
        for speed in [None, Some(Speed::new(1e6).unwrap())] {
            let progress = replay_file(&bus, &path, speed).await.unwrap();
            assert_eq!((progress.moved, progress.lag()), (1_000, Some(0)));
            for number in 0..1_000_u64 {
                let Some(Delivery::Message(message)) = soon("hearing", again.next()).await else { panic!("a message") };
                assert_eq!(message.body, number.to_string());
                assert_eq!(message.headers.get("number"), Some(number.to_string().as_bytes()));
            }
        }
        // To one subject, with what the bus does not carry as headers.
        let mut one = bus.subscribe(&"one".parse().unwrap()).await.unwrap();
        start(&bus, &format!("file:{}", path.display()), "bus:one?stamp").2.await.unwrap().unwrap();
        let Some(Delivery::Message(message)) = soon("hearing", one.next()).await else { panic!("a message") };
        assert!(message.headers.get("sinew-timestamp").is_some() && message.headers.get("sinew-offset").is_none());
    }
}

#[tokio::test]
async fn an_item_without_a_subject_cannot_be_published_and_is_named() {
    let (_folder, path) = in_a_folder(KINDS[0]);
    std::fs::write(&path, "{\"subject\":\"a\",\"payload\":\"1\"}\n{\"payload\":\"2\"}\n").unwrap();
    let (_server, bus) = memory::bus().await;
    let error = replay_file(&bus, &path, None).await.unwrap_err();
    assert_eq!(error.to_string(), "item 2 has no subject, so it cannot be published; name one, as in bus:SUBJECT");
    assert!(matches!(error, Error::NoSubject { item: 2 }));
    let error = replay_file(&bus, path.with_extension("missing"), None).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.ends_with("heard.missing"), "{error}");
}

#[test]
fn without_a_runtime_it_is_the_same() {
    let (_folder, path) = in_a_folder(KINDS[1]);
    let (_server, bus) = memory::bus_of_its_own();
    let bus = sinew_bus::blocking::Bus::new(bus);
    let recording = blocking::stream_to_file(&bus, &"n.*".parse().unwrap(), &path).unwrap();
    for number in 0..100_u64 {
        let headers = Headers::default().with("number", number.to_string()).unwrap();
        let options = PublishOptions { headers, retain: false };
        bus.publish_with(&subject(&format!("n.{}", number % 3)), number.to_string(), &options).unwrap();
    }
    let begun = std::time::Instant::now();
    while recording.progress().moved < 100 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    assert_eq!(recording.stop().unwrap().moved, 100);
    assert_eq!(numbers(&read(&path)), (0..100).collect::<Vec<_>>());

    let mut again = bus.subscribe(&"n.*".parse().unwrap()).unwrap();
    assert_eq!(blocking::replay_file(&bus, &path, None).unwrap().moved, 100);
    for number in 0..100_u64 {
        let Some(Delivery::Message(message)) = again.receive().unwrap() else { panic!("a message") };
        assert_eq!(message.body, number.to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inside = runtime.block_on(async { blocking::replay_file(&bus, &path, None).unwrap_err().to_string() });
    assert!(inside.contains("async runtime"), "{inside}");
}
