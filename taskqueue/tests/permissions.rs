//! What each thing that a client does with a queue needs, held against a table: every action with every single operation
//! taken away.

use std::sync::Arc;

use sinew_session::{Operation, ResourceName};
use sinew_taskqueue::{Error, Listed, MemoryEngine, QueueConfig, Result, TaskId, TaskLimits, Tasks};
use sinew_testkit::net::Net;
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::{Setup, soon};

/// The queue of every action.
const NAME: &str = "config";

/// One macro for the actions and what they need, so that none is forgotten. `or` is what is enough as well, `and` what is
/// needed beside it.
macro_rules! actions {
    ($($action:ident needs $operation:ident $(or $other:ident)? $(and $also:ident)?;)+) => {
        /// What a client does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Action {
            $($action,)+
        }

        const ACTIONS: &[Action] = &[$(Action::$action,)+];

        /// The model: what is enough for an action.
        fn enough(action: Action) -> &'static [Operation] {
            match action {
                $(Action::$action => &[Operation::$operation $(, Operation::$other)?],)+
            }
        }

        /// The model: what must not be missing beside one of these.
        fn also(action: Action) -> &'static [Operation] {
            match action {
                $(Action::$action => &[$(Operation::$also)?],)+
            }
        }
    };
}

actions! {
    Submit needs TaskSubmit;
    Attach needs TaskSubmit or TaskManage;
    Cancel needs TaskSubmit or TaskManage;
    Join needs TaskWork;
    Info needs TaskInspect;
    Tasks needs TaskInspect;
    Workers needs TaskInspect;
    Explain needs TaskInspect;
    Payload needs TaskInspect;
    Make needs TaskManage;
    Alter needs TaskManage;
    RetryDead needs TaskManage;
    DropDead needs TaskManage;
    Verify needs TaskManage;
    Backup needs TaskManage and ServerManage;
    Restore needs TaskManage and ServerManage;
    Remove needs TaskManage;
}

async fn act(tasks: &Tasks, action: Action) -> Result<()> {
    let name: ResourceName = NAME.parse()?;
    let (queue, nobody) = (tasks.queue(&name), TaskId::from_bytes([9; 16]));
    match action {
        Action::Submit => async { queue.submit("x").queueing().await }.await.map(drop),
        Action::Attach => queue.attach(nobody).await.map(drop),
        Action::Cancel => queue.cancel(nobody).await.map(drop),
        Action::Join => queue.worker().join().await.map(drop),
        Action::Info => queue.info().await.map(drop),
        Action::Tasks => queue.tasks_page(Listed::Live, None).await.map(drop),
        Action::Workers => queue.workers_page(None).await.map(drop),
        Action::Explain => queue.explain(nobody).await.map(drop),
        Action::Payload => queue.payload(nobody).await.map(drop),
        Action::Make => queue.make(&QueueConfig::default()).await.map(drop),
        Action::Alter => queue.alter(&QueueConfig::default()).await.map(drop),
        Action::RetryDead => queue.retry_dead(nobody).await.map(drop),
        Action::DropDead => queue.drop_dead(nobody).await.map(drop),
        Action::Verify => queue.verify(Arc::new(|_| ())).await.map(drop),
        Action::Backup => queue.backup("/nowhere", Arc::new(|_| ())).await.map(drop),
        Action::Restore => queue.restore("/nowhere", Arc::new(|_| ())).await.map(drop),
        Action::Remove => queue.remove().await,
    }
}

const ALL: [Operation; 5] = [
    Operation::TaskSubmit,
    Operation::TaskWork,
    Operation::TaskInspect,
    Operation::TaskManage,
    Operation::ServerManage,
];

/// On what it is denied: managing the server, of this part of it.
fn resource(operation: Operation) -> &'static str {
    if operation == Operation::ServerManage { "task" } else { NAME }
}

#[tokio::test(start_paused = true)]
async fn every_action_needs_exactly_what_the_table_says() {
    let rules = Arc::new(Rules::default());
    let mut setup = Setup { authorize: rules.clone(), ..Setup::on(&Net::default(), "wide://here") };
    let _server = setup.serve_tasks_on(Arc::new(MemoryEngine::default()), TaskLimits::default()).await;
    // Every set of operations that are taken away.
    for set in 0..1_u32 << ALL.len() {
        let denied: Vec<_> = (0..ALL.len()).filter(|bit| set >> bit & 1 == 1).map(|bit| ALL[bit]).collect();
        soon("making it", act(&setup.tasks(0).await, Action::Make)).await.expect("nothing denies it");
        denied.iter().for_each(|operation| rules.deny(*operation, resource(*operation)));
        for action in ACTIONS {
            // A session of its own: what was permitted before the change may be kept until it is judged.
            let result = soon("an action", act(&setup.tasks(0).await, *action)).await;
            let refused = matches!(result, Err(Error::Denied { .. }));
            let is_denied = |operation: &Operation| denied.contains(operation);
            let should = enough(*action).iter().all(is_denied) || also(*action).iter().any(is_denied);
            assert_eq!(refused, should, "{action:?} without {denied:?}: {result:?}");
            // An engine in memory has nothing to verify or to copy.
            let is_fine = match &result {
                Ok(()) => true,
                Err(error) => matches!(
                    error,
                    Error::UnknownTask { .. } | Error::UnknownDeadLetter { .. } | Error::Unsupported { .. }
                ),
            };
            assert!(refused || is_fine, "{action:?}: {result:?}");
        }
        denied.iter().for_each(|operation| rules.allow(*operation, resource(*operation)));
    }
}

#[test]
fn no_operation_of_the_task_queue_is_without_an_action() {
    for operation in Operation::ALL.iter().filter(|operation| operation.service() == "task") {
        assert!(ACTIONS.iter().any(|action| enough(*action).contains(operation)), "nothing needs {operation:?}");
    }
}
