//! Tasks over Redis Streams: a stream with a consumer group for the tasks, and one stream for the outcomes. Redis syncs
//! its append-only file before it answers anybody, so a task is on disk before a worker has it, and its outcome before it
//! is told. Who blocks has a connection of its own, as Redis wants it.

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};

use super::{Answers, Ask, Asks, Over};
use crate::Outcome;
use crate::place::Place;

const TASKS: &str = "tasks";
const OUTCOMES: &str = "outcomes";
const GROUP: &str = "workers";
const NUMBER: &str = "n";
const BODY: &str = "d";
/// Taken at one time: as many as are under way at most.
const COUNT: usize = 64;
/// How long one blocks at most before it looks whether it is over.
const BLOCK_MS: usize = 100;

/// Redis with tasks.
#[derive(Debug)]
pub(crate) struct RedisTasks;

/// A connection that submits, and another one that reads outcomes.
#[derive(Debug)]
pub(crate) struct Submitter {
    connection: MultiplexedConnection,
    answers: Answers,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// An entry's id and its fields, and a stream's name and its entries.
type Entry = (String, Vec<Bytes>);
type Entries = Vec<(String, Vec<Entry>)>;

/// Without the half second after which the client gives up by itself: a sync may take longer, and blocking does.
async fn connect(place: &Place) -> Outcome<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(place.address.as_str())?;
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// The number and the body of a task or of an outcome.
fn parts(entry: &Entry) -> Outcome<(u64, Bytes)> {
    let [_, number, _, body] = &entry.1[..] else { return Err(format!("entry {} is none of ours", entry.0).into()) };
    Ok((std::str::from_utf8(number)?.parse()?, body.clone()))
}

impl Asks for RedisTasks {
    type Asker = Submitter;

    async fn asker(place: &Place) -> Outcome<Submitter> {
        let answers = Answers::default();
        let (connection, reading) = (connect(place).await?, connect(place).await?);
        let reader = answers.told_by(read(reading, answers.clone()));
        Ok(Submitter { connection, answers, reader })
    }

    async fn answer(place: &Place, ready: impl FnOnce(), mut over: Over) -> Outcome {
        let mut connection = connect(place).await?;
        let id: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(TASKS).arg(GROUP).arg("$").arg("MKSTREAM");
        match create.query_async::<()>(&mut connection).await {
            // The other worker came first.
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            made => made?,
        }
        ready();
        let mut take = redis::cmd("XREADGROUP");
        take.arg("GROUP").arg(GROUP).arg(id).arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK_MS);
        take.arg("STREAMS").arg(TASKS).arg(">");
        while over.try_recv() == Ok(None) {
            let taken: Option<Entries> = take.query_async(&mut connection).await?;
            let mut told = redis::pipe();
            for entry in taken.iter().flatten().flat_map(|(_, entries)| entries) {
                let (number, body) = parts(entry)?;
                told.cmd("XADD").arg(OUTCOMES).arg("*").arg(NUMBER).arg(number).arg(BODY).arg(&body[..]).ignore();
                told.cmd("XACK").arg(TASKS).arg(GROUP).arg(&entry.0).ignore();
            }
            if taken.is_some() {
                told.query_async::<()>(&mut connection).await?;
            }
        }
        Ok(())
    }
}

/// Reads outcomes until it is stopped.
async fn read(mut connection: MultiplexedConnection, answers: Answers) -> Outcome {
    let mut last = "0".to_owned();
    loop {
        let mut outcomes = redis::cmd("XREAD");
        outcomes.arg("COUNT").arg(COUNT).arg("BLOCK").arg(0).arg("STREAMS").arg(OUTCOMES).arg(&last);
        let read: Option<Entries> = outcomes.query_async(&mut connection).await?;
        for entry in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let (number, body) = parts(&entry)?;
            answers.tell(number, body)?;
            last = entry.0;
        }
    }
}

impl Ask for Submitter {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        let (number, answer) = self.answers.expect();
        let mut add = redis::cmd("XADD");
        add.arg(TASKS).arg("*").arg(NUMBER).arg(number).arg(BODY).arg(&body[..]);
        add.query_async::<()>(&mut self.connection.clone()).await?;
        Ok(answer.await.map_err(|_| "outcomes are not read any more")?)
    }
}
