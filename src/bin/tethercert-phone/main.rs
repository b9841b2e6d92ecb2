//! tethercert-phone: turns a Linux board with a USB device port into a phone that speaks the Tether Device Protocol.
//!
//! docs/reference-phone.md leads from a bare board to a provisioned phone.

mod arguments;
mod error;
mod factory;
mod keyboard;
mod led;
mod panel;
mod run;
mod screen;

use arguments::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    if let Ok(wanted) = std::env::var("TETHERCERT_LOG") {
        let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        tracing_subscriber::registry().with(EnvFilter::new(wanted)).with(to_stderr).init();
    }
    let cli = Cli::parse();
    let done = match cli.command {
        None => run::run(&cli.phone),
        Some(Command::MakeMaker(args)) => factory::make_maker(&args),
        Some(Command::FactoryRequest) => factory::request(&cli.phone),
        Some(Command::FactorySign(args)) => factory::sign(&args),
        Some(Command::FactoryInstall(args)) => factory::install(&cli.phone, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
