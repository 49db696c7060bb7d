//! The `tollgate` command.

use std::process::ExitCode;

use clap::Parser;
use tollgate::cli::args::{Cli, Command};
use tollgate::cli::{audit, backtest, check, decide, features, logging, model, profiles, serve, simulate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" });
    let result = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Decide(args) => decide::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Features(args) => features::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Audit(command) => audit::run(command),
        Command::Model(command) => model::run(command),
        Command::Profiles(command) => profiles::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
