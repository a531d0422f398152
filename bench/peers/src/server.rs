//! Servers: started on a free port in a temporary directory with the configuration from `config/`, asked whether they
//! serve, and stopped by their process id.

mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::place::Place;
use crate::process::{self, Memory};
use crate::provide::{CELERY, ETCD, NATS, PYTHON, Program, REDIS, ZENOH};
use crate::system::{Kind, System};

/// The longest that an orderly end may take.
const END: Duration = Duration::from_secs(20);

/// A server that serves. Dropped it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it is and how to get in.
    pub(crate) place: Place,
    _folder: tempfile::TempDir,
}

/// The programs of all servers, or why there is none.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    found: BTreeMap<&'static str, Result<(PathBuf, String), String>>,
    /// The one that has Celery, where it is asked for.
    python: PathBuf,
}

impl Programs {
    /// Looks for, and where allowed installs, what `systems` need. `sinew` is our own program.
    pub(crate) fn find(systems: &[System], sinew: &Path, tools: &Path, may_install: bool) -> Self {
        let mut found = BTreeMap::new();
        for system in systems {
            found.entry(name(system.kind)).or_insert_with(|| {
                let ready = match program(system.kind) {
                    Some(_) if system.kind == Kind::Celery => celery(tools, may_install),
                    Some(program) => ready(program, tools, may_install),
                    None if system.is_ours() => Ok((sinew.to_owned(), env!("CARGO_PKG_VERSION").to_owned())),
                    None => own_proxy(),
                };
                ready.map_err(|error| error.to_string())
            });
        }
        Self { found, python: tools.join(PYTHON) }
    }

    /// The version of a system's server; `Err` says why it is skipped.
    pub(crate) fn version(&self, system: System) -> Result<&str, &str> {
        let found = self.found.get(name(system.kind)).ok_or("it was not looked for")?;
        found.as_ref().map(|(_, version)| version.as_str()).map_err(String::as_str)
    }

    fn path(&self, system: System) -> Outcome<&Path> {
        let found = self.found.get(name(system.kind)).ok_or("it was not looked for")?;
        Ok(found.as_ref().map(|(path, _)| path.as_path()).map_err(Clone::clone)?)
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sinew(_) => "sinew",
        Kind::Nats | Kind::JetStream(_) => NATS.name,
        Kind::Zenoh => ZENOH.name,
        Kind::Etcd => ETCD.name,
        Kind::Redis | Kind::RedisStored(_) => REDIS.name,
        Kind::Celery => CELERY.name,
        Kind::Raw => "raw",
    }
}

fn program(kind: Kind) -> Option<Program> {
    match kind {
        Kind::Nats | Kind::JetStream(_) => Some(NATS),
        Kind::Zenoh => Some(ZENOH),
        Kind::Etcd => Some(ETCD),
        Kind::Redis | Kind::RedisStored(_) => Some(REDIS),
        Kind::Celery => Some(CELERY),
        Kind::Sinew(_) | Kind::Raw => None,
    }
}

fn ready(program: Program, tools: &Path, may_install: bool) -> Outcome<(PathBuf, String)> {
    let path = program.ready(tools, may_install)?;
    let version = program.version(&path)?;
    Ok((path, version))
}

/// Its server is Redis.
fn celery(tools: &Path, may_install: bool) -> Outcome<(PathBuf, String)> {
    let (_, celery) = ready(CELERY, tools, may_install)?;
    let (path, redis) = ready(REDIS, tools, may_install)?;
    Ok((path, format!("{celery} on Redis {redis}")))
}

/// This program runs the proxies of raw libzmq.
fn own_proxy() -> Outcome<(PathBuf, String)> {
    let (major, minor, patch) = zmq::version();
    Ok((std::env::current_exe()?, format!("{major}.{minor}.{patch}")))
}

impl Server {
    /// Starts `system`'s server and waits until it serves.
    pub(crate) fn start(system: System, programs: &Programs) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("peers-").tempdir()?;
        let (child, mut place) = start::start(system, programs.path(system)?, folder.path())?;
        if system.kind == Kind::Celery {
            place.python = Some(programs.python.clone());
        }
        Ok(Self { child, place, _folder: folder })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        process::memory(self.id())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Outcome {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > END {
                return Err(format!("the server did not end within {END:?} of SIGTERM and was killed").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
