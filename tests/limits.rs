//! The table of limits in `docs/ARCHITECTURE.md` against the code, both ways: every option stands in it with its default,
//! and what stands in it is in the code.

use std::collections::BTreeMap;
use std::path::Path;

use sinew::{Limits, SessionLimits};

/// What a row names, and its default as a text.
type Table = BTreeMap<String, String>;

/// The rows between `## Limits` and the next heading of that level.
fn table() -> Table {
    let page = include_str!("../docs/ARCHITECTURE.md");
    let (_, limits) = page.split_once("\n## Limits\n").expect("the page has the heading");
    let (limits, _) = limits.split_once("\n## ").expect("and another one after it");
    let rows = limits.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
        let name = cells.nth(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let table: Table = rows.iter().cloned().collect();
    assert_eq!(table.len(), rows.len(), "a limit stands in it twice");
    table
}

/// Every field of a value that derives `Debug`, fields of fields included: `Type::field` and its value.
fn fields(debug: &str) -> Vec<(String, String)> {
    let (mut types, mut found, mut rest) = (Vec::<String>::new(), Vec::new(), debug);
    while let Some(at) = rest.find(['{', '}', ',']) {
        let (before, after) = (rest[..at].trim(), &rest[at + 1..]);
        match (&rest[at..=at], before.split_once(':')) {
            ("{", None) => types.push(before.to_owned()),
            ("{", Some((field, _))) => {
                let path = format!("{}::{}", types.last().expect("within a type"), field.trim());
                types.push(path);
            }
            (end, pair) => {
                let name = |field: &str| format!("{}::{}", types.last().expect("within a type"), field.trim());
                found.extend(pair.map(|(field, value)| (name(field), value.trim().to_owned())));
                if end == "}" {
                    types.pop();
                }
            }
        }
        rest = after;
    }
    found
}

/// As the table writes it: `8 MiB`, `65,536`, `3 s`.
fn written(name: &str, value: &str) -> String {
    if let Ok(number) = value.parse::<u64>() {
        let number_of = |unit: u64| number.is_multiple_of(unit).then(|| thousands(number / unit));
        return match (name.to_lowercase().contains("bytes"), number) {
            (false, _) => thousands(number),
            (true, ..1024) => format!("{number} bytes"),
            (true, _) => number_of(1 << 20)
                .map(|mebi| format!("{mebi} MiB"))
                .or_else(|| number_of(1 << 10).map(|kibi| format!("{kibi} KiB")))
                .unwrap_or_else(|| format!("{} bytes", thousands(number))),
        };
    }
    match value.strip_suffix("ms").map_or((value.strip_suffix('s'), "s"), |number| (Some(number), "ms")) {
        (Some(number), unit) => format!("{number} {unit}"),
        (None, _) => value.to_owned(),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// What the options say.
fn options() -> Table {
    let connect = sinew_transport_api::ConnectOptions::new(sinew_transport_api::Security::Plaintext, None);
    let connect = format!("ConnectOptions {{ connect_timeout: {:?} }}", connect.connect_timeout);
    let mut all = vec![format!("{:?}", Limits::default()), format!("{:?}", SessionLimits::default()), connect];
    #[cfg(feature = "bus")]
    all.push(format!("{:?}", sinew::BusLimits::default()));
    #[cfg(feature = "eventsource")]
    all.push(format!("{:?}", sinew::LogEngineOptions::default()));
    #[cfg(feature = "eventsource")]
    all.push(stream_limits());
    #[cfg(feature = "eventsource")]
    all.push(format!("{:?}", sinew::LogLimits::default()));
    #[cfg(feature = "kvstore")]
    all.push(format!("{:?}", sinew::kvstore::KvLimits::default()));
    all.push(format!("{:?}", sinew_kvstore::KvEngineOptions::default()));
    #[cfg(feature = "taskqueue")]
    all.push(format!("{:?}", sinew::taskqueue::TaskLimits::default()));
    #[cfg(feature = "taskqueue")]
    all.push(format!("{:?}", sinew::taskqueue::QueueLimits::default()));
    #[cfg(feature = "taskqueue")]
    all.push(format!("{:?}", sinew::taskqueue::TaskEngineOptions::default()));
    all.iter().flat_map(|debug| fields(debug)).map(|(name, value)| (name.clone(), written(&name, &value))).collect()
}

/// The bounds of a stream's configuration; what else it says has no default that is a limit.
#[cfg(feature = "eventsource")]
fn stream_limits() -> String {
    let sinew::StreamConfig { segment_bytes_max, index_interval_bytes, event_bytes_max, producers_max, .. } =
        sinew::StreamConfig::default();
    format!(
        "StreamConfig {{ segment_bytes_max: {segment_bytes_max}, index_interval_bytes: {index_interval_bytes}, \
         event_bytes_max: {event_bytes_max}, producers_max: {producers_max} }}"
    )
}

/// The values of all constants of this name in the workspace's sources, where they are written as numbers.
fn constants(name: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut found) = (Vec::new(), Vec::new());
    folders.extend(
        [
            "auth",
            "bus",
            "connectors",
            "eventsource",
            "hosting",
            "journal",
            "kvstore",
            "session",
            "taskqueue",
            "transport-api",
            "transport-quic",
            "transport-zmq",
        ]
        .map(|of| root.join(of)),
    );
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).expect("a source file");
                found.extend(text.split(&format!("const {name}: ")).skip(1).filter_map(value));
            }
        }
    }
    found
}

