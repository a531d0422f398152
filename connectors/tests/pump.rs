//! The connection between a source and a sink of somebody else: what the contract promises, seen from outside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sinew_connectors::{
    Batch, BatchLimits, Connection, ConnectionOptions, Context, Error, Extent, Item, Lost, Mark, Phase, Plugin,
    Position, Registry, Result, Sink, Source, Speed, Standing,
};
use tokio::time::Instant;

/// A source that gives numbers, and what went wrong on purpose.
#[derive(Clone, Debug, Default)]
struct Numbers(Arc<Mutex<NumbersState>>);

#[derive(Debug, Default)]
struct NumbersState {
    next: u64,
    end: u64,
    /// Waits at the end instead of ending.
    endless: bool,
    lost_before: BTreeMap<u64, Lost>,
    faults: VecDeque<bool>,
    kept: Option<Mark>,
    step_ms: u64,
}

/// A sink in memory.
#[derive(Clone, Debug, Default)]
struct Taken(Arc<Mutex<TakenState>>);

#[derive(Debug, Default)]
struct TakenState {
    items: Vec<u64>,
    times: Vec<Instant>,
    flushed: usize,
    batches: usize,
    counts: bool,
    kept: Option<Mark>,
    faults: VecDeque<bool>,
}

fn fault(faults: &mut VecDeque<bool>) -> Result<()> {
    match faults.pop_front() {
        None => Ok(()),
        Some(retryable) => Err(Error::Outside { what: "cannot".into(), why: "on purpose".into(), retryable }),
    }
}

#[async_trait]
impl Source for Numbers {
    fn origin(&self) -> String {
        "numbers".into()
    }

    async fn recall(&mut self) -> Result<Option<Mark>> {
        Ok(self.0.lock().unwrap().kept.clone())
    }

    async fn start(&mut self, standing: &Standing) -> Result<Position> {
        let (position, skip) = standing.resume()?;
        self.0.lock().unwrap().next = position.map_or(0, |position| position.0.parse().unwrap()) + skip;
        Ok(Position::default())
    }

    async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>> {
        let (ended, endless) = {
            let state = self.0.lock().unwrap();
            (state.next == state.end, state.endless)
        };
        if ended {
            return if endless { std::future::pending().await } else { Ok(None) };
        }
        let mut state = self.0.lock().unwrap();
        fault(&mut state.faults)?;
        let next = state.next;
        let mut end = state.end.min(next + limits.items_max as u64);
        end = state.lost_before.range(next + 1..end).next().map_or(end, |(at, _)| *at);
        state.next = end;
        let item = |number: u64| {
            let timestamp = Some(number * state.step_ms * 1_000_000);
            Item { timestamp, ..Item::new(number.to_string()) }
        };
        Ok(Some(Batch {
            lost: state.lost_before.get(&next).copied(),
            items: (next..end).map(item).collect(),
            position: Position(end.to_string()),
            extent: Extent { done: end, total: Some(state.end) },
            notice: None,
        }))
    }

    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        self.0.lock().unwrap().kept = Some(mark.clone());
        Ok(())
    }
}

#[async_trait]
impl Sink for Taken {
    async fn standing(&mut self) -> Result<Standing> {
        let mut state = self.0.lock().unwrap();
        fault(&mut state.faults)?;
        let count = state.counts.then_some(state.items.len() as u64);
        Ok(Standing { count, mark: state.kept.clone(), ..Standing::default() })
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        fault(&mut state.faults)?;
        let numbers = batch.items.iter().map(|item| std::str::from_utf8(&item.payload).unwrap().parse().unwrap());
        state.items.extend(numbers.collect::<Vec<u64>>());
        let now = Instant::now();
        state.times.extend(batch.items.iter().map(|_| now));
        state.batches += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        fault(&mut state.faults)?;
        state.flushed = state.items.len();
        Ok(())
    }

    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        assert!(!state.counts || state.flushed as u64 >= mark.count, "remembered before it is safe");
        if state.counts {
            state.kept = Some(mark.clone());
        }
        Ok(())
    }
}

fn connection(source: &Numbers, sink: &Taken, options: ConnectionOptions) -> Connection {
    Connection::new(Some("test".into()), Box::new(source.clone()), Box::new(sink.clone()), options)
}

fn numbers(end: u64) -> Numbers {
    Numbers(Arc::new(Mutex::new(NumbersState { end, ..NumbersState::default() })))
}

