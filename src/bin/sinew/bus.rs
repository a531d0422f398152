//! `sinew bus`: what the server has counted and kept.

use clap::{Args, Subcommand};
use sinew::{Accounting, Client, Pattern};

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;

/// See what became of the messages on the bus, and what is kept
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew bus accounting
  sinew bus accounting 'orders.>' --json | jq .queued
  sinew bus retained 'state.*'
  sinew bus clear state.old")]
pub(crate) struct Bus {
    #[command(subcommand)]
    command: BusCommand,
}

#[derive(Debug, Subcommand)]
enum BusCommand {
    /// Count the messages since the server's start: copies = delivered + dropped + queued
    Accounting {
        /// Of these subjects alone. Default: of all
        pattern: Option<Pattern>,
        #[command(flatten)]
        options: Options,
    },
    /// List the subjects with a kept value, and its size
    Retained {
        /// Of these subjects alone
        #[arg(default_value = ">")]
        pattern: Pattern,
        #[command(flatten)]
        options: Options,
    },
    /// Forget kept values
    Clear {
        /// Of these subjects; `>` for all
        pattern: Pattern,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Bus {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let text = runtime.block_on(self.command.ask())?;
        print!("{text}");
        Ok(())
    }
}

impl BusCommand {
    async fn ask(&self) -> Outcome<String> {
        match self {
            Self::Accounting { pattern, options } => {
                let sums = options.client().await?.bus().accounting(pattern.as_ref()).await?;
                Ok(if options.json { line(&sums) } else { table(&sums) })
            }
            Self::Retained { pattern, options } => {
                let kept = options.client().await?.bus().retained(pattern).await?;
                let shown = kept.iter().map(|kept| match options.json {
                    true => line(kept),
                    false => format!("{} {} bytes\n", kept.subject, kept.bytes),
                });
                Ok(shown.collect())
            }
            Self::Clear { pattern, options } => {
                let cleared = options.client().await?.bus().clear_retained(pattern).await?;
                Ok(match options.json {
                    true => line(&serde_json::json!({ "cleared": cleared })),
                    false => format!("{cleared} cleared\n"),
                })
            }
        }
    }
}

impl Options {
    async fn client(&self) -> Outcome<Client> {
        self.connection.connect().await
    }
}

/// An object on a line of its own.
fn line(object: &impl serde::Serialize) -> String {
    serde_json::to_string(object).expect("numbers and texts can be written into memory") + "\n"
}

fn table(sums: &Accounting) -> String {
    let rows = [
        ("published", sums.published, "messages taken in"),
        ("unheard", sums.unheard, "of these, no subscription matched"),
        ("copies", sums.copies, "one for each subscription or group that matched"),
        ("delivered", sums.delivered, "copies handed to a connection"),
        ("queued", sums.queued, "copies that wait for a slow subscriber"),
        ("dropped oldest", sums.dropped.oldest, "copies that made room for newer ones"),
        ("dropped newest", sums.dropped.newest, "copies that found no room"),
        ("dropped cut", sums.dropped.cut, "copies lost with a connection"),
        ("dropped ended", sums.dropped.ended, "copies lost with a subscription"),
        ("refused", sums.refused, "messages that the policy did not permit"),
        ("subjects", sums.subjects, "subjects in these sums"),
        ("uncounted", sums.uncounted, "messages to subjects beyond those counted apart"),
    ];
    rows.iter().map(|(name, count, what)| format!("{name:<15} {count:>12}  {what}\n")).collect()
}
