//! The client processes of a demonstration: this program with a hidden command. Each ends when its standard input does.

use std::time::Duration;

use clap::{Args, ValueEnum};
use sinew::{Client, Executor};

use super::{append, load, ping_pong, store, tasks};
use crate::failure::Outcome;
use crate::signals::end_of_stdin;

/// A client process of `sinew demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoClient {
    #[arg(value_enum)]
    role: Role,
    /// Where to connect to; of a raw proxy, where publishers connect to.
    url: String,
    /// Of a raw proxy, where subscribers connect to.
    #[arg(long, default_value = "")]
    back: String,
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1_000)]
    rounds: u32,
    /// Run the session on this thread too, or on a thread of its own.
    #[arg(long, value_enum)]
    executor: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Place {
    Current,
    Thread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Ping,
    Pong,
    Publish,
    Subscribe,
    Append,
    Store,
    Work,
    Submit,
    RawProxy,
    RawPing,
    RawPong,
    RawPublish,
    RawSubscribe,
}

impl DemoClient {
    pub(crate) fn run(self) -> Outcome {
        match self.role {
            Role::RawProxy | Role::RawPing | Role::RawPong | Role::RawPublish | Role::RawSubscribe => {
                end_with_stdin();
                self.run_raw(self.role)
            }
            _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.run_client()),
        }
    }

    async fn run_client(&self) -> Outcome {
        // A ping-pong has one thing to do at a time, a load two.
        let usual = if matches!(self.role, Role::Ping | Role::Pong) { Place::Current } else { Place::Thread };
        let executor = match self.executor.unwrap_or(usual) {
            Place::Current => Executor::Current,
            Place::Thread => Executor::Thread,
        };
        let client = Client::builder(&self.url).name("sinew-demo").executor(executor).connect().await?;
        let outcome = tokio::select! {
            outcome = self.play(&client) => outcome,
            _ = end_of_stdin() => Ok(()),
        };
        // In order, so that the server need not find out by itself.
        client.close().await?;
        outcome
    }

    async fn play(&self, client: &Client) -> Outcome {
        let bus = client.bus();
        match self.role {
            Role::Append => append::append(client.log(), self.size, self.time()).await,
            Role::Store => store::store(client.kv(), self.size, self.time()).await,
            Role::Work => tasks::work(client.tasks()).await,
            Role::Submit => tasks::submit(client.tasks(), self.size, self.time()).await,
            Role::Ping => ping_pong::ping(bus, self.rounds, self.time()).await,
            Role::Pong => ping_pong::pong(bus).await,
            Role::Publish => load::publish(bus, self.size, self.time()).await,
            _ => load::subscribe(bus).await,
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 60.0))
    }

    #[cfg(feature = "zmq")]
    fn run_raw(&self, role: Role) -> Outcome {
        use super::raw;
        match role {
            Role::RawProxy => raw::proxy(&self.url)?,
            Role::RawPing => raw::ping(&self.url, &self.back, self.rounds, self.time())?,
            Role::RawPong => raw::pong(&self.url, &self.back)?,
            Role::RawPublish => raw::publish(&self.url, &self.back, self.size, self.time())?,
            _ => raw::subscribe(&self.url, &self.back)?,
        }
        Ok(())
    }

    #[cfg(not(feature = "zmq"))]
    fn run_raw(&self, _role: Role) -> Outcome {
        Err(format!("{} was built without libzmq; build with --features zmq", self.url).into())
    }
}

/// libzmq's calls block: the process ends at once, whatever it does.
fn end_with_stdin() {
    let end = end_of_stdin();
    std::thread::spawn(|| {
        let _ = end.blocking_recv();
        std::process::exit(0);
    });
}
