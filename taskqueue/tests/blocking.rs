//! The blocking facade: everything that the awaited one does, on threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use sinew_taskqueue::{Ending, Error, Listed, QueueConfig, TaskError, blocking};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn tasks_are_submitted_and_done_on_threads() {
    let (_server, tasks) = sinew_testkit::memory::tasks_of_its_own();
    let queue = blocking::Tasks::new(tasks).queue(&"threads".parse().unwrap());
    assert_eq!(queue.make(&QueueConfig::default()).unwrap().name, "threads");
    let refused = queue.run("x");
    assert!(matches!(refused, Err(Error::NoWorkers { .. })), "{refused:?}");
    let done = AtomicU32::new(0);
    thread::scope(|scope| {
        let mut stops = Vec::new();
        for _ in 0..3 {
            let worker = queue.worker().concurrency(4).tags(["cpu"]).join().unwrap();
            stops.push(worker.stop_handle());
            let done = &done;
            scope.spawn(move || {
                let result = worker.run(|job| {
                    done.fetch_add(1, Ordering::Relaxed);
                    job.progress("half");
                    match &job.payload()[..] {
                        b"fail" => Err(TaskError::new("no-luck", "not today")),
                        b"panic" => panic!("on purpose"),
                        payload => Ok(payload.to_ascii_uppercase()),
                    }
                });
                result.expect("it stops in order");
            });
        }
        let submitters = (0..4).map(|_| {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(&queue.submit("tea").tags(["cpu"]).run().expect("it is done")[..], b"TEA");
                }
            })
        });
        submitters.collect::<Vec<_>>().into_iter().for_each(|each| each.join().expect("no panic"));
        for (payload, expected) in [("fail", "no-luck"), ("panic", "panicked")] {
            let mut handle = queue.submit(payload).send().unwrap();
            let outcome = handle.outcome_within(LONG).unwrap();
            assert!(matches!(&outcome.ending, Ending::Failed { code, .. } if code == expected), "{outcome:?}");
            assert_eq!(handle.next_progress().unwrap().as_deref(), Some(&b"half"[..]));
        }
        stops.iter().for_each(blocking::Stop::stop);
    });
    assert_eq!(done.load(Ordering::Relaxed), 202);
    let handle = queue.submit("waits").queueing().detached().send().unwrap();
    let late = queue.attach(handle.id()).unwrap().outcome_within(Duration::from_millis(1));
    assert!(matches!(late, Err(Error::Session(sinew_session::Error::Timeout { .. }))), "{late:?}");
    assert_eq!(queue.tasks_page(Listed::Live, None).unwrap().tasks[0].task, handle.id());
    assert!(!handle.cancel().unwrap());
    assert!(matches!(queue.fetch(handle.id()).unwrap().ending, Ending::Cancelled { .. }));
}

#[tokio::test]
async fn inside_a_runtime_it_is_refused() {
    let (_server, tasks) = sinew_testkit::memory::tasks().await;
    let queue = blocking::Tasks::new(tasks).queue(&"threads".parse().unwrap());
    let refused = queue.run("x");
    assert!(matches!(refused, Err(Error::Session(sinew_session::Error::InsideRuntime))), "{refused:?}");
}
