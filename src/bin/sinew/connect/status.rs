//! The connectors there are, those that are configured, and what those of the server do. The server writes the last into
//! `run/connectors.json`, once a second while it changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sinew::Home;
use sinew::connectors::{ConnectorConfig, Progress, Registry, parse_config};

use crate::failure::Outcome;

/// The largest file of states that is read.
const STATES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What one connector of the server does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// `starting`, `moving`, `retrying`, `ended`, `failed`.
    pub(crate) state: String,
    pub(crate) moved: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) uncounted: u64,
    pub(crate) retries: u64,
    /// Items in all runs.
    pub(crate) confirmed: u64,
    /// What is there and not taken yet, where the source knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag: Option<u64>,
    pub(crate) position: String,
    /// Why it fails or tries again, or what a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl State {
    /// Of a connector that has done this so far; `failure` is why it does not run.
    pub(crate) fn new(config: &ConnectorConfig, progress: &Progress, failure: Option<&str>) -> Self {
        use sinew::connectors::Phase;

        let (state, why) = match (failure, &progress.phase) {
            (Some(why), _) => ("failed", Some(why.to_owned())),
            (None, Phase::Starting) => ("starting", None),
            (None, Phase::Moving) => ("moving", progress.notice.clone()),
            (None, Phase::Retrying(why)) => ("retrying", Some(why.clone())),
            (None, Phase::Ended) => ("ended", progress.notice.clone()),
        };
        Self {
            name: config.name.to_string(),
            from: config.from.to_string(),
            to: config.to.to_string(),
            state: state.into(),
            moved: progress.moved,
            bytes: progress.bytes,
            lost: progress.lost,
            uncounted: progress.uncounted,
            retries: progress.retries,
            confirmed: progress.confirmed,
            lag: progress.lag(),
            position: progress.position.clone(),
            why,
        }
    }
}

/// Where the connectors of a server are written down.
pub(crate) fn config_path(home: &Home) -> PathBuf {
    home.path().join("connectors.toml")
}

/// Where the server tells what they do.
pub(crate) fn states_path(home: &Home) -> PathBuf {
    home.path().join("run").join("connectors.json")
}

/// The connectors of the file; none where there is no file.
pub(crate) fn configured(home: &Home) -> Outcome<Vec<ConnectorConfig>> {
    let path = config_path(home);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(parse_config(&path, &text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
    }
}

pub(super) fn schemes(json: bool) -> Outcome {
    for plugin in Registry::linked()?.plugins() {
        let (source, sink) = (plugin.source.is_some(), plugin.sink.is_some());
        if json {
            let about = plugin.about;
            println!(
                "{}",
                serde_json::json!({ "scheme": plugin.scheme, "source": source, "sink": sink, "about": about })
            );
        } else {
            let ways = [(source, "from"), (sink, "to")];
            let ways: Vec<_> = ways.iter().filter(|(on, _)| *on).map(|(_, way)| *way).collect();
            println!("{:<8} {:<8} {}", plugin.scheme, ways.join(", "), plugin.about);
        }
    }
    Ok(())
}

pub(super) fn list(home: &Home, json: bool) -> Outcome {
    let found = configured(home)?;
    if found.is_empty() && !json {
        eprintln!("no connectors in {}; write a table [connector.NAME] with from and to", config_path(home).display());
    }
    for config in found {
        let (name, from, to) = (config.name.to_string(), config.from.to_string(), config.to.to_string());
        if json {
            println!("{}", serde_json::json!({ "name": name, "from": from, "to": to }));
        } else {
            println!("{name:<20} {from}  ->  {to}");
        }
    }
    Ok(())
}

pub(super) fn status(home: &Home, json: bool) -> Outcome {
    home.running()?;
    let path = states_path(home);
    let text = match std::fs::metadata(&path) {
        Ok(found) if found.len() > STATES_BYTES_MAX => {
            return Err(format!("{} is larger than any server writes it; restart the server", path.display()).into());
        }
        Ok(_) => std::fs::read_to_string(&path)?,
        Err(_) => String::new(),
    };
    if text.is_empty() && !json {
        eprintln!("the server has no connectors; write them into {}, and restart it", config_path(home).display());
    }
    for line in text.lines() {
        let state: State = serde_json::from_str(line)?;
        if json {
            println!("{line}");
            continue;
        }
        let State { name, state, moved, confirmed, lost, from, to, .. } = &state;
        println!(
            "{name:<20} {state:<9} {confirmed:>10} in all {moved:>10} since start {lost:>8} lost  {from}  ->  {to}"
        );
        if let Some(why) = &serde_json::from_str::<State>(line)?.why {
            println!("{:<20} {why}", "");
        }
    }
    Ok(())
}
