//! What is asked in one turn of the caller's runtime is sent once that has turned, and a runtime that nobody drives holds
//! nothing up.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sinew_testkit::echo::{Echo, call, verb};
use sinew_testkit::net::Net;
use sinew_testkit::setup::Setup;
use tokio::runtime::{Builder, Runtime};

const HOUR: Duration = Duration::from_secs(3_600);

fn idle() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[track_caller]
fn hears(heard: &Receiver<String>, text: &str) {
    assert_eq!(heard.recv_timeout(Duration::from_secs(60)).as_deref(), Ok(text));
}

#[test]
fn a_runtime_that_nobody_drives_holds_nothing_up() {
    let driving = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (_server, session) = driving.block_on(async {
        let mut setup = Setup::on(&Net::default(), "mem://here");
        // No heartbeat takes along what was left.
        (setup.limits.heartbeat, setup.limits.lost_after) = (HOUR, 2 * HOUR);
        (setup.serve(vec![Arc::new(Echo::default())]).await, setup.session().await)
    });
    let (tell, heard) = channel();
    let ask = |text: &'static str| {
        let tell = tell.clone();
        session.cast_in_turn(call(verb::ECHO, b"key", &text, HOUR), move |reply| {
            let _ = tell.send(reply.and_then(|reply| reply.read()).unwrap_or_else(|error| error.to_string()));
        });
    };
    ask("without a runtime");
    hears(&heard, "without a runtime");

    let never_driven = idle();
    {
        let _entered = never_driven.enter();
        ask("first");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        ask("second");
    }
    hears(&heard, "first");
    hears(&heard, "second");

    drop(never_driven);
    let ending = idle();
    {
        let _entered = ending.enter();
        ask("as the runtime ends");
    }
    drop(ending);
    hears(&heard, "as the runtime ends");

    idle().block_on(async {
        ask("driven");
        tokio::task::yield_now().await;
    });
    hears(&heard, "driven");
}
