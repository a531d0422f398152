//! The connectors of the server: those of `connectors.toml`, each a task over a session in memory that may do everything.
//! One that fails is told in the log and started again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sinew::connectors::{Connection, ConnectionOptions, ConnectorConfig, Context, Progress, Registry, Stop};
use sinew::{Client, Home, Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connect::status::{State, configured, states_path};
use crate::failure::{Outcome, chain};

/// How often what they do is written down, while it changes.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How long until one that failed is started again: the first time, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// How long they may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What runs.
pub(super) struct Connectors {
    running: Vec<Arc<Running>>,
    tasks: Vec<JoinHandle<()>>,
    teller: JoinHandle<()>,
    client: Option<Client>,
    home: Home,
}

/// One connector.
struct Running {
    config: ConnectorConfig,
    stop: watch::Sender<bool>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    progress: Progress,
    failure: Option<String>,
}

/// Reads the file before anything listens: a mistake in it is told at once.
pub(super) fn read(home: &Home) -> Outcome<Vec<ConnectorConfig>> {
    let configs = configured(home)?;
    let registry = Registry::linked()?;
    for config in &configs {
        for (end, ways) in [(&config.from, "from"), (&config.to, "to")] {
            let plugin = registry.plugins().find(|plugin| plugin.scheme == end.scheme());
            let Some(plugin) = plugin else {
                let known: Vec<_> = registry.plugins().map(|plugin| plugin.scheme).collect();
                let why = format!("connector `{}`: no connector for `{end}`", config.name);
                return Err(format!("{why}: this program knows {}", known.join(", ")).into());
            };
            let stream = plugin.scheme.starts_with("std");
            if stream || (ways == "from" && plugin.source.is_none()) || (ways == "to" && plugin.sink.is_none()) {
                return Err(format!("connector `{}`: `{end}` cannot be `{ways}` in a server", config.name).into());
            }
        }
    }
    Ok(configs)
}

/// Starts them.
pub(super) async fn start(configs: Vec<ConnectorConfig>, server: &Server, home: &Home) -> Outcome<Option<Connectors>> {
    let _ = std::fs::remove_file(states_path(home));
    if configs.is_empty() {
        return Ok(None);
    }
    let client = server.own_client().await?;
    let running: Vec<_> = configs
        .into_iter()
        .map(|config| Arc::new(Running { config, stop: watch::Sender::new(false), now: Mutex::default() }))
        .collect();
    let tasks = running.iter().map(|one| tokio::spawn(one.clone().run(client.clone()))).collect();
    let teller = tokio::spawn(tell(running.clone(), home.clone()));
    Ok(Some(Connectors { running, tasks, teller, client: Some(client), home: home.clone() }))
}

impl Connectors {
    /// Stops all: what they took is confirmed and remembered.
    pub(super) async fn stop(mut self) {
        for one in &self.running {
            one.stop.send_replace(true);
        }
        let all = async {
            for task in &mut self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("connectors did not stop in time: what they moved last may be moved again");
        }
        self.teller.abort();
        write_states(&self.running, &self.home);
        if let Some(client) = self.client.take() {
            let _ = tokio::time::timeout(STOP_TIMEOUT, client.close()).await;
        }
    }
}

impl Running {
    /// Runs it until it ends or is stopped; one that fails is started again.
    async fn run(self: Arc<Self>, client: Client) {
        let mut again = AGAIN;
        loop {
            let moved_before = self.now().progress.moved;
            let outcome = self.run_once(&client).await;
            let Err(error) = outcome else { return };
            let why = chain(&*error);
            tracing::error!(connector = self.config.name.as_str(), "{why}; starting it again in {again:?}");
            self.now().failure = Some(why);
            let mut stop = self.stop.subscribe();
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(again) => {}
            }
            let moved = self.now().progress.moved != moved_before;
            again = if moved { AGAIN } else { (again * 2).min(AGAIN_MAX) };
        }
    }

    async fn run_once(&self, client: &Client) -> Outcome {
        let name = Some(self.config.name.clone());
        let context = Context { name, bus: Some(client.bus().clone()), log: Some(client.log().clone()) };
        let options = ConnectionOptions { speed: self.config.speed, ..ConnectionOptions::default() };
        let (from, to) = (&self.config.from, &self.config.to);
        let connection = Connection::between(&Registry::linked()?, from, to, &context, options)?;
        let (stop, mut progress) = (connection.stopper(), connection.progress());
        let base = self.now().progress.clone();
        let following = async {
            loop {
                self.now().told(&base, &progress.borrow_and_update());
                if progress.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let last = connection.progress();
        let outcome = tokio::select! {
            outcome = connection.run() => outcome,
            () = following => unreachable!("it follows for ever"),
            () = self.stopped(stop) => unreachable!("it waits for ever once it has told"),
        };
        self.now().told(&base, &last.borrow());
        outcome.map(drop).map_err(Into::into)
    }

    async fn stopped(&self, stop: Stop) {
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
        stop.stop();
        std::future::pending().await
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    /// What this run has done, on top of the runs before it.
    fn told(&mut self, base: &Progress, run: &Progress) {
        let mut progress = run.clone();
        progress.moved += base.moved;
        progress.bytes += base.bytes;
        progress.lost += base.lost;
        progress.uncounted += base.uncounted;
        progress.retries += base.retries;
        if progress.phase == sinew::connectors::Phase::Moving {
            self.failure = None;
        }
        self.progress = progress;
    }
}

/// Writes down what they do, for `sinew connect status`.
async fn tell(running: Vec<Arc<Running>>, home: Home) {
    loop {
        write_states(&running, &home);
        tokio::time::sleep(TELL_INTERVAL).await;
    }
}

fn write_states(running: &[Arc<Running>], home: &Home) {
    let lines = running.iter().map(|one| {
        let now = one.now();
        let state = State::new(&one.config, &now.progress, now.failure.as_deref());
        serde_json::to_string(&state).expect("texts and numbers can be written into memory") + "\n"
    });
    let (text, path) = (lines.collect::<String>(), states_path(home));
    if std::fs::read(&path).is_ok_and(|before| before == text.as_bytes()) {
        return;
    }
    let new = path.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
    if let Err(error) = written {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}
