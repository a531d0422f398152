//! What a server prints when it serves: where, under which key, and what to type next.

use std::io::{self, Write};

use sinew::{Endpoint, Home, Server};

use super::listeners::is_local;

/// Prints it, ending with a line that begins with `serving`.
pub(super) fn print(server: &Server, home: &Home, insecure: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "sinew {}", env!("CARGO_PKG_VERSION"))?;
    if let Some(key) = server.key() {
        writeln!(out, "server key  {}", key.fingerprint())?;
    }
    server.urls().iter().try_for_each(|url| writeln!(out, "listens on  {url}"))?;
    if insecure {
        warn(server);
    }
    let insecure = if insecure { " --insecure" } else { "" };
    let given = if std::env::var_os("SINEW_HOME").is_some() {
        format!("SINEW_HOME={} ", home.path().display())
    } else {
        String::new()
    };
    writeln!(out, "\nIn a second terminal:  {given}sinew sub{insecure} 'news.>'")?;
    writeln!(out, "In a third one:        {given}sinew pub{insecure} news.today 'it works'")?;
    writeln!(out, "Or let it work:        {given}sinew task work{insecure} shout --exec 'tr a-z A-Z'")?;
    writeln!(out, "for whoever asks:      {given}sinew task submit{insecure} shout hello")?;
    writeln!(out, "Or keep something:     {given}sinew kv put{insecure} config lights.hall on")?;
    writeln!(out, "and see it change:     {given}sinew kv watch{insecure} config")?;
    elsewhere(&mut out, server, home, insecure)?;
    writeln!(out, "\nserving until SIGINT (Ctrl-C) or SIGTERM")?;
    out.flush()
}

/// What a second machine needs.
fn elsewhere(out: &mut impl Write, server: &Server, home: &Home, insecure: &str) -> io::Result<()> {
    writeln!(out, "\nFrom a second machine:")?;
    match server.urls().iter().find(|url| !is_local(url)) {
        Some(url) => {
            if insecure.is_empty() {
                writeln!(
                    out,
                    "  put the line that `sinew keys show` prints there into {}",
                    home.allowlist_path().display()
                )?;
            }
            writeln!(out, "  sinew sub{insecure} 'news.>' --url {}", named(url))
        }
        None => {
            writeln!(
                out,
                "  put the line that `sinew keys show` prints there into {}",
                home.allowlist_path().display()
            )?;
            writeln!(out, "  and start this server with --host 0.0.0.0; it then prints the URL to use there")
        }
    }
}

/// A listener on all addresses, under this machine's name.
fn named(url: &Endpoint) -> String {
    let any = ["0.0.0.0", "::"].contains(&url.host());
    if any {
        url.to_string().replacen(&url.authority(), &format!("{}:{}", machine(), url.port().unwrap_or(0)), 1)
    } else {
        url.to_string()
    }
}

fn warn(server: &Server) {
    let exposed = server.urls().iter().any(|url| !is_local(url));
    let who = if exposed { "everybody who reaches this machine" } else { "every account on this machine" };
    eprintln!(
        "warning: --insecure: nothing is encrypted, no key is asked for, no policy applies: {who} can do everything"
    );
}

#[cfg(unix)]
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn machine() -> String {
    "THIS-MACHINE".to_owned()
}
