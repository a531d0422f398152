//! Tasks with Celery: a worker with two prefork children and a client, both in Python, from a script that stands beside the
//! servers' configurations. For context alone: what is in flight is awaited in turn, as its results are.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{EDGE, Figures, Order, Progress};
use crate::{Outcome, process};

const SCRIPT: &str = include_str!("../../config/celery_tasks.py");
const NAME: &str = "celery_tasks";
/// Processes that do tasks.
const CHILDREN: &str = "2";

/// The worker, with its children. Dropped it is asked to end, and waited for.
struct Worker(Child);

pub(super) fn run(order: &Order, size: usize, in_flight: usize) -> Outcome<Figures> {
    let python = order.place.python.as_deref().ok_or("nobody said where Celery is")?;
    let folder = tempfile::Builder::new().prefix("peers-celery-").tempdir()?;
    std::fs::write(folder.path().join(format!("{NAME}.py")), SCRIPT)?;
    let start = |arguments: &[&str]| command(python, folder.path(), &order.place.address, arguments);
    let worker = ["-m", "celery", "-A", NAME, "worker", "--pool", "prefork", "--concurrency", CHILDREN, "-l", "ERROR"];
    let worker = Worker(start(&worker).stdout(Stdio::null()).spawn()?);
    let wish = serde_json::json!({
        "size": size, "in_flight": in_flight, "seconds": order.seconds, "warm_seconds": order.warm_seconds,
    });
    let mut client = start(&[&format!("{NAME}.py"), &wish.to_string()]).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(client.stdout.take().expect("it was piped")).lines();
    let said = lines.next().transpose()?;
    if said.as_deref() != Some("measuring") {
        return Err(format!("the client ended before it measured: {}", client.wait()?).into());
    }
    let cpu = || Ok::<_, Box<dyn std::error::Error + Send + Sync>>((process::cpu(order.server)?, worker.cpu()?));
    let (server, workers) = cpu()?;
    let own = process::cpu(client.id())?;
    // It writes its figures and then waits for its end, so that its processor time can still be read.
    let figures = lines.next().transpose()?.ok_or("the client ended without figures")?;
    let ((server_after, workers_after), own_after) = (cpu()?, process::cpu(client.id())?);
    end(&mut client)?;
    let times: Vec<f64> = serde_json::from_str(&figures)?;
    if times.is_empty() {
        return Err("nothing arrived while it was measured".into());
    }
    let progress = Progress::new();
    progress.measuring.store(true, Ordering::Relaxed);
    times.iter().for_each(|seconds| progress.record(Duration::from_secs_f64(*seconds)));
    Ok(Figures {
        messages: times.len() as u64,
        seconds: order.seconds,
        server_cpu_seconds: server_after - server,
        client_cpu_seconds: workers_after - workers + own_after - own,
        latency: Some(progress.latency()),
    })
}

fn command(python: &Path, folder: &Path, redis: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.current_dir(folder).args(arguments).env("PEERS_REDIS", redis).env("C_FORCE_ROOT", "1");
    command.stdin(Stdio::null());
    command
}

/// Asks it to end, and waits until it has.
fn end(child: &mut Child) -> Outcome {
    kill_process(Pid::from_child(child), Signal::TERM)?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > EDGE {
            child.kill()?;
            child.wait()?;
            return Err(format!("a process of Celery's did not end within {EDGE:?} of SIGTERM and was killed").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

impl Worker {
    /// Of it and its children.
    fn cpu(&self) -> Outcome<f64> {
        let id = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let mut seconds = process::cpu(id)?;
        for child in children.split_whitespace() {
            seconds += process::cpu(child.parse()?)?;
        }
        Ok(seconds)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = end(&mut self.0) {
            eprintln!("{error}");
        }
    }
}
