//! `demo`, cut short, and the ping-pong of two processes over each transport and across.

use super::program::{Home, schemes};

#[test]
fn ping_pong_over_each_transport_and_across() {
    let home = Home::new();
    let server = home.serve(&[]);
    for ping in schemes() {
        for pong in schemes() {
            let mut answers = home.start(["demo-client", "pong", &server.url(pong)]);
            assert_eq!(answers.line(), "\"ready\"\n");
            let asks = ["demo-client", "ping", &server.url(ping), "--rounds", "100", "--seconds", "60"];
            let mut asks = home.start(asks);
            let result: serde_json::Value = serde_json::from_str(&asks.line()).unwrap();
            assert_eq!(result["round_trips"]["rounds"], 100, "{ping} and {pong}: {result}");
        }
    }
}

#[test]
fn a_brief_demo_measures_everything_and_leaves_nothing() {
    let home = Home::new();
    let places = tempfile::tempdir().unwrap();
    let ended = home.run_with(["demo", "--brief", "--json"], "TMPDIR", places.path());
    assert!(ended.status.success(), "{}", ended.stderr);
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let ways = schemes().len();
    assert_eq!(rows.len(), ways + usize::from(ways > 1) + usize::from(cfg!(feature = "zmq")), "{report:#}");
    for row in rows {
        assert!(row["ping_pong"]["rounds"].as_u64().unwrap() > 0, "{row}");
        let across = row["security"] == "both";
        assert_eq!(row["throughput"].as_array().unwrap().len(), if across { 0 } else { 3 }, "{row}");
    }
    let logs = report["logs"].as_array().unwrap();
    assert_eq!(logs.len(), ways, "{report:#}");
    for row in logs {
        assert!(row["appended"].as_u64().unwrap() > 0 && row["appended"] == row["replayed"], "{row}");
    }
    let stores = report["stores"].as_array().unwrap();
    assert_eq!(stores.len(), ways, "{report:#}");
    for row in stores {
        assert!(row["put"].as_u64().unwrap() > 0 && row["put"] == row["watched"], "{row}");
        assert!(row["got"].as_u64().unwrap() > 0, "{row}");
    }
    let tasks = report["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), ways, "{report:#}");
    for row in tasks {
        assert!(row["submitted"].as_u64().unwrap() > 0 && row["submitted"] == row["done"], "{row}");
        assert!(row["workers"] == 2 && row["calls"].as_u64().unwrap() > 0, "{row}");
    }
    assert_eq!(report["failures"], serde_json::json!([]));
    assert_eq!(std::fs::read_dir(places.path()).unwrap().count(), 0);
    assert!(!home.path("").exists(), "the account's own home was not touched");
}
