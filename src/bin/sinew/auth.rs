//! `sinew auth`: who is let in and what they may do, looked at and changed. Files alone are written; a server that runs
//! sees the change by itself.

use clap::{Args, Subcommand};
use sinew::{
    Allowlist, Authorize, Decision, Endpoint, FileError, Home, ListedBy, ListedPeer, Operation, PeerKey, Policy,
    Resource,
};

use crate::failure::{Outcome, chain};

mod list;

/// Decide who may come in and what they may do
///
/// Keys stand in the file `allowlist` in SINEW_HOME. Where there is a file `policy.toml` beside it, a key may do what its
/// roles there allow; without one every listed key may do everything. A server that runs sees changes within a second,
/// and ends the sessions of a revoked key.
#[derive(Debug, Args)]
#[command(after_help = "\
A policy.toml:
  version = 1
  [roles.sensor]
  allow = [\"bus.publish sensors.>\", \"bus.subscribe commands.*\"]
  deny = [\"bus.publish sensors.private.>\"]
  [peers.thermometer]
  key = \"KEY\"
  roles = [\"sensor\"]")]
pub(crate) struct Auth {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Debug, Subcommand)]
enum AuthCommand {
    /// Say whether a peer may do something, and which rule decides; exit code 1 if it may not
    Check {
        /// Its key, fingerprint or name
        peer: String,
        /// What it wants to do, such as bus.publish
        operation: Operation,
        /// To what: a name, or a pattern with * and >
        resource: String,
    },
    /// List who is let in, with their roles
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Let a key in, with roles where there is a policy
    Allow {
        /// The key, as `sinew keys show` prints it there
        key: PeerKey,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
        /// A role of policy.toml; may be given more than once
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// Let a key in no more, and end its sessions
    Revoke {
        /// Its key, fingerprint or name
        peer: String,
    },
    /// Trust a server elsewhere: its key goes into `known_servers`, and URLs need not name it
    Trust {
        /// Its URL with its key, as it prints it at start: scheme://KEY@host:port
        url: Endpoint,
    },
}

impl Auth {
    pub(crate) fn run(self) -> Outcome {
        let home = Home::open()?;
        match self.command {
            AuthCommand::Check { peer, operation, resource } => check(&home, &peer, operation, &resource),
            AuthCommand::List { json } => list::print(&open(&home)?, json),
            AuthCommand::Allow { key, name, roles } if roles.is_empty() => allow(&home, &key, name),
            AuthCommand::Allow { key, name, roles } => give_roles(&home, &key, name, &roles),
            AuthCommand::Revoke { peer } => revoke(&home, &peer),
            AuthCommand::Trust { url } => trust(&home, &url),
        }
    }
}

/// The policy as it stands in the files now.
fn open(home: &Home) -> Outcome<Policy> {
    home.policy()
        .map_err(|error| format!("{}; a server that runs goes on with what was in force before", chain(&error)).into())
}

fn check(home: &Home, peer: &str, operation: Operation, resource: &str) -> Outcome {
    let policy = open(home)?;
    let key = match peer.parse() {
        Ok(key) => key,
        Err(_) => find(&policy, peer)?.key,
    };
    let is_pattern = resource.split('.').any(|token| token == "*" || token == ">");
    let asked = if is_pattern { Resource::Pattern(resource) } else { Resource::Name(resource) };
    match policy.decide(Some(&key), operation, asked) {
        allowed @ Decision::Allowed { .. } => {
            println!("{allowed}");
            Ok(())
        }
        denied @ Decision::Denied { .. } => Err(denied.to_string().into()),
    }
}

fn allow(home: &Home, key: &PeerKey, name: Option<String>) -> Outcome {
    let policy = open(home)?;
    let listed = policy.peers().into_iter().find(|peer| peer.key == *key);
    if listed.is_some_and(|peer| peer.listed == ListedBy::Policy) {
        return Err("the key is named in policy.toml already; give it other roles with --role".into());
    }
    let new = Allowlist::append(home.allowlist_path(), key, name.as_deref().unwrap_or_default())?;
    println!("{} {}", if new { "allowed" } else { "allowed already:" }, key.fingerprint());
    if policy.has_rules() && !policy.roles().iter().any(|role| role == "default") {
        eprintln!("note: it may do nothing yet: policy.toml has no role `default`; give it one with --role");
    }
    Ok(())
}

fn give_roles(home: &Home, key: &PeerKey, name: Option<String>, roles: &[String]) -> Outcome {
    let listed = open(home)?.peers().into_iter().find(|peer| peer.key == *key).map(|peer| peer.name);
    let unnamed = || format!("peer-{}", &key.fingerprint().to_string()["SHA256:".len()..][..8]);
    let name = name.or(listed.filter(|name| !name.is_empty())).unwrap_or_else(unnamed);
    match Policy::give_roles(home.policy_path(), key, &name, roles) {
        Ok(new) => {
            println!("{} {} ({})", if new { "allowed" } else { "allowed already:" }, key.fingerprint(), roles.join(", "));
            Ok(())
        }
        Err(FileError::Missing { path }) => Err(format!(
            "there is no {}, so no roles, and every listed key may do everything; write it first, as `sinew auth --help` \
             shows",
            path.display()
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

fn revoke(home: &Home, peer: &str) -> Outcome {
    let policy = open(home)?;
    let peer = find(&policy, peer)?;
    // All of them: a key that stays on one of the lists still comes in.
    let own = home.forget_client(&peer.key)?;
    let listed = Allowlist::remove(home.allowlist_path(), &peer.key)?;
    let named = Policy::forget(home.policy_path(), &peer.key)?;
    if !(own || listed || named) {
        return Err(format!("{} is not listed any more; somebody else was faster", peer.key.fingerprint()).into());
    }
    println!("revoked {} {}", peer.key.fingerprint(), peer.name);
    eprintln!("a server that runs ends its sessions within a second");
    Ok(())
}

fn trust(home: &Home, url: &Endpoint) -> Outcome {
    let new = home.trust(url)?;
    let key = url.key().ok_or("the URL has no key")?;
    println!("{} {} {}", if new { "trusted" } else { "trusted already:" }, url.authority(), key.fingerprint());
    Ok(())
}

/// The one peer of that key, fingerprint or name.
fn find(policy: &Policy, text: &str) -> Outcome<ListedPeer> {
    let key = text.parse::<PeerKey>().ok();
    let is_meant =
        |peer: &ListedPeer| Some(peer.key) == key || peer.name == text || peer.key.fingerprint().to_string() == text;
    let mut found: Vec<ListedPeer> = policy.peers().into_iter().filter(is_meant).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(format!(
            "no listed key, fingerprint or name is `{}`; `sinew auth list` shows them",
            text.escape_debug()
        )
        .into()),
        count => Err(format!("{count} keys have the name `{}`; give the key itself", text.escape_debug()).into()),
    }
}
