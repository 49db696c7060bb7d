//! The `tollgate` command.

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches};
use tollgate::cli::args::{Cli, Command};
use tollgate::cli::{
    audit, backtest, check, decide, features, ip, logging, model, profiles, serve, simulate,
};

use crate::load::options::LoadOptions;

#[path = "../loadtest/mod.rs"]
mod load;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `load` measures the service from outside: it lives in loadtest/, which the library does not know.
    let load = LoadOptions::augment_args(clap::Command::new("load"))
        .about("Send decisions to a service at a constant rate, and measure it");
    let matches = Cli::command().subcommand(load).get_matches();
    if let Some(("load", matches)) = matches.subcommand() {
        logging::start("warn");
        let options = LoadOptions::from_arg_matches(matches).map_err(anyhow::Error::from);
        return exit(options.and_then(load::main::main));
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    logging::start(if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" });
    exit(match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Decide(args) => decide::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Features(args) => features::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Audit(command) => audit::run(command),
        Command::Model(command) => model::run(command),
        Command::Profiles(command) => profiles::run(command),
        Command::Ip(args) => ip::run(args),
    })
}

/// Whether whoever reads our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind =
        error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Some errors say their cause themselves: each is said once.
            let mut text = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
