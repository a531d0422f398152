//! What each thing that a client does with a stream needs, held against a table: every action with every single operation
//! taken away.

use std::sync::Arc;

use sinew_eventsource::{
    Error, FollowOptions, GroupOptions, Log, LogLimits, MemoryEngine, Position, ReadLimits, Result, StreamConfig,
};
use sinew_session::{Operation, ResourceName};
use sinew_testkit::net::Net;
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::Setup;

/// The stream of every action.
const NAME: &str = "orders";

macro_rules! actions {
    ($($action:ident)+) => {
        /// What a client does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Action {
            $($action),+
        }

        use Action::{$($action),+};

        const ACTIONS: &[Action] = &[$($action),+];
    };
}

actions!(Append OpenProducer Read Follow Info Cursor CommitCursor Join Groups PauseGroup Create Alter Verify Backup);

/// The model: what an action needs.
fn needs(action: Action) -> &'static [Operation] {
    match action {
        Append | OpenProducer => &[Operation::LogAppend],
        Read | Follow | Info | Cursor | CommitCursor | Join | Groups => &[Operation::LogRead],
        PauseGroup | Create | Alter | Verify => &[Operation::LogManage],
        Backup => &[Operation::LogManage, Operation::ServerManage],
    }
}

async fn act(log: &Log, action: Action) -> Result<()> {
    let stream: ResourceName = NAME.parse()?;
    let (name, config) = ("crew".parse::<ResourceName>()?, StreamConfig::default());
    let limits = ReadLimits { bytes_max: 1, events_max: 1 };
    match action {
        Append => log.append(&stream, "x").await.map(drop),
        OpenProducer => log.producer(&stream, &name).await.map(drop),
        Read => log.read(&stream, Position::Start, limits).await.map(drop),
        Follow => log.follow(&stream, Position::Start, FollowOptions::default()).await.map(drop),
        Info => log.info(&stream).await.map(drop),
        Cursor => log.cursor(&stream, &name).await.map(drop),
        CommitCursor => log.commit_cursor(&stream, &name, 0).await,
        Join => log.join(&stream, &name, GroupOptions::default()).await.map(drop),
        Groups => log.groups(&stream).await.map(drop),
        PauseGroup => log.pause_group(&stream, &name).await.map(drop),
        Create => log.create(&stream, &config).await.map(drop),
        Alter => log.alter(&stream, &config).await.map(drop),
        Verify => log.verify(&stream, Arc::new(|_| ())).await.map(drop),
        Backup => log.backup(&stream, "/nowhere", Arc::new(|_| ())).await.map(drop),
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_needs_exactly_what_the_table_says() {
    let rules = Arc::new(Rules::default());
    let mut setup = Setup { authorize: rules.clone(), ..Setup::on(&Net::default(), "wide://here") };
    let _server = setup.serve_log_on(Arc::new(MemoryEngine::default()), LogLimits::default()).await;
    act(&setup.log(0).await, Create).await.unwrap();
    act(&setup.log(0).await, Join).await.unwrap();
    let operations = [Operation::LogAppend, Operation::LogRead, Operation::LogManage, Operation::ServerManage];
    for denied in operations {
        let resource = if denied == Operation::ServerManage { "log" } else { NAME };
        rules.deny(denied, resource);
        for &action in ACTIONS {
            // A session of its own: what was permitted before the change may be kept until it is judged.
            let result = act(&setup.log(0).await, action).await;
            let refused = matches!(result, Err(Error::Denied { .. }));
            assert_eq!(refused, needs(action).contains(&denied), "{action:?} without {denied:?}: {result:?}");
            // An engine in memory has nothing to verify or to copy.
            assert!(refused || matches!(result, Ok(()) | Err(Error::Unsupported { .. })), "{action:?}: {result:?}");
        }
        rules.allow(denied, resource);
    }
}

#[test]
fn no_operation_of_the_log_is_without_an_action() {
    for operation in Operation::ALL.iter().filter(|operation| operation.service() == "log") {
        assert!(ACTIONS.iter().any(|action| needs(*action).contains(operation)), "nothing needs {operation:?}");
    }
}
