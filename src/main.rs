//! tethercert: parse, run, exit code.

mod cli;

use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    log_for_developers();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let arguments: Vec<_> = std::env::args_os().skip(1).collect();
            return ExitCode::from(cli::wrong::command_line(&error, &arguments).code());
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(cli::Exit::Failed.code());
        }
    };
    let exit = runtime.block_on(cli.run());
    // A prompt that was left by a stop still waits for a line: nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

/// `TETHERCERT_LOG=debug` writes to stderr what happens underneath; without it nothing is logged.
fn log_for_developers() {
    let Ok(wanted) = std::env::var("TETHERCERT_LOG") else { return };
    // At trace, sspi prints the NTLM messages.
    let no_secrets =
        filter_fn(|event| !(event.target().starts_with("sspi") && *event.level() == tracing::Level::TRACE));
    tracing_subscriber::registry()
        .with(EnvFilter::new(wanted))
        .with(no_secrets)
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .init();
}
