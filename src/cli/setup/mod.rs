//! Setting this computer up: one file per subject.

mod driver;
mod file;
#[cfg(any(target_os = "linux", windows))]
mod finding;
pub(crate) mod pool;
mod udev;

use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use clap::{Args as ClapArgs, Subcommand};

/// Set this computer up
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Pool(Box<pool::Args>),
    Udev(udev::Args),
    Driver(driver::Args),
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        Command::Pool(args) => pool::run(*args, screen).await,
        Command::Udev(args) => udev::run(args, screen).await,
        Command::Driver(args) => driver::run(args, screen).await,
    }
}
