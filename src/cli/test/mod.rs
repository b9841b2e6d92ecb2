//! Tests of a pool, without a phone: what administrators know as synthetic transactions.

mod bootstrap;
mod client_auth;
mod setting;
mod told;

use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use clap::{Args as ClapArgs, Subcommand};

/// Test a pool as a phone and its user would find it
///
/// From any computer, without domain and without a phone: this computer stands for one, with a device of its own that it
/// keeps for tests. Every step is shown with its result and how long it took; the last lines are those of the cmdlets
/// that administrators know.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Bootstrap(Box<bootstrap::Args>),
    ClientAuth(Box<client_auth::Args>),
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        Command::Bootstrap(args) => bootstrap::run(*args, screen).await,
        Command::ClientAuth(args) => client_auth::run(*args, screen).await,
    }
}
