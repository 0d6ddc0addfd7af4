//! The command `mocha-session`, with which operators manage the sessions of a store.

mod args;
mod check;
mod copy;
mod count;
mod doctor;
mod output;
mod owners;
mod prove;
mod schema;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::output::{Failure, Report};

fn main() -> ExitCode {
    output::end_on_panic(std::env::args_os().any(|argument| argument == "--json"));
    let cli = Cli::parse();
    let json = cli.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::internal(format!("the runtime could not be started: {error}"))
                .print(json);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(report) => report.print(json),
        Err(failure) => failure.print(json),
    }
}

async fn run(cli: Cli) -> Result<Report, Failure> {
    match cli.command {
        Command::Check(store) => check::run(&store),
        Command::Doctor(doctor) => doctor::run(&doctor).await,
        Command::Count(store) => count::count(&store).await,
        Command::Sweep(sweep) => count::sweep(&sweep).await,
        Command::Copy(copy) => copy::run(&copy).await,
        Command::Sessions(sessions) => owners::sessions(&sessions).await,
        Command::Revoke(revoke) => owners::revoke(&revoke).await,
        Command::Schema(store) => schema::run(&store),
        Command::Prove(store) => prove::run(&store).await,
        Command::Completions { shell } => {
            let (mut command, mut text) = (Cli::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "mocha-session", &mut text);
            Ok(Report::text(text))
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut text)
                .map_err(|error| Failure::internal(error.to_string()))?;
            Ok(Report::text(text))
        }
    }
}
