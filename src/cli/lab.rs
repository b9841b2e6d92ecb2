//! The lab, for other programs and other terminals.

use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::stop::Signals;
use super::text::{count, dotted};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::str::FromStr;
use std::time::Duration;
use tethercert::lab::faults::{Fault, FaultError, Listed};
use tethercert::lab::{Lab, LabOptions, Ready};

/// Start virtual phones and Web Services on loopback, until Ctrl-C
///
/// The phones are exported over USB/IP, the Web Services speak HTTPS; other commands reach both as they reach real ones.
/// With --json the first line tells scripts where everything is. With --attach the phones are on this computer's own USB
/// instead, as if they were plugged in: plain `list` and `provision` find them.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// How many phones are plugged in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=99))]
    phones: u8,
    /// Hand the phones to this computer's own kernel, which takes Linux, its module vhci_hcd and root's rights
    #[arg(long)]
    attach: bool,
    /// How much longer a phone takes to make a key, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    key_delay_ms: u32,
    /// Fault to switch on; may be repeated; `help` lists them
    ///
    /// Faults of a phone are the first phone's.
    #[arg(long, value_name = "NAME[=VALUE]")]
    fault: Vec<FaultArg>,
}

/// A fault, or the wish to see them all.
#[derive(Debug, Clone)]
enum FaultArg {
    Help,
    Fault(Fault),
}

impl FromStr for FaultArg {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "help" { Ok(Self::Help) } else { text.parse().map(Self::Fault) }
    }
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let faults = args.fault.iter().map(|fault| match fault {
        FaultArg::Help => None,
        FaultArg::Fault(fault) => Some(fault.clone()),
    });
    let Some(faults) = faults.collect() else {
        list(screen);
        return Ok(Exit::Done);
    };
    let mut signals = Signals::new()?;
    screen.mark_lab();
    let options = LabOptions {
        phones: args.phones,
        key_delay: Duration::from_millis(args.key_delay_ms.into()),
        faults,
        ..LabOptions::default()
    };
    let mut lab = Lab::start(&options).await.map_err(CliError::Lab)?;
    if args.attach {
        tokio::select! {
            attached = lab.attach() => attached?,
            () = signals.next() => return Ok(Exit::Done),
        }
    }
    let ready = lab.ready();
    screen.json_of_its_own("ready", &ready);
    if screen.has_lost_a_line() {
        // A temporary folder whose name is no UTF-8: a script would wait for a lab that it cannot reach.
        return Ok(Exit::Failed);
    }
    card(&args, &lab, &ready, screen);
    signals.next().await;
    lab.detach().await;
    Ok(Exit::Done)
}

/// Every fault there is.
fn list(screen: &Screen) {
    #[derive(Serialize)]
    struct Line {
        group: String,
        name: &'static str,
        value: &'static str,
        says: &'static str,
    }
    let mut group = None;
    for fault in Fault::all() {
        let Listed { name, value, says, .. } = fault;
        screen.json("fault", &Line { group: fault.group.to_string(), name, value, says });
        if group.replace(fault.group) != Some(fault.group) {
            screen.heading(&fault.group.to_string());
        }
        screen.row(&format!("{name}{value}"));
        screen.columns(Tone::Plain, "    ", says);
    }
    screen.blank();
    screen.row("REQUEST is metadata, ticket (or ntlm, pin, cert), publish, chains or wsdl.");
}

fn card(args: &Args, lab: &Lab, ready: &Ready, screen: &Screen) {
    let phones = count(ready.phones.len(), "phone");
    let users = count(ready.users.len(), "user");
    screen.line("lab", &dotted(&[phones, users, "Web Services: all of it on this computer, nothing real".to_owned()]));
    for phone in &ready.phones {
        let mut words = vec![phone.device.clone(), phone.model.clone(), phone.mac.clone()];
        match (&phone.attached, args.attach) {
            (Some(_), _) => words.push("on this computer's own USB".to_owned()),
            (None, true) => words.push("given to the kernel, which has not configured it".to_owned()),
            (None, false) => {}
        }
        screen.line("phone", &dotted(&words));
    }
    for user in &ready.users {
        screen.line("user", &dotted(&[user.user.to_string(), user.login.clone(), user.phone_number.clone()]));
    }
    for fault in lab.faults() {
        screen.line("fault", &dotted(&[fault.to_string(), fault.says().to_owned()]));
    }
    let Some(user) = ready.users.first() else { return };
    screen.line("next", "in another terminal:");
    screen.blank();
    let mut wires = vec![format!("--drivers {}", ready.drivers.display())];
    if !args.attach {
        wires.insert(0, format!("--usbip {}", ready.usbip));
    }
    command(screen, "list", &wires);
    let device: Vec<String> =
        ready.phones.iter().skip(1).take(1).map(|_| "--device serial:LAB00001".to_owned()).collect();
    let pool = [
        format!("--certprov-url {}", ready.certprov_url),
        format!("--trust-anchor {}", ready.trust_anchor.display()),
        format!("--user {} --login '{}'", user.user, user.login),
        format!("--password-file {}", user.password_file.display()),
        format!("--ledger {}", lab.folder().join("ledger.sqlite").display()),
    ];
    command(screen, "provision", &[wires.as_slice(), device.as_slice(), pool.as_slice()].concat());
    screen.line("end", "Ctrl-C");
}

/// A command to copy, with its lines continued.
fn command(screen: &Screen, name: &str, options: &[String]) {
    // As this program was called, since a fresh build is in no search path.
    let program = std::env::args_os().next().unwrap_or_else(|| "tethercert".into());
    let program = program.to_string_lossy();
    screen.command(&format!("{program} {name} \\\n  {}", options.join(" \\\n  ")));
}
