//! The command line: one file per subcommand. Only [`screen`] prints.

mod ask;
mod bench;
mod discovery;
mod error;
mod exit;
mod explain;
mod identify;
mod info;
mod info_usb;
mod job;
mod job_record;
mod lab;
mod ledger;
mod list;
mod operator;
mod overview;
mod pool;
mod provision;
mod record;
mod replay;
mod report;
mod resume;
mod roster;
mod screen;
mod secret;
mod settings;
mod setup;
mod stop;
mod test;
mod text;
mod trust;
mod verify;
pub(crate) mod wrong;

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
    /// Write one JSON object per line to stdout, nothing else there, and ask nothing
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "\
Exit codes:
  0 done          3 not found                    6 refused by policy
  1 failed        4 some failed                  7 temporary: repeat later
  2 usage         5 unknown: resume              8 needs a person

Environment: TETHERCERT_POOL, TETHERCERT_CERTPROV_URL, TETHERCERT_REGISTRAR,
TETHERCERT_TRUST_ANCHOR, TETHERCERT_TLS, TETHERCERT_PROXY, TETHERCERT_DRIVERS,
TETHERCERT_LEDGER, TETHERCERT_USBIP, TETHERCERT_USB_BACKEND, TETHERCERT_INTERFACE,
TETHERCERT_DHCP_SERVER and TETHERCERT_DNS_SERVER stand for their options.
An option is stronger, and all of them are stronger than a pool's file: --explain tells
where each value is from. TETHERCERT_CONFIG is the folder of pools and drivers;
TETHERCERT_DISCOVERY=off keeps a job from looking for a pool by DHCP and DNS;
TETHERCERT_LOG=debug shows what happens underneath, TETHERCERT_USB_TRACE=FILE.pcapng
keeps this program's own USB transfers; NO_COLOR is honoured.";

#[derive(Subcommand, Debug)]
enum Command {
    List(list::Args),
    Info(info::Args),
    Identify(identify::Args),
    Provision(Box<provision::Args>),
    Resume(Box<resume::Args>),
    Verify(Box<verify::Args>),
    Trust(trust::Args),
    Test(test::Args),
    Setup(setup::Args),
    Pool(pool::Args),
    Discovery(Box<discovery::Args>),
    Ledger(ledger::Args),
    Record(record::Args),
    Replay(replay::Args),
    Lab(lab::Args),
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn run(self) -> Exit {
        let screen = Screen::new(self.json);
        let provisions = matches!(self.command, Some(Command::Provision(_) | Command::Resume(_)));
        let done = match self.command {
            None => overview::run(&screen).await,
            Some(Command::List(args)) => list::run(args, &screen).await,
            Some(Command::Info(args)) => info::run(args, &screen).await,
            Some(Command::Identify(args)) => identify::run(args, &screen).await,
            Some(Command::Provision(args)) => Ok(provision::run(*args, &screen).await),
            Some(Command::Resume(args)) => resume::run(*args, &screen).await,
            Some(Command::Verify(args)) => verify::run(*args, &screen).await,
            Some(Command::Trust(args)) => trust::run(args, &screen).await,
            Some(Command::Test(args)) => test::run(args, &screen).await,
            Some(Command::Setup(args)) => setup::run(args, &screen).await,
            Some(Command::Pool(args)) => pool::run(args, &screen).await,
            Some(Command::Discovery(args)) => discovery::run(*args, &screen).await,
            Some(Command::Ledger(args)) => ledger::run(args, &screen).await,
            Some(Command::Record(args)) => record::run(args, &screen).await,
            Some(Command::Replay(args)) => replay::run(args, &screen).await,
            Some(Command::Lab(args)) => lab::run(args, &screen).await,
        };
        let exit = done.unwrap_or_else(|error| {
            screen.error(&error);
            error.exit()
        });
        // The exit code of a job is that of its outcome.
        if exit == Exit::Done && screen.has_lost_a_line() && !provisions { Exit::Failed } else { exit }
    }
}
