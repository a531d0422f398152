//! How each system's server is started, and how one sees that it serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::place::Place;
use crate::system::{Kind, Synced, System};

/// The longest until a server serves.
const START: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Between the look for a free port and the listening another program may take it.
const ATTEMPTS: usize = 5;
/// How much of a server's complaint is shown.
const COMPLAINT_BYTES: usize = 2000;

/// The process, and where it serves. What it says goes into `folder`.
pub(super) fn start(system: System, program: &Path, folder: &Path) -> Outcome<(Child, Place)> {
    match system.kind {
        Kind::Sinew(listen) => sinew(program, folder, listen, system.secured),
        Kind::Raw => raw(program, folder, system.secured),
        Kind::Nats if system.secured => nats_tls(program, folder),
        Kind::Nats => nats(program, folder, include_str!("../../config/nats.conf"), None),
        Kind::Redis | Kind::Celery => redis(program, folder, include_str!("../../config/redis.conf")),
        Kind::RedisStored(synced) => {
            let config = include_str!("../../config/redis-stored.conf");
            redis(
                program,
                folder,
                &config.replace("{sync}", if synced == Synced::Always { "always" } else { "everysec" }),
            )
        }
        Kind::JetStream(synced) => {
            let config = include_str!("../../config/jetstream.conf");
            let config = config.replace("{sync}", if synced == Synced::Always { "always" } else { "2m" });
            nats(program, folder, &config, None)
        }
        Kind::Etcd => etcd(program, folder),
        Kind::Zenoh => {
            let config = include_str!("../../config/zenohd.json5");
            // It says nothing to a stranger: that it accepts is all that can be asked.
            let (child, port) = on_port(program, folder, &["--config"], config, &|port| dial(port).map(drop))?;
            Ok((child, Place::at(format!("tcp/127.0.0.1:{port}"))))
        }
    }
}

fn sinew(program: &Path, folder: &Path, listen: &str, secured: bool) -> Outcome<(Child, Place)> {
    let home = folder.join("home");
    let listen = listen.replace("{folder}", &folder.display().to_string());
    let mut command = quiet(program, folder)?;
    command.args(["serve", "--listen", &listen]).env("SINEW_HOME", &home).stdout(Stdio::piped());
    if !secured {
        command.arg("--insecure");
    }
    let mut child = command.spawn()?;
    let lines = said(&mut child, folder, |line| line.starts_with("serving"))?;
    let url = lines.iter().find_map(|line| line.strip_prefix("listens on ")).ok_or("the server named no listener")?;
    Ok((child, Place { home: secured.then_some(home), ..Place::at(url.trim()) }))
}

fn raw(program: &Path, folder: &Path, secured: bool) -> Outcome<(Child, Place)> {
    let mut command = quiet(program, folder)?;
    command.arg("raw-proxy").args(secured.then_some("--curve")).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let lines = said(&mut child, folder, |line| line.starts_with('{'))?;
    let place = serde_json::from_str(lines.last().ok_or("the proxy said nothing")?)?;
    Ok((child, place))
}

fn nats_tls(program: &Path, folder: &Path) -> Outcome<(Child, Place)> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let authority = folder.join("server.crt");
    std::fs::write(&authority, made.cert.pem())?;
    std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem())?;
    nats(program, folder, include_str!("../../config/nats-tls.conf"), Some(authority))
}

fn nats(program: &Path, folder: &Path, config: &str, authority: Option<PathBuf>) -> Outcome<(Child, Place)> {
    let (child, port) = on_port(program, folder, &["--config"], config, &|port| answers(port, b"", b"INFO "))?;
    Ok((child, Place { authority, ..Place::at(format!("nats://127.0.0.1:{port}")) }))
}

fn redis(program: &Path, folder: &Path, config: &str) -> Outcome<(Child, Place)> {
    let (child, port) = on_port(program, folder, &[], config, &|port| answers(port, b"PING\r\n", b"+PONG"))?;
    Ok((child, Place::at(format!("redis://127.0.0.1:{port}/"))))
}

