//! The lab, for other programs and other terminals.

use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use super::stop::Signals;
use super::text::{count, dotted};
use clap::Args as ClapArgs;
use std::time::Duration;
use tethercert::lab::{Lab, LabOptions, Ready};

/// Start virtual phones and Web Services on loopback, until Ctrl-C
///
/// The phones are exported over USB/IP, the Web Services speak HTTPS; other commands reach both as they reach real ones.
/// With --json the first line tells scripts where everything is.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// How many phones are plugged in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=99))]
    phones: u8,
    /// How much longer a phone takes to make a key, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    key_delay_ms: u32,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let mut signals = Signals::new()?;
    screen.mark_lab();
    let options = LabOptions {
        phones: args.phones,
        key_delay: Duration::from_millis(args.key_delay_ms.into()),
        ..LabOptions::default()
    };
    let lab = Lab::start(&options).await.map_err(CliError::Lab)?;
    let ready = lab.ready();
    screen.json_of_its_own("ready", &ready);
    if screen.has_lost_a_line() {
        // A temporary folder whose name is no UTF-8: a script would wait for a lab that it cannot reach.
        return Ok(Exit::Failed);
    }
    card(&lab, &ready, screen);
    signals.next().await;
    Ok(Exit::Done)
}

fn card(lab: &Lab, ready: &Ready, screen: &Screen) {
    let phones = count(ready.phones.len(), "phone");
    let users = count(ready.users.len(), "user");
    screen.line("lab", &dotted(&[phones, users, "Web Services: all of it on this computer, nothing real".to_owned()]));
    for phone in &ready.phones {
        screen.line("phone", &dotted(&[phone.device.clone(), phone.model.clone(), phone.mac.clone()]));
    }
    for user in &ready.users {
        screen.line("user", &dotted(&[user.user.to_string(), user.login.clone(), user.phone_number.clone()]));
    }
    let Some(user) = ready.users.first() else { return };
    screen.line("next", "in another terminal:");
    screen.blank();
    let wires = [format!("--usbip {}", ready.usbip), format!("--drivers {}", ready.drivers.display())];
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
