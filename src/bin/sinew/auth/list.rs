//! What `sinew auth list` prints: a table for people, JSON for programs.

use std::io::{self, Write};

use sinew::{ListedBy, ListedPeer, Policy};

use crate::failure::Outcome;

pub(super) fn print(policy: &Policy, json: bool) -> Outcome {
    let peers = policy.peers();
    let mut out = io::stdout().lock();
    let written = if json { peers.iter().try_for_each(|peer| object(&mut out, peer)) } else { table(&mut out, &peers) };
    written?;
    if !json && !policy.has_rules() {
        writeln!(out, "\nthere is no policy.toml: every listed key may do everything")?;
    }
    Ok(())
}

fn object(out: &mut impl Write, peer: &ListedPeer) -> io::Result<()> {
    let object = serde_json::json!({
        "name": peer.name,
        "key": peer.key.to_string(),
        "fingerprint": peer.key.fingerprint().to_string(),
        "listed": listed(peer.listed),
        "roles": peer.roles,
    });
    writeln!(out, "{object}")
}

fn table(out: &mut impl Write, peers: &[ListedPeer]) -> io::Result<()> {
    let widest = peers.iter().map(|peer| peer.name.chars().count()).max().unwrap_or(0).max("NAME".len());
    writeln!(out, "{:widest$}  {:50}  {:9}  ROLES", "NAME", "FINGERPRINT", "LISTED BY")?;
    peers.iter().try_for_each(|peer| {
        let roles = match &peer.roles {
            None => "(everything)".to_owned(),
            Some(roles) if roles.is_empty() => "(nothing)".to_owned(),
            Some(roles) => roles.join(", "),
        };
        let (name, print) = (&peer.name, peer.key.fingerprint().to_string());
        writeln!(out, "{name:widest$}  {print:50}  {:9}  {roles}", listed(peer.listed))
    })
}

fn listed(by: ListedBy) -> &'static str {
    match by {
        ListedBy::Policy => "policy",
        ListedBy::Own => "own",
        _ => "allowlist",
    }
}
