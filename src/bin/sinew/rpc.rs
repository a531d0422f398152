//! `sinew rpc list`: services of typed calls, and how they do.

use clap::{Args, Subcommand};
use serde::Serialize;
use sinew::taskqueue::{Error, QueueInfo, RPC_QUEUE_PREFIX};

use crate::failure::Outcome;
use crate::log::{object_line, table};
use crate::options::Options;

/// See services of typed calls
///
/// A program serves one by `sinew::rpc` (feature `rpc`); others call it. A service is the queue `rpc-` and its name, and each
/// call a task of it: `sinew task` shows more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew rpc list
  sinew task workers rpc-calculator")]
pub(crate) struct Rpc {
    #[command(subcommand)]
    command: RpcCommand,
}

#[derive(Debug, Subcommand)]
enum RpcCommand {
    List(List),
}

/// List the services that may be seen: their servers, and calls that wait, run and have ended
#[derive(Debug, Args)]
#[command(after_help = "\
Object of --json, one a line:
  {\"service\":\"calculator\",\"servers\":2,\"waiting\":0,\"running\":1,\"done\":41,\"failed\":0}")]
struct List {
    #[command(flatten)]
    options: Options,
}

/// A service, as it is written.
#[derive(Serialize)]
struct Service<'a> {
    service: &'a str,
    servers: u64,
    waiting: u64,
    running: u64,
    done: u64,
    failed: u64,
}

impl<'a> Service<'a> {
    /// Of its queue; `None` of another one.
    fn of(info: &'a QueueInfo) -> Option<Self> {
        let service = info.name.strip_prefix(RPC_QUEUE_PREFIX)?;
        let QueueInfo { workers, waiting, running, counts, .. } = info;
        let (done, failed) = (counts.done, counts.failed);
        Some(Self { service, servers: *workers, waiting: *waiting, running: *running, done, failed })
    }

    fn row(&self) -> Vec<String> {
        let figures = [self.servers, self.waiting, self.running, self.done, self.failed];
        [&[self.service.to_owned()][..], &figures.map(|figure| figure.to_string())].concat()
    }
}

impl Rpc {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match self.command {
            RpcCommand::List(list) => runtime.block_on(list.run()),
        }
    }
}

impl List {
    async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let head = ["service", "servers", "waiting", "running", "done", "failed"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for queue in client.tasks().list().await? {
            if !queue.as_str().starts_with(RPC_QUEUE_PREFIX) {
                continue;
            }
            let info = match client.tasks().queue(&queue).info().await {
                // Deleted since it was listed.
                Err(Error::UnknownQueue { .. }) => continue,
                info => info?,
            };
            let Some(service) = Service::of(&info) else { continue };
            match self.options.json {
                true => print!("{}", object_line(&service)),
                false => rows.push(service.row()),
            }
        }
        match (self.options.json, rows.len()) {
            (true, _) => {}
            (false, 1) => eprintln!("there is no service; a program serves one by `sinew::rpc`"),
            (false, _) => print!("{}", table(&rows)),
        }
        Ok(client.close().await?)
    }
}
