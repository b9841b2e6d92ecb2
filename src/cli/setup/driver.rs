//! The driver that Windows loads for phones: which, by what, and whether it is there.

use super::file;
use crate::cli::bench::{BusArgs, definitions};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tethercert::phone::definition::{Definitions, INF_FILE, windows_inf};

/// Show what driver Windows needs for phones, and write the driver file
///
/// A phone that follows the Tether Device Protocol needs none: its own Microsoft OS 2.0 descriptors have Windows load WinUSB. The
/// driver file is for a phone without them. 64-bit Windows installs no unsigned driver: who distributes the file has to
/// have it signed, and nothing here can do that.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Write tethercert.inf into this folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// On Windows, look whether each phone that is plugged in has its driver
    #[arg(long, conflicts_with = "to")]
    check: bool,
    /// Write over a file that differs
    #[arg(long)]
    force: bool,
    /// Folder with further phone definitions; may be repeated [env: TETHERCERT_DRIVERS]
    #[arg(long, value_name = "DIR")]
    drivers: Vec<PathBuf>,
}

#[derive(Serialize)]
struct DriverLine<'a> {
    needed_here: bool,
    route: &'a str,
    file: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct WrittenLine<'a> {
    file: &'a Path,
    written: bool,
}

/// What a person has to know before a file is of any use.
const ROUTE: &str = "a phone that follows the protocol needs no driver file: its Microsoft OS 2.0 descriptors have Windows 8.1 and later \
                     load WinUSB";
const SIGNED: &str = "64-bit Windows installs it only signed: make its catalog (Inf2Cat), have it signed, then pnputil /add-driver \
                      tethercert.inf /install";

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let definitions = definitions(&BusArgs { drivers: args.drivers.clone(), ..BusArgs::default() }, None)?;
    let inf = windows_inf(&definitions);
    match &args.to {
        _ if args.check => check(&definitions, screen).await,
        Some(folder) => {
            let path = folder.join(INF_FILE);
            let written = file::put(&path, &inf, |_| false, args.force, screen)?;
            screen.json("written", &WrittenLine { file: &path, written });
            let text = match written {
                true => format!("written: {}", path.display()),
                false => format!("{} is there already, and the same", path.display()),
            };
            screen.toned(Tone::Good, "done", &text);
            screen.line("next", SIGNED);
            Ok(Exit::Done)
        }
        None => {
            screen.json("driver", &DriverLine { needed_here: false, route: ROUTE, file: INF_FILE, text: &inf });
            inf.lines().for_each(|line| screen.row(line));
            if !screen.is_json() {
                if !cfg!(windows) {
                    screen.note("this system needs no driver; the file is for Windows, and can be written here for it: --to DIR");
                }
                screen.note(&format!("{ROUTE}. The file is for one that does not; {SIGNED}"));
            }
            Ok(Exit::Done)
        }
    }
}

#[cfg(not(windows))]
async fn check(_: &Definitions, _: &Screen) -> Result<Exit, CliError> {
    Err(CliError::usage(
        "drivers are Windows' matter: on this system there is nothing to look at",
        match cfg!(target_os = "linux") {
            true => "who may open phones on Linux: tethercert setup udev --check",
            false => "nothing has to be set up here: plug the phone in",
        },
    ))
}

#[cfg(windows)]
async fn check(definitions: &Definitions, screen: &Screen) -> Result<Exit, CliError> {
    use super::finding::{self, Finding};
    use tethercert::phone::Finder;
    use tethercert::phone::tether::INTERFACE;
    use tethercert::usb::UsbError;

    let finder = Finder::to_list(definitions.clone());
    let found = finder.list().await?;
    let mut findings = Vec::new();
    for phone in found.iter().filter(|phone| phone.spoken().is_some()) {
        let port = phone.slot();
        // Without WinUSB on its interface there is nothing that could be opened.
        findings.push(match finder.usb.open_kind(&phone.attached, INTERFACE).await {
            Ok(_) => Finding::good("phone", format!("port {port}: WinUSB is loaded, and this user may open it")),
            Err(UsbError::Busy { .. }) => {
                let next = "close it and check again";
                Finding::unknown("phone", format!("port {port} is in use by another program"), next)
            }
            Err(error) => Finding::bad(
                "phone",
                format!("port {port}: {error}"),
                "see in the Device Manager which driver its interface has; WinUSB is loaded by the phone's OS 2.0 descriptors, or \
                 by a signed driver file: uninstall another driver there with its files, and plug the phone in again",
            ),
        });
    }
    if findings.is_empty() {
        let next =
            "plug one in and check again; a device without a driver stands in the Device Manager under Other devices";
        findings.push(Finding::unknown("phone", "none is plugged in that is spoken to", next));
    }
    Ok(finding::show(&findings, screen))
}
