//! `meet-server`: reads the command line, then serves or does one small thing. Thin on purpose.

use clap::Parser;
use meet_server::config::{self, Cli, Command, Config};
use meet_server::error::StartError;
use meet_server::{accounts, run, telemetry};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told more when standard error is closed too.
            drop(writeln!(std::io::stderr(), "meet-server: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(cli: &Cli) -> Result<(), StartError> {
    let config = config::load(cli)?;
    match &cli.command {
        None => serve(&config),
        Some(Command::Config { show_secrets }) => {
            let shown = if *show_secrets { config } else { config.redacted() };
            print(&config::to_toml(&shown)?)
        }
        Some(Command::User(command)) => print(&accounts::run(command, &config)?),
    }
}

fn serve(config: &Config) -> Result<(), StartError> {
    telemetry::init(&config.log);
    run::serve(config)
}

fn print(text: &str) -> Result<(), StartError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
