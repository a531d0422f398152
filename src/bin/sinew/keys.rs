//! `sinew keys`: makes identities and shows their public half. The secret is never shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sinew::{Home, Identity};

use crate::failure::Outcome;

/// Make and show keys
///
/// Every peer has one key, for every transport. Its public half goes into the allowlist of the servers that are to let
/// it in; the secret half stays in its file, which only you can read.
#[derive(Debug, Args)]
#[command(after_help = "\
Let a client on another machine in:
  there:  sinew keys show                      prints the line for the allowlist
  here:   append that line to the file `allowlist` in SINEW_HOME; it counts at once")]
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
