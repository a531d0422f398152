//! The program `sinew`: a server, its clients for the shell, keys, and a demonstration. One file a command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod auth;
mod bus;
mod connect;
mod connection;
mod demo;
mod failure;
mod format;
mod keys;
mod kv;
mod log;
mod options;
mod output;
mod payload;
mod progress;
mod publish;
mod reply;
mod request;
mod rpc;
mod serve;
mod signals;
mod subscribe;
mod task;
mod units;

/// Programs share a message bus, a task queue, a key-value store and an event log over ZeroMQ, QUIC or a transport of your
/// own, encrypted and authenticated by one key.
///
/// Begin with `sinew demo`. Then, in three terminals: `sinew serve`, `sinew sub 'news.>'`, `sinew pub news.today hello`.
#[derive(Debug, Parser)]
#[command(name = "sinew", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  SINEW_HOME  the directory of keys, closed to other accounts. Default: `sinew` in the user's data
              directory ($XDG_DATA_HOME or ~/.local/share; ~/Library/Application Support on macOS).
              Server and clients of one account find each other's keys there.

Exit codes:
  0   done; for `serve`, `sub`, `reply`, `connect`, `task work`, `log tail` and `kv watch` also: ended by SIGINT or
      SIGTERM, or nobody reads the output any more
  1   failed; standard error says what, why, and the next step
  2   the command line could not be understood
  3   `request`: nobody responds to the subject; `task submit`: nobody works on the queue who could do it
  4   `request`: the responder failed, or was lost with the request; `task submit`, `task fetch`: the task failed, was
      cancelled, or its worker was lost
  5   no answer in time; `task submit`, `task fetch`: the task's deadline has passed
  6   the server's policy does not permit it
  7   `serve`: the storage failed, and nothing more could be acknowledged
  8   `log verify`, `kv bucket verify`, `task verify`: damage was found
  9   `log append --expected-offset`, `kv create`, `kv update` and the like: somebody else was faster
  10  `kv get` and the like: there is no such key";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Pub(publish::Publish),
    Sub(subscribe::Subscribe),
    Request(request::Request),
    Reply(reply::Reply),
    Bus(bus::Bus),
    Connect(Box<connect::Connect>),
    Task(task::Task),
    Rpc(rpc::Rpc),
    Kv(kv::Kv),
    Log(log::Log),
    Keys(keys::Keys),
    Auth(auth::Auth),
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoClient(demo::DemoClient),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Pub(publish) => publish.run(),
        Command::Sub(subscribe) => subscribe.run(),
        Command::Request(request) => request.run(),
        Command::Reply(reply) => reply.run(),
        Command::Bus(bus) => bus.run(),
        Command::Connect(connect) => connect.run(),
        Command::Task(task) => task.run(),
        Command::Rpc(rpc) => rpc.run(),
        Command::Kv(kv) => kv.run(),
        Command::Log(log) => log.run(),
        Command::Keys(keys) => keys.run(),
        Command::Auth(auth) => auth.run(),
        Command::Demo(demo) => demo.run(),
        Command::DemoClient(client) => client.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", failure::chain(&*error));
            failure::exit_code(&*error)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense() {
        super::Arguments::command().debug_assert();
    }
}
