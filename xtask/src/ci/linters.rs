//! The checks that other projects' tools make: dependencies (cargo-deny), unused dependencies (machete), spelling (typos).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xshell::{Shell, cmd};

use crate::{Result, tools};

/// The advisory database comes over the network, from elsewhere than packages do; this long is enough for a slow line.
const ADVISORIES_FETCH_TIME_MAX: Duration = Duration::from_secs(60);

/// Licences, sources and bans always; advisories where their database can be had, and else says that it did not.
pub(crate) fn deny(shell: &Shell) -> Result<String> {
    let deny = tools::DENY.ready(shell)?;
    cmd!(shell, "{deny} --log-level warn check --hide-inclusion-graph bans licenses sources").run()?;
    let mut fetch = Command::new(&deny);
    if !ends_well(fetch.args(["fetch", "db"]), ADVISORIES_FETCH_TIME_MAX)? {
        let remark = "advisories NOT checked: their database cannot be fetched from this machine";
        println!("    {remark}; where it can, `cargo deny check advisories` is the command");
        return Ok(remark.into());
    }
    cmd!(shell, "{deny} --log-level warn check --disable-fetch advisories").run()?;
    Ok("advisories checked".into())
}

/// Dependencies that no code names.
pub(crate) fn machete(shell: &Shell) -> Result<String> {
    let machete = tools::MACHETE.ready(shell)?;
    let output = cmd!(shell, "{machete} --skip-target-dir").ignore_status().output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    print!("{text}");
    // It ends well even where it could not read a manifest.
    match output.status.success() && !text.contains("error when handling") {
        true => Ok(String::new()),
        false => Err("remove what is listed; what only a macro names goes to `package.metadata.cargo-machete`".into()),
    }
}

/// Spelling, in code and in text; words that are right although they look wrong stand in `_typos.toml`.
pub(crate) fn typos(shell: &Shell) -> Result<String> {
    let typos = tools::TYPOS.ready(shell)?;
    cmd!(shell, "{typos} --format brief").run()?;
    Ok(String::new())
}

/// Whether `command` ends without error before `time_max` is over; it is ended then.
fn ends_well(command: &mut Command, time_max: Duration) -> Result<bool> {
    let began = Instant::now();
    let mut child = command.current_dir(crate::metadata::root()).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while began.elapsed() < time_max {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}