fn small() -> ConnectionOptions {
    ConnectionOptions { limits: BatchLimits { items_max: 7, bytes_max: 1_000 }, ..ConnectionOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn everything_is_moved_in_order_and_remembered() {
    let (source, sink) = (numbers(100), Taken::default());
    let progress = connection(&source, &sink, small()).run().await.unwrap();
    assert_eq!((progress.moved, progress.confirmed, progress.lag(), progress.phase), (100, 100, Some(0), Phase::Ended));
    let state = sink.0.lock().unwrap();
    assert_eq!((&state.items[..], state.flushed, state.batches), (&(0..100).collect::<Vec<_>>()[..], 100, 15));
    let kept = source.0.lock().unwrap().kept.clone().unwrap();
    assert_eq!((kept.count, &kept.position.0[..], kept.ahead, &kept.origin[..]), (100, "100", 0, "numbers"));
}

#[tokio::test(start_paused = true)]
async fn another_run_goes_on_where_the_last_one_was() {
    for counts in [false, true] {
        let (source, sink) = (numbers(20), Taken::default());
        sink.0.lock().unwrap().counts = counts;
        connection(&source, &sink, small()).run().await.unwrap();
        source.0.lock().unwrap().end = 33;
        let progress = connection(&source, &sink, small()).run().await.unwrap();
        assert_eq!((progress.moved, progress.confirmed), (13, 33));
        assert_eq!(sink.0.lock().unwrap().items, (0..33).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_counts_is_believed_before_what_was_remembered() {
    let (source, sink) = (numbers(20), Taken::default());
    sink.0.lock().unwrap().counts = true;
    connection(&source, &sink, small()).run().await.unwrap();
    {
        // As after a crash: nine more were stored, and not remembered.
        source.0.lock().unwrap().end = 40;
        sink.0.lock().unwrap().items.extend(20..29);
    }
    connection(&source, &sink, small()).run().await.unwrap();
    assert_eq!(sink.0.lock().unwrap().items, (0..40).collect::<Vec<_>>());
    sink.0.lock().unwrap().items.truncate(39);
    let error = connection(&source, &sink, small()).run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sink has 39 items of this connection and had 40: it was made anew; take another name"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_stands_for_one_source() {
    let (source, sink) = (numbers(1), Taken::default());
    source.0.lock().unwrap().kept = Some(Mark { origin: "letters".into(), ..Mark::default() });
    let error = connection(&source, &sink, small()).run().await.unwrap_err();
    assert_eq!(error.to_string(), "connection `test` was made for letters, and this is numbers; take another name");
}

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_tried_again_and_nothing_is_moved_twice() {
    let (source, sink) = (numbers(30), Taken::default());
    source.0.lock().unwrap().faults.extend([true, true]);
    sink.0.lock().unwrap().faults.extend([true; 4]);
    let progress = connection(&source, &sink, small()).run().await.unwrap();
    assert_eq!((progress.moved, progress.retries), (30, 6));
    assert_eq!(sink.0.lock().unwrap().items, (0..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_good_ends_it_and_what_was_moved_is_confirmed() {
    let (source, sink) = (numbers(30), Taken::default());
    let running = connection(
        &source,
        &sink,
        ConnectionOptions { limits: BatchLimits { items_max: 10, bytes_max: 100 }, ..small() },
    );
    let progress = running.progress();
    // The first batch is taken, the second is not given.
    source.0.lock().unwrap().faults.extend([true, false]);
    source.0.lock().unwrap().lost_before.insert(3, Lost::Exactly(2));
    let error = running.run().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot: on purpose");
    assert_eq!((progress.borrow().phase.clone(), sink.0.lock().unwrap().flushed), (Phase::Ended, 0));
}

#[tokio::test(start_paused = true)]
async fn it_stops_in_order_while_it_waits() {
    let (source, sink) = (numbers(10), Taken::default());
    source.0.lock().unwrap().endless = true;
    let running = connection(&source, &sink, small());
    let (stop, mut progress) = (running.stopper(), running.progress());
    let task = tokio::spawn(running.run());
    progress.wait_for(|progress| progress.confirmed == 10).await.unwrap();
    stop.stop();
    assert_eq!(task.await.unwrap().unwrap().moved, 10);
    assert_eq!(source.0.lock().unwrap().kept.as_ref().unwrap().count, 10);
}

#[tokio::test(start_paused = true)]
async fn losses_are_counted_and_remembered() {
    let (source, sink) = (numbers(30), Taken::default());
    source.0.lock().unwrap().lost_before.extend([(5, Lost::Exactly(3)), (9, Lost::Unknown), (12, Lost::Exactly(1))]);
    let progress = connection(&source, &sink, small()).run().await.unwrap();
    assert_eq!((progress.moved, progress.lost, progress.uncounted), (30, 4, 1));
    let kept = source.0.lock().unwrap().kept.clone().unwrap();
    assert_eq!((kept.lost, kept.uncounted), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_holds_the_source_back() {
    /// Takes a second for each batch.
    #[derive(Debug)]
    struct Slow(Numbers, u64);
    #[async_trait]
    impl Sink for Slow {
        async fn standing(&mut self) -> Result<Standing> {
            Ok(Standing::default())
        }
        async fn write(&mut self, batch: &Batch) -> Result<()> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.1 += batch.items.len() as u64;
            let given = self.0.0.lock().unwrap().next;
            assert_eq!(given, self.1, "nothing is asked for before this batch is taken");
            Ok(())
        }
        async fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }
    let source = numbers(100);
    let sink = Slow(source.clone(), 0);
    let progress = Connection::new(None, Box::new(source), Box::new(sink), small()).run().await.unwrap();
    assert_eq!(progress.moved, 100);
}

#[tokio::test(start_paused = true)]
async fn items_are_played_as_far_apart_as_they_were() {
    for (factor, total_ms) in [(1.0, 9_900), (2.0, 4_950), (100.0, 99)] {
        let (source, sink) = (numbers(100), Taken::default());
        source.0.lock().unwrap().step_ms = 100;
        let options = ConnectionOptions { speed: Some(Speed::new(factor).unwrap()), ..ConnectionOptions::default() };
        connection(&source, &sink, options).run().await.unwrap();
        let times = sink.0.lock().unwrap().times.clone();
        assert_eq!(times.len(), 100);
        let took = times[99] - times[0];
        assert!(took.abs_diff(Duration::from_millis(total_ms)) < Duration::from_millis(5), "{factor}: {took:?}");
        for (index, time) in times.iter().enumerate() {
            let due = Duration::from_secs_f64(index as f64 * 0.1 / factor);
            assert!(
                (*time - times[0]).abs_diff(due) < Duration::from_millis(3),
                "{factor}: {index} at {:?}",
                *time - times[0]
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_within_a_batch_the_next_run_begins_behind_what_was_played() {
    let (source, sink) = (numbers(60), Taken::default());
    source.0.lock().unwrap().step_ms = 1_000;
    let options = ConnectionOptions { speed: Some(Speed::ORIGINAL), ..ConnectionOptions::default() };
    let running = connection(&source, &sink, options);
    let (stop, mut progress) = (running.stopper(), running.progress());
    let task = tokio::spawn(running.run());
    progress.wait_for(|progress| progress.moved == 20).await.unwrap();
    stop.stop();
    assert_eq!(task.await.unwrap().unwrap().moved, 20);
    connection(&source, &sink, ConnectionOptions::default()).run().await.unwrap();
    assert_eq!(sink.0.lock().unwrap().items, (0..60).collect::<Vec<_>>());
}

// As somebody else's crate would.
sinew_connectors::submit! {
    Plugin { scheme: "numbers", about: "numbers from 0 on", source: Some(|_, _| Ok(Box::new(numbers(5)))), sink: None }
}

#[tokio::test(start_paused = true)]
async fn a_linked_connector_is_found_by_its_scheme() {
    let registry = Registry::linked().unwrap();
    let schemes: Vec<_> = registry.plugins().map(|plugin| plugin.scheme).collect();
    assert_eq!(schemes, ["bus", "file", "log", "numbers", "stdin", "stdout"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.jsonl");
    let (from, to) = ("numbers:".parse().unwrap(), format!("file:{}", path.display()).parse().unwrap());
    let context = Context::default();
    let connection = Connection::between(&registry, &from, &to, &context, ConnectionOptions::default()).unwrap();
    connection.run().await.unwrap();
    let lines = std::fs::read_to_string(path).unwrap();
    assert_eq!(lines.lines().last(), Some(r#"{"timestamp":0,"time":"1970-01-01T00:00:00Z","payload":"4"}"#));
}

#[test]
fn what_cannot_be_found_says_what_there_is() {
    let mut registry = Registry::linked().unwrap();
    let context = Context::default();
    let source = |text: &str| registry.source(&text.parse().unwrap(), &context).unwrap_err().to_string();
    assert_eq!(
        source("kafka:orders"),
        "no connector for `kafka:orders`: this program knows bus, file, log, numbers, stdin, stdout"
    );
    assert_eq!(source("stdout:"), "`stdout:` cannot be a source: `stdout` is a sink alone");
    assert_eq!(source("bus:a.>"), "`bus:a.>` needs the bus, and there is none: connect to a server that offers it");
    assert_eq!(source("bus:a..b"), "`a..b` is not a pattern: token 2 is empty; remove the dot beside it");
    assert_eq!(
        source("file:x?compress"),
        "option `compress` of `file:x?compress=` cannot be used: it takes format, subject, subject_field, key_field, from, follow"
    );
    let sink = registry.sink(&"stdin:".parse().unwrap(), &context).unwrap_err().to_string();
    assert_eq!(sink, "`stdin:` cannot be a sink: `stdin` is a source alone");
    let again = Plugin { scheme: "file", about: "", source: None, sink: None };
    let twice = registry.add(again).unwrap_err().to_string();
    assert_eq!(twice, "two connectors claim the scheme `file`; leave one of them out of the program");
}