/// Two ports: one for clients, one for other members, of which there are none.
fn etcd(program: &Path, folder: &Path) -> Outcome<(Child, Place)> {
    let peers = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = include_str!("../../config/etcd.yaml").replace("{peers}", &peers.to_string());
    let health = |port| answers(port, b"GET /health HTTP/1.0\r\n\r\n", b"HTTP/1.0 200");
    let (child, port) = on_port(program, folder, &["--config-file"], &config, &health)?;
    Ok((child, Place::at(format!("http://127.0.0.1:{port}"))))
}

/// Starts a server that takes its port from its configuration; `serves` fails as long as it does not serve.
fn on_port(
    program: &Path,
    folder: &Path,
    flags: &[&str],
    config: &str,
    serves: &dyn Fn(u16) -> Outcome,
) -> Outcome<(Child, u16)> {
    let mut attempt = 1;
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = folder.join(if config.trim_start().starts_with("//") { "config.json5" } else { "config.conf" });
        std::fs::write(&path, fill(config, port, folder))?;
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let mut child = quiet(program, folder)?.args(flags).arg(&path).stdout(log).spawn()?;
        match wait(&mut child, folder, || serves(port)) {
            Ok(()) => return Ok((child, port)),
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
        // Both fail when it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A configuration with what only the run knows.
fn fill(config: &str, port: u16, folder: &Path) -> String {
    config.replace("{port}", &port.to_string()).replace("{folder}", &folder.display().to_string())
}

/// In `folder`, with nothing to read and complaints kept.
fn quiet(program: &Path, folder: &Path) -> Outcome<Command> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null()).stderr(log);
    Ok(command)
}

fn wait(child: &mut Child, folder: &Path, serves: impl Fn() -> Outcome) -> Outcome {
    let began = Instant::now();
    loop {
        let Err(error) = serves() else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended at once ({status}): {}", complaint(folder)).into());
        }
        if began.elapsed() > START {
            return Err(format!("the server does not serve within {START:?}: {error}: {}", complaint(folder)).into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What it says on standard output up to the line that `is_last`.
fn said(child: &mut Child, folder: &Path, is_last: fn(&str) -> bool) -> Outcome<Vec<String>> {
    let stdout = child.stdout.take().expect("it was piped");
    let (tell, told) = mpsc::channel();
    // Reads to the end, so that the server never writes into a closed pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once the server is there.
            let _ = tell.send(line);
        }
    });
    let (began, mut lines) = (Instant::now(), Vec::new());
    loop {
        match told.recv_timeout(START.saturating_sub(began.elapsed())) {
            Ok(line) => {
                lines.push(line);
                if lines.last().is_some_and(|line| is_last(line)) {
                    return Ok(lines);
                }
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the server does not serve within {START:?}: {}", complaint(folder)).into());
            }
        }
    }
}

fn complaint(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let from = text.len().saturating_sub(COMPLAINT_BYTES);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let text = text[from..].trim();
    if text.is_empty() { "it said nothing".into() } else { text.replace('\n', "; ") }
}

fn dial(port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), START)?;
    stream.set_read_timeout(Some(START))?;
    Ok(stream)
}

/// Whether what listens at `port` begins to speak with `expected` when it is told `question`.
fn answers(port: u16, question: &[u8], expected: &[u8]) -> Outcome {
    let mut stream = dial(port)?;
    stream.write_all(question)?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    if answer == expected { Ok(()) } else { Err("something else answers at its port".into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::{answers, fill};

    #[test]
    fn every_configuration_is_filled_in() {
        let configs = [
            include_str!("../../config/nats.conf"),
            include_str!("../../config/nats-tls.conf"),
            include_str!("../../config/redis.conf"),
            include_str!("../../config/zenohd.json5"),
            include_str!("../../config/jetstream.conf"),
            include_str!("../../config/redis-stored.conf"),
            include_str!("../../config/etcd.yaml"),
        ];
        for config in configs {
            let filled = fill(config, 4321, Path::new("/run/x"));
            assert!(filled.contains("4321") && !filled.contains("{port}") && !filled.contains("{folder}"), "{filled}");
        }
    }

    #[test]
    fn a_server_is_known_by_what_it_says_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let speaks = std::thread::spawn(move || {
            for text in ["INFO {}", "HTTP/1.1"] {
                listener.accept().unwrap().0.write_all(text.as_bytes()).unwrap();
            }
        });
        answers(port, b"", b"INFO ").unwrap();
        assert!(answers(port, b"", b"INFO ").is_err());
        speaks.join().unwrap();
    }
}
