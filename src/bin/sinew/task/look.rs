//! `sinew task list`, `show`, `explain`, `cancel` and `workers`: what is in a queue, and why it waits.

use std::io::Write;

use clap::Args;
use sinew::ResourceName;
use sinew::taskqueue::{Listed, TaskId, TaskQueue, WorkerInfo};

use super::shown;
use crate::failure::Outcome;
use crate::log::{object_line, table};
use crate::options::{Options, name};

/// List tasks: those that wait or run, in the order in which they came
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task list training
  sinew task list training --ended --json | jq -r .task")]
pub(super) struct List {
    /// Of which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Those that have ended and are still known, in the order in which they ended
    #[arg(long)]
    ended: bool,
    #[command(flatten)]
    options: Options,
}

impl List {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let queue = client.tasks().queue(&self.queue);
        let listed = if self.ended { Listed::Ended } else { Listed::Live };
        let nothing = if self.ended { "nothing that has ended is known" } else { "nothing waits or runs" };
        list(&queue, listed, self.options.json, nothing).await?;
        Ok(client.close().await?)
    }
}

/// Writes all of these, page by page.
pub(super) async fn list(queue: &TaskQueue, listed: Listed, json: bool, nothing: &str) -> Outcome {
    let (mut after, mut out, mut is_first) = (None, std::io::stdout(), true);
    loop {
        let page = queue.tasks_page(listed, after).await?;
        if is_first && page.tasks.is_empty() {
            eprintln!("{nothing}");
        }
        let text = match json {
            true => page.tasks.iter().map(object_line).collect(),
            false => {
                let head = (is_first && !page.tasks.is_empty()).then(|| shown::HEAD.map(str::to_owned).to_vec());
                let rows: Vec<_> = head.into_iter().chain(page.tasks.iter().map(shown::row)).collect();
                table(&rows)
            }
        };
        match out.write_all(text.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        is_first = false;
        match page.tasks.last() {
            Some(last) if page.more => after = Some(last.sequence),
            _ => return Ok(()),
        }
    }
}

/// Which task of which queue.
#[derive(Debug, Args)]
struct Which {
    /// Of which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Which task
    task: TaskId,
    #[command(flatten)]
    options: Options,
}

/// Show a task: what it does, how it is to be done
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task show training 0f3c9a6be1d24b7788aa55ee00112233
  sinew task show training 0f3c9a6be1d24b7788aa55ee00112233 --payload > input")]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
    /// Write its payload as it is, and nothing else; there is one until it has ended, and of a dead letter
    #[arg(long, conflicts_with = "json")]
    payload: bool,
}

impl Show {
    pub(super) async fn run(self) -> Outcome {
        let Which { queue, task, options } = self.which;
        let client = options.client().await?;
        let queue = client.tasks().queue(&queue);
        if self.payload {
            std::io::stdout().write_all(&queue.payload(task).await?)?;
            return Ok(client.close().await?);
        }
        let info = queue.explain(task).await?.info;
        match options.json {
            true => print!("{}", object_line(&info)),
            false => print!("{}", shown::text(&info)),
        }
        Ok(client.close().await?)
    }
}

/// Tell why a task waits
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task explain training 0f3c9a6be1d24b7788aa55ee00112233")]
pub(super) struct Explain {
    #[command(flatten)]
    which: Which,
}

impl Explain {
    pub(super) async fn run(self) -> Outcome {
        let Which { queue, task, options } = self.which;
        let client = options.client().await?;
        let explanation = client.tasks().queue(&queue).explain(task).await?;
        match options.json {
            true => print!("{}", object_line(&explanation)),
            false => {
                println!("{}", shown::doing(&explanation.info.state));
                explanation.reasons.iter().for_each(|reason| println!("{}", shown::reason(reason)));
            }
        }
        Ok(client.close().await?)
    }
}

/// End a task, whether it waits or runs
///
/// Who waits for it is told, and so is its worker. One that has ended before stays as it is.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    which: Which,
}

impl Cancel {
    pub(super) async fn run(self) -> Outcome {
        let Which { queue, task, options } = self.which;
        let client = options.client().await?;
        let had_ended = client.tasks().queue(&queue).cancel(task).await?;
        match (options.json, had_ended) {
            (true, _) => {
                print!("{}", object_line(&serde_json::json!({"task": task, "cancelled": !had_ended})));
            }
            (false, false) => println!("cancelled {task}"),
            (false, true) => println!("{task} had ended before"),
        }
        Ok(client.close().await?)
    }
}

/// List the workers of a queue
#[derive(Debug, Args)]
pub(super) struct Workers {
    /// Of which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Workers {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let workers = workers(&client.tasks().queue(&self.queue)).await?;
        let head = ["worker", "name", "tags", "running", "at most", "had", "state"];
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned).to_vec()).chain(workers.iter().map(row)).collect();
        match (self.options.json, workers.is_empty()) {
            (true, _) => workers.iter().for_each(|worker| print!("{}", object_line(worker))),
            (false, true) => eprintln!("nobody works on it; `sinew task work {} --exec COMMAND` does", self.queue),
            (false, false) => print!("{}", table(&rows)),
        }
        Ok(client.close().await?)
    }
}

/// All of them.
async fn workers(queue: &TaskQueue) -> Outcome<Vec<WorkerInfo>> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = queue.workers_page(after).await?;
        after = page.workers.last().map(|worker| worker.worker);
        let is_last = !page.more || page.workers.is_empty();
        all.extend(page.workers);
        if is_last {
            return Ok(all);
        }
    }
}

fn row(worker: &WorkerInfo) -> Vec<String> {
    let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let state = match (worker.is_cut, worker.is_draining) {
        (true, _) => "cut off",
        (false, true) => "leaving",
        (false, false) => "ready",
    };
    let figures = [worker.running.to_string(), worker.credit.to_string(), worker.handed.to_string()];
    let names = [worker.worker.to_string(), text(&worker.name), text(&worker.tags.join(","))];
    [&names[..], &figures, &[state.to_owned()]].concat()
}
