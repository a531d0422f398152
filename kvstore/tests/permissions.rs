//! What each thing that a client does with a bucket needs, held against a table: every action with every single operation
//! taken away.

use std::sync::Arc;

use sinew_kvstore::{
    BucketConfig, Error, Key, Kv, KvLimits, MemoryEngine, PageLimits, PutOptions, Range, Result, WatchFrom,
};
use sinew_session::{Operation, ResourceName};
use sinew_testkit::net::Net;
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::Setup;

/// The bucket of every action.
const NAME: &str = "config";

/// One macro for the actions and what they need, so that none is forgotten.
macro_rules! actions {
    ($($action:ident needs $($operation:ident),+;)+) => {
        /// What a client does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Action {
            $($action,)+
        }

        const ACTIONS: &[Action] = &[$(Action::$action,)+];

        /// The model: what an action needs.
        fn needs(action: Action) -> &'static [Operation] {
            match action {
                $(Action::$action => &[$(Operation::$operation),+],)+
            }
        }
    };
}

actions! {
    Get needs KvRead;
    GetMany needs KvRead;
    History needs KvRead;
    Scan needs KvRead;
    Watch needs KvRead;
    WatchOne needs KvRead;
    Info needs KvRead;
    Put needs KvWrite;
    Create needs KvWrite;
    Delete needs KvWrite;
    Purge needs KvWrite;
    Add needs KvWrite;
    Together needs KvWrite;
    // The condition of a key that it does not write tells what is there.
    Expecting needs KvRead, KvWrite;
    Make needs KvManage;
    Alter needs KvManage;
    Verify needs KvManage;
    Compact needs KvManage;
    Backup needs KvManage, ServerManage;
    Restore needs KvManage, ServerManage;
}

async fn act(kv: &Kv, action: Action) -> Result<()> {
    let (name, key, other): (ResourceName, Key, Key) = (NAME.parse()?, "lights.hall".parse()?, "lights.door".parse()?);
    let bucket = kv.bucket(&name);
    let config = BucketConfig::default();
    let limits = PageLimits { bytes_max: 1, items_max: 1, keys_only: false };
    match action {
        Action::Get => bucket.get(&key).await.map(drop),
        Action::GetMany => bucket.get_many(&[key, other]).await.map(drop),
        Action::History => bucket.history(&key).await.map(drop),
        Action::Scan => bucket.scan_page(&Range::default(), limits).await.map(drop),
        Action::Watch => bucket.watch(&">".try_into()?, WatchFrom::Snapshot).await.map(drop),
        Action::WatchOne => bucket.watch(&key.as_subject().into(), WatchFrom::Snapshot).await.map(drop),
        Action::Info => bucket.info().await.map(drop),
        Action::Put => bucket.put(&key, "x").await.map(drop),
        Action::Create => {
            let create = PutOptions { expected: Some(sinew_kvstore::Expected::Present), ..PutOptions::default() };
            bucket.put_with(&key, "x", &create).await.map(drop)
        }
        Action::Delete => bucket.delete(&other).await.map(drop),
        Action::Purge => bucket.purge(&other).await.map(drop),
        Action::Add => bucket.add(&"count".parse()?, 1).await.map(drop),
        Action::Together => bucket.transaction().expect_present(&key).put(&key, "y").commit().await.map(drop),
        Action::Expecting => bucket.transaction().expect_present(&key).put(&"z".parse()?, "y").commit().await.map(drop),
        Action::Make => bucket.make(&config).await.map(drop),
        Action::Alter => bucket.alter(&config).await.map(drop),
        Action::Verify => bucket.verify(Arc::new(|_| ())).await.map(drop),
        Action::Compact => bucket.compact(Arc::new(|_| ())).await.map(drop),
        Action::Backup => bucket.backup("/nowhere", Arc::new(|_| ())).await.map(drop),
        Action::Restore => bucket.restore("/nowhere", Arc::new(|_| ())).await.map(drop),
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_needs_exactly_what_the_table_says() {
    let rules = Arc::new(Rules::default());
    let mut setup = Setup { authorize: rules.clone(), ..Setup::on(&Net::default(), "wide://here") };
    let _server = setup.serve_kv_on(Arc::new(MemoryEngine::default()), KvLimits::default()).await;
    act(&setup.kv(0).await, Action::Make).await.unwrap();
    act(&setup.kv(0).await, Action::Put).await.unwrap();
    // What is asked of the policy for the actions above, on names and patterns: a policy denies all of them together.
    let keys = ["config.>", "config.lights.hall", "config.lights.door", "config.count", "config.z"];
    for (denied, resources) in [
        (Operation::KvRead, &keys[..]),
        (Operation::KvWrite, &keys),
        (Operation::KvManage, &["config"]),
        (Operation::ServerManage, &["kv"]),
    ] {
        resources.iter().for_each(|resource| rules.deny(denied, resource));
        for action in ACTIONS {
            // A session of its own: what was permitted before the change may be kept until it is judged.
            let result = act(&setup.kv(0).await, *action).await;
            let refused = matches!(result, Err(Error::Denied { .. }));
            assert_eq!(refused, needs(*action).contains(&denied), "{action:?} without {denied:?}: {result:?}");
            // An engine in memory has nothing to verify or to copy.
            assert!(refused || matches!(result, Ok(()) | Err(Error::Unsupported { .. })), "{action:?}: {result:?}");
        }
        resources.iter().for_each(|resource| rules.allow(denied, resource));
    }
}

#[test]
fn no_operation_of_the_store_is_without_an_action() {
    for operation in Operation::ALL.iter().filter(|operation| operation.service() == "kv") {
        assert!(ACTIONS.iter().any(|action| needs(*action).contains(operation)), "nothing needs {operation:?}");
    }
}
