//! Faults of `mem`: what they do, that order within a lane holds all the same, and that a seed gives them again.
//!
//! Runs with tokio's clock paused: hours of stalls and delays take no time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_transport_api::auth::AdmitEveryone;
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Endpoint, Error, Faults, Lane, LaneSet, ListenOptions, Listener, Mem, Security,
    Transport,
};
use tokio::time::{Instant, timeout};

const HOUR: Duration = Duration::from_secs(3600);

struct Ends {
    mem: Mem,
    listener: Box<dyn Listener>,
    client: Connection,
    server: Connection,
}

async fn ends(mem: Mem) -> Ends {
    let endpoint = endpoint();
    let options = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    let mut listener = mem.bind(&endpoint, &options).await.expect("the name is free");
    let (client, server) = connect(&mem, &mut listener).await;
    Ends { mem, listener, client, server }
}

fn endpoint() -> Endpoint {
    "mem://here".parse().expect("a good endpoint")
}

async fn connect(mem: &Mem, listener: &mut Box<dyn Listener>) -> (Connection, Connection) {
    let options = ConnectOptions::new(Security::Plaintext, None);
    let mut client = mem.connect(&endpoint(), &options).await.expect("somebody listens");
    let mut server = listener.accept().await.expect("somebody connects");
    client.sender.open_lanes(4).expect("four lanes");
    server.sender.open_lanes(4).expect("four lanes");
    (client, server)
}

fn send(connection: &mut Connection, lane: u8, text: &str) {
    let mut block = Block::from(Bytes::copy_from_slice(text.as_bytes()));
    assert!(connection.sender.try_send(Lane(lane), &mut block).expect("it can be sent"), "there is room");
}

