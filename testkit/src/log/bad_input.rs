//! Bad input: each its own clear error, word for word.

use sinew_eventsource::{AppendOptions, FollowOptions, GroupOptions, GroupSettings, NewEvent, Position, StreamConfig};
use sinew_session::ResourceName;

use super::{LIMITS, name};
use crate::setup::{Setup, soon};

#[track_caller]
fn check<T: std::fmt::Debug, E: std::fmt::Display + std::fmt::Debug>(refused: Result<T, E>, words: &str) {
    assert_eq!(refused.expect_err("it is refused").to_string(), words);
}

/// What cannot be is refused with what is wrong and what to do.
///
/// # Panics
/// If it is not so.
pub async fn bad_input(setup: &Setup) {
    let log = setup.log(0).await;
    let (none, orders) = (name("none"), name("orders"));
    check(
        ResourceName::try_from("a.b"),
        "`a.b` cannot name a queue, bucket or stream: it contains `.`, and it must be one token that can also be a \
         folder; use `-` or `_`",
    );
    let unknown = "there is no stream `none`; create it with `sinew log create none`, or see `sinew log list`";
    check(soon("an append", log.append(&none, "x")).await, unknown);
    check(soon("a page", log.read(&none, Position::Start, LIMITS)).await, unknown);
    check(soon("a follow", log.follow(&none, Position::Start, FollowOptions::default())).await.map(drop), unknown);
    check(soon("a producer", log.producer(&none, &name("till"))).await.map(drop), unknown);
    check(soon("joining", log.join(&none, &name("crew"), GroupOptions::default())).await.map(drop), unknown);

    let config = StreamConfig { event_bytes_max: 1_000, ..StreamConfig::default() };
    soon("making it", log.create(&orders, &config)).await.expect("it is made");
    check(
        soon("making it", log.create(&orders, &StreamConfig::default())).await,
        "stream `orders` exists with another configuration; alter it, or choose another name",
    );
    check(
        soon("an append", log.append(&orders, vec![0_u8; 2_000])).await,
        "an event of 2016 bytes for `orders`; the limit is 1000: split it, or raise `event_bytes_max` of the stream",
    );
    soon("an append", log.append(&orders, "x")).await.expect("it is stored");
    let beyond = "offset 7 of stream `orders` is out of range: the first is 0 and the next event gets 1";
    check(soon("a page", log.read(&orders, Position::Offset(7), LIMITS)).await, beyond);
    check(soon("a follow", log.follow(&orders, Position::Offset(7), FollowOptions::default())).await.map(drop), beyond);
    check(soon("a cursor", log.commit_cursor(&orders, &name("reader"), 7)).await, beyond);
    let expecting = AppendOptions { expected_next: Some(0), ..AppendOptions::default() };
    check(
        soon("an append", log.append_with(&orders, "y", &expecting)).await,
        "nothing was appended to `orders`: the next offset is 1, and 0 was expected; read on and try again",
    );
    let long = NewEvent::new("x").key(vec![0; 5_000]);
    check(
        soon("an append", log.append(&orders, long)).await,
        "not a batch of events: record 0 of a batch, at byte 0, does not hold together: its key has 5000 bytes and may \
         have 4096",
    );
    let old = soon("a producer", log.producer(&orders, &name("till"))).await.expect("it is opened");
    soon("a producer", log.producer(&orders, &name("till"))).await.expect("it is opened again");
    let fenced = soon("an append", old.append("z")).await.expect_err("it is fenced").to_string();
    assert!(fenced.starts_with("producer ") && fenced.ends_with("stop, or open it anew"), "{fenced}");
    check(
        soon("a group", log.group(&orders, &name("crew"))).await,
        "stream `orders` has no group `crew`; the first member that joins makes it, or see `sinew log groups orders`",
    );
    let _member = soon("joining", log.join(&orders, &name("crew"), GroupOptions::default())).await.expect("it is one");
    let other = GroupSettings { key_order: true, ..GroupSettings::default() };
    let other = GroupOptions { settings: other, ..GroupOptions::default() };
    check(
        soon("joining", setup.log(1).await.join(&orders, &name("crew"), other)).await.map(drop),
        "group `crew` of `orders` exists with other settings; join it with those, or choose another name",
    );
}