/// Of `usize = 16 * 1024;`, `u64 = 64 << 20;`, `Duration = Duration::from_secs(1);` and the like.
fn value(declaration: &str) -> Option<String> {
    let (_, expression) = declaration.split_once(';')?.0.split_once('=')?;
    let expression = expression.trim().replace('_', "").replace("Lane::COUNTMAX + 1", "33");
    if let Some(seconds) = expression.strip_prefix("Duration::fromsecs(") {
        return Some(format!("{}s", seconds.strip_suffix(')')?));
    }
    if let Some((number, bits)) = expression.split_once("<<") {
        let number = number.trim().parse::<u64>().ok()?;
        return Some(number.checked_shl(bits.trim().parse().ok()?)?.to_string());
    }
    let product = expression.split('*').map(|factor| factor.trim().parse::<u64>().ok()).product::<Option<u64>>()?;
    Some(product.to_string())
}

#[test]
fn every_option_stands_in_the_table_with_its_default() {
    let table = table();
    for (name, default) in options() {
        assert_eq!(table.get(&name), Some(&default), "the row of `{name}` in docs/ARCHITECTURE.md, \"Limits\"");
    }
}

#[test]
fn what_stands_in_the_table_is_in_the_code() {
    let options = options();
    for (name, default) in table() {
        let of_the_bus = name.starts_with("Bus");
        let of_the_log = ["EngineOptions::", "LogLimits::"].iter().any(|of| name.starts_with(of))
            || name.starts_with("StreamConfig::");
        if name.contains("::") {
            let of_the_store = name.starts_with("KvLimits::");
            let of_the_queue =
                ["TaskLimits::", "QueueLimits::", "TaskEngineOptions::"].iter().any(|of| name.starts_with(of));
            let is_left_out = (of_the_queue && !cfg!(feature = "taskqueue"))
                || (of_the_bus && !cfg!(feature = "bus"))
                || (of_the_log && !cfg!(feature = "eventsource"))
                || (of_the_store && !cfg!(feature = "kvstore"));
            assert!(options.contains_key(&name) || is_left_out, "there is no `{name}`");
            continue;
        }
        let values: Vec<_> = constants(&name).iter().map(|value| written(&name, value)).collect();
        assert!(values.contains(&default), "`{name}` is {values:?} in the code, {default} in the table");
    }
}
