//! The command line: one file per subcommand. Only [`screen`] prints.

mod bench;
mod error;
mod exit;
mod operator;
mod provision;
mod report;
mod screen;
mod secret;
mod stop;
mod text;

use clap::{Parser, Subcommand};
pub(crate) use exit::Exit;
use screen::Screen;

/// Give a desk phone its certificate over a USB cable
///
/// Plug a phone into this computer: tethercert fetches and publishes the user's certificate from the Web Services on the
/// phone's behalf, installs it with the server trust that the phone lacks, and has the phone prove that it holds the key.
///
/// Without a command: what is plugged in, and the next command.
#[derive(Parser, Debug)]
#[command(version, after_help = AFTER)]
pub(crate) struct Cli {
    /// Write one JSON object per line to stdout, and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 some failed, 5 outcome unknown (repeat the command),
6 refused by policy, 7 temporary (repeat later), 8 needs a person.
TETHERCERT_LOG=debug shows what happens underneath; NO_COLOR=1 is honoured.";

#[derive(Subcommand, Debug)]
enum Command {
    Provision(Box<provision::Args>),
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn run(self) -> Exit {
        let screen = Screen::new(self.json);
        match self.command {
            None => Exit::Done,
            Some(Command::Provision(args)) => provision::run(*args, &screen).await,
        }
    }
}