async fn hear(connection: &mut Connection) -> Option<(u8, String)> {
    let (lane, bytes) = timeout(HOUR, connection.receiver.recv()).await.ok()?.expect("it lives")?;
    Some((lane.0, String::from_utf8(bytes.to_vec()).expect("text")))
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_lost_at_both_ends_and_new_connections_are_made() {
    let mut ends = ends(Mem::default()).await;
    let faults = ends.mem.faults("here");
    send(&mut ends.client, 0, "gone");
    assert_eq!((faults.connections(), faults.cut(), faults.connections()), (1, 1, 0));
    for end in [&mut ends.client, &mut ends.server] {
        assert!(matches!(end.receiver.recv().await, Err(Error::Lost { .. })));
        assert!(matches!(end.sender.ready(LaneSet::from(Lane(0))).await, Err(Error::Lost { .. })));
        assert!(matches!(end.sender.close().await, Err(Error::Lost { .. })));
    }
    let (mut client, mut server) = connect(&ends.mem, &mut ends.listener).await;
    send(&mut client, 0, "back");
    assert_eq!(hear(&mut server).await, Some((0, "back".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_cut_wakes_those_who_wait() {
    let mut ends = ends(Mem::default()).await;
    let faults = ends.mem.faults("here");
    let waiting = tokio::spawn(async move { ends.server.receiver.recv().await });
    tokio::task::yield_now().await;
    faults.cut();
    let heard = timeout(HOUR, waiting).await.expect("it is woken").expect("no panic");
    assert!(matches!(heard, Err(Error::Lost { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_down_lets_nobody_in() {
    let mut ends = ends(Mem::default()).await;
    let faults = ends.mem.faults("here");
    faults.down();
    let options = ConnectOptions::new(Security::Plaintext, None);
    let error = ends.mem.connect(&endpoint(), &options).await.expect_err("it is down");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(matches!(ends.client.receiver.recv().await, Err(Error::Lost { .. })));
    faults.up();
    connect(&ends.mem, &mut ends.listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_lane_holds_up_no_other() {
    let mut ends = ends(Mem::default()).await;
    let faults = ends.mem.faults("here");
    faults.stall(LaneSet::from(Lane(1)));
    send(&mut ends.client, 1, "held");
    send(&mut ends.client, 2, "free");
    assert_eq!(hear(&mut ends.server).await, Some((2, "free".to_owned())));
    assert_eq!(hear(&mut ends.server).await, None, "nothing more comes within an hour");
    faults.resume();
    assert_eq!(hear(&mut ends.server).await, Some((1, "held".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_stall_holds_for_connections_to_come_and_for_close() {
    let mut ends = ends(Mem::default()).await;
    let faults = ends.mem.faults("here");
    faults.stall(LaneSet::first(4));
    let (mut client, mut server) = connect(&ends.mem, &mut ends.listener).await;
    send(&mut client, 0, "held");
    let closing = tokio::spawn(async move { client.sender.close().await });
    assert_eq!(timeout(Duration::from_secs(1), server.receiver.recv()).await.ok().map(|_| ()), None);
    faults.resume();
    assert_eq!(hear(&mut server).await, Some((0, "held".to_owned())));
    assert_eq!(hear(&mut server).await, None, "the end in order");
    closing.await.expect("no panic").expect("closed in order");
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time_and_keeps_the_order_of_a_lane() {
    let mut ends = ends(Mem::default()).await;
    let range = Duration::from_millis(50)..Duration::from_millis(150);
    ends.mem.faults("here").follow(Faults { seed: 3, delay: range.clone(), ..Faults::default() });
    let start = Instant::now();
    for number in 0..100 {
        send(&mut ends.client, number % 4, &number.to_string());
    }
    let mut next = [0, 1, 2, 3];
    let mut overtook = false;
    for number in 0..100 {
        let (lane, text) = hear(&mut ends.server).await.expect("all arrive");
        assert_eq!(text, next[usize::from(lane)].to_string(), "order holds within lane {lane}");
        next[usize::from(lane)] += 4;
        overtook |= text != number.to_string();
        assert!(start.elapsed() >= range.start, "a block was faster than the delay");
    }
    assert!(overtook, "lanes with different delays overtake each other");
    // A timer of tokio's goes off up to a millisecond late.
    assert!(start.elapsed() <= range.end + Duration::from_millis(2), "took {:?}", start.elapsed());
}

/// What arrives over two connections, with the time since the start, up to the cut.
async fn story(seed: u64) -> Vec<String> {
    let mut ends = ends(Mem::default()).await;
    ends.mem.faults("here").follow(Faults {
        seed,
        cut_per_block: 0.01,
        stall_per_block: 0.05,
        stall_for: Duration::from_secs(1)..Duration::from_secs(60),
        delay: Duration::ZERO..Duration::from_millis(20),
        reorder_lanes: true,
    });
    let second = connect(&ends.mem, &mut ends.listener).await;
    let mut story = Vec::new();
    let start = Instant::now();
    for (mut client, mut server) in [(ends.client, ends.server), second] {
        for number in 0..300 {
            let mut block = Block::from(Bytes::from(format!("block {number}")));
            match client.sender.try_send(Lane(number as u8 % 4), &mut block) {
                Ok(true) => {}
                other => story.push(format!("{number}: {other:?}")),
            }
            if number % 3 == 0 {
                let heard = timeout(Duration::from_millis(30), server.receiver.recv()).await;
                story.push(format!("{:?} {heard:?}", start.elapsed()));
            }
        }
    }
    story
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_story_again() {
    let (one, again, other) = (story(1).await, story(1).await, story(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.iter().any(|line| line.contains("Lost")), "1 % of 600 blocks cut a connection");
    assert!(one.iter().any(|line| line.contains("Elapsed")), "5 % of blocks stall a lane");
}

#[tokio::test(start_paused = true)]
async fn reordered_lanes_overtake_each_other_and_keep_their_own_order() {
    let mut ends = ends(Mem::default()).await;
    ends.mem.faults("here").follow(Faults { seed: 5, reorder_lanes: true, ..Faults::default() });
    for number in 0..100u8 {
        send(&mut ends.client, number % 4, &number.to_string());
    }
    let mut heard = Vec::new();
    for _ in 0..100 {
        heard.push(hear(&mut ends.server).await.expect("all arrive"));
    }
    for lane in 0..4u8 {
        let of_lane: Vec<&str> = heard.iter().filter(|(of, _)| *of == lane).map(|(_, text)| text.as_str()).collect();
        assert_eq!(of_lane, (lane..100).step_by(4).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    assert!(heard.iter().enumerate().any(|(place, (_, text))| *text != place.to_string()));
}

#[tokio::test]
async fn each_mem_is_a_world_of_its_own_and_shared_is_one() {
    let _here = ends(Mem::default()).await;
    let options = ConnectOptions::new(Security::Plaintext, None);
    let elsewhere = Mem::default().connect(&endpoint(), &options).await;
    assert!(matches!(elsewhere, Err(Error::Unreachable { .. })));
    let listen = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    let one: Endpoint = "mem://shared-by-all".parse().expect("a good endpoint");
    let _listener = Mem::shared().bind(&one, &listen).await.expect("the name is free");
    let taken = Mem::shared().bind(&one, &listen).await;
    assert!(matches!(taken, Err(Error::AddressInUse { .. })));
}

#[tokio::test]
async fn an_endpoint_that_makes_no_sense_is_refused() {
    let options = ConnectOptions::new(Security::Plaintext, None);
    for (url, text) in [
        ("mem://name:7", "`mem://name:7` does not fit its transport: a name within the process has no port"),
        ("mem://name?speed=9", "`mem` has no option `speed=9`; it knows none"),
    ] {
        let error = Mem::default().connect(&url.parse().expect("a URL"), &options).await.expect_err("no sense");
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_whose_queue_is_full_makes_others_wait() {
    let mut listen = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    listen.limits.pending_max = 2;
    let mem = Mem::default();
    let mut listener = mem.bind(&endpoint(), &listen).await.expect("the name is free");
    let options = ConnectOptions::new(Security::Plaintext, None);
    let _one = mem.connect(&endpoint(), &options).await.expect("the first place in the queue");
    let _two = mem.connect(&endpoint(), &options).await.expect("the second");
    let error = mem.connect(&endpoint(), &options).await.expect_err("the queue is full");
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    let third = tokio::spawn({
        let (mem, options) = (mem.clone(), options.clone());
        async move { mem.connect(&endpoint(), &options).await }
    });
    listener.accept().await.expect("the first");
    third.await.expect("no panic").expect("there is a place now");
}
