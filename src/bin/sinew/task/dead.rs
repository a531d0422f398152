//! `sinew task dead list`, `retry` and `drop`: tasks whose attempts have all failed.

use clap::Args;
use sinew::ResourceName;
use sinew::taskqueue::{Listed, TaskId, TaskQueue};

use super::look;
use crate::failure::Outcome;
use crate::log::object_line;
use crate::options::{Options, name};

/// List dead letters, in the order in which they died
#[derive(Debug, Args)]
pub(super) struct List {
    /// Of which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl List {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let queue = client.tasks().queue(&self.queue);
        look::list(&queue, Listed::Dead, self.options.json, "there is no dead letter").await?;
        Ok(client.close().await?)
    }
}

/// Which of them.
#[derive(Debug, Args)]
struct Which {
    /// Of which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Which of them
    #[arg(required_unless_present = "all")]
    task: Option<TaskId>,
    /// All that there are
    #[arg(long, conflicts_with = "task")]
    all: bool,
    #[command(flatten)]
    options: Options,
}

/// Try dead letters again, as new tasks that wait for a worker
///
/// Writes the new tasks' ids.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task dead retry training 0f3c9a6be1d24b7788aa55ee00112233
  sinew task dead retry training --all")]
pub(super) struct Retry {
    #[command(flatten)]
    which: Which,
}

impl Retry {
    pub(super) async fn run(self) -> Outcome {
        let json = self.which.options.json;
        let client = self.which.options.client().await?;
        let queue = client.tasks().queue(&self.which.queue);
        for task in self.which.tasks(&queue).await? {
            let again = queue.retry_dead(task).await?;
            match json {
                true => print!("{}", object_line(&serde_json::json!({"dead": task, "task": again}))),
                false => println!("{again}"),
            }
        }
        Ok(client.close().await?)
    }
}

/// Drop dead letters, for ever
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task dead drop training 0f3c9a6be1d24b7788aa55ee00112233
  sinew task dead drop training --all")]
pub(super) struct Drop {
    #[command(flatten)]
    which: Which,
}

impl Drop {
    pub(super) async fn run(self) -> Outcome {
        let json = self.which.options.json;
        let client = self.which.options.client().await?;
        let queue = client.tasks().queue(&self.which.queue);
        for task in self.which.tasks(&queue).await? {
            queue.drop_dead(task).await?;
            match json {
                true => print!("{}", object_line(&serde_json::json!({ "dropped": task }))),
                false => println!("dropped {task}"),
            }
        }
        Ok(client.close().await?)
    }
}

impl Which {
    /// Those that are meant, as they are now.
    async fn tasks(&self, queue: &TaskQueue) -> Outcome<Vec<TaskId>> {
        if let Some(task) = self.task {
            return Ok(vec![task]);
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = queue.tasks_page(Listed::Dead, after).await?;
            all.extend(page.tasks.iter().map(|task| task.task));
            match page.tasks.last() {
                Some(last) if page.more => after = Some(last.sequence),
                _ => return Ok(all),
            }
        }
    }
}
