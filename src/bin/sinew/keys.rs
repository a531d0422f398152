//! `sinew keys`: makes identities and shows their public half. The secret is never shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sinew::{Home, Identity, KeyOf};

use crate::failure::Outcome;

/// Make and show keys
///
/// Every peer has one key, for every transport. Its public half goes into the allowlist of the servers that are to let
/// it in; the secret half stays in its file, which only you can read.
#[derive(Debug, Args)]
#[command(after_help = "\
Let a client on another machine in:
  there:  sinew keys show                      prints the line for the allowlist
  here:   sinew auth allow KEY                 with the key of that line; it counts at once

Change this account's client key, and stay connected:
  sinew keys rotate                            makes the next key, prints its line for the servers
  sinew keys rotate --finish                   once it is listed there: the next key is the key
Change the server's key: the same with --server; clients elsewhere trust the next one in between.")]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key, never over one that is there
    New {
        /// Where to. Default: the account's client key, `client.key` in SINEW_HOME
        file: Option<PathBuf>,
    },
    /// Show the public key, as a line for an allowlist, and its fingerprint
    Show {
        /// Which. Default: the account's client key, which is made if it is missing
        file: Option<PathBuf>,
        /// The account's server key instead
        #[arg(long, conflicts_with = "file")]
        server: bool,
    },
    /// Make the next key, to be listed beside the old one; then --finish puts it in the old one's place
    Rotate {
        /// The account's server key instead of its client key
        #[arg(long)]
        server: bool,
        /// The next key is listed everywhere: use it from now on, and keep the old one as `.key.old`
        #[arg(long)]
        finish: bool,
    },
}

impl Keys {
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            KeysCommand::New { file: Some(file) } => print(&Identity::create(&file)?, &file),
            KeysCommand::New { file: None } => {
                let home = Home::open()?;
                Identity::create(home.client_key_path())?;
                // Through the home, which leaves the public half for the server of this account.
                print(&home.client_identity()?, &home.client_key_path());
            }
            KeysCommand::Rotate { server, finish } => {
                rotate(&Home::open()?, if server { KeyOf::Server } else { KeyOf::Client }, finish)?;
            }
            KeysCommand::Show { file: Some(file), .. } => print(&Identity::read(&file)?, &file),
            KeysCommand::Show { file: None, server } => {
                let home = Home::open()?;
                if server {
                    print(&home.server_identity()?, &home.server_key_path());
                } else {
                    print(&home.client_identity()?, &home.client_key_path());
                }
            }
        }
        Ok(())
    }
}

fn rotate(home: &Home, of: KeyOf, finish: bool) -> Outcome {
    // The present key is made where there is none yet: the next one is then the second.
    let _present = match of {
        KeyOf::Client => home.client_identity()?,
        KeyOf::Server => home.server_identity()?,
    };
    if !finish {
        let key = home.prepare_rotation(of)?.public_key();
        println!("{key}\n# fingerprint {}", key.fingerprint());
        eprintln!(
            "{}",
            match of {
                KeyOf::Client =>
                    "the next client key: `sinew auth allow` it at each server, with the old one's roles, then `sinew keys rotate --finish`",
                KeyOf::Server =>
                    "the next server key: each client elsewhere runs `sinew auth trust scheme://KEY@host:port` with it, and keeps the old one; then `sinew keys rotate --server --finish`, and start the server again",
            }
        );
        return Ok(());
    }
    let (old, new) = home.finish_rotation(of)?;
    println!("{new}\n# fingerprint {}\n# replaced    {}", new.fingerprint(), old.fingerprint());
    eprintln!(
        "{}",
        match of {
            KeyOf::Client => format!(
                "programs that run go on under the old key; when they have ended, `sinew auth revoke {}` at each server",
                old.fingerprint()
            ),
            KeyOf::Server => "start the server again; a client that trusted both keys moves by itself".to_owned(),
        }
    );
    Ok(())
}

/// The line for an allowlist on standard output, what is for people beside it on standard error.
fn print(identity: &Identity, file: &Path) {
    let key = identity.public_key();
    println!("{key} {}", name(file));
    println!("# fingerprint {}", key.fingerprint());
    eprintln!("the public half of {}; the first line is for the allowlist of a server", file.display());
}

/// The file's name without its ending, in characters that an allowlist takes.
fn name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}
