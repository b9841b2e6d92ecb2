//! The lab, for other programs and other terminals.

use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::secret;
use super::stop::Signals;
use super::text::{count, dotted};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tethercert::credential::SipAddress;
use tethercert::lab::faults::{Fault, FaultError, Listed};
use tethercert::lab::registrar::{Proof, Registration};
use tethercert::lab::usbip::may_attach;
use tethercert::lab::web_services::{LabTls, User};
use tethercert::lab::{Lab, LabOptions, Ports, Ready};
use tethercert::tls::Engine;
use tokio::sync::broadcast::error::RecvError;

/// Start virtual phones, Web Services and a registrar on loopback, until Ctrl-C
///
/// The phones are exported over USB/IP, the Web Services speak HTTPS, the registrar SIP over TLS; other commands reach them
/// as they reach real ones. With --json the first line tells scripts where everything is, and each further one who has
/// registered. With --attach the phones are on this computer's own USB instead, as if they were plugged in: plain `list`
/// and `provision` find them.
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
    /// SIP address of the first user, whose password is new where no file has one
    #[arg(long, help_heading = "For other clients", value_name = "ADDRESS", default_value = "alice@contoso.example")]
    user: SipAddress,
    /// Name that this user signs in with [default: CONTOSO\ and the name before the @]
    #[arg(long, help_heading = "For other clients", value_name = "DOMAIN\\NAME")]
    login: Option<String>,
    /// File whose first line is this user's password; /dev/fd/N too
    #[arg(long, help_heading = "For other clients", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File whose first line is this user's PIN; /dev/fd/N too
    #[arg(long, help_heading = "For other clients", value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Name of the servers instead of localhost; it has to lead to this computer, in /etc/hosts for one
    #[arg(long, help_heading = "For other clients", value_name = "NAME", value_parser = server_name)]
    server_name: Option<String>,
    /// TLS of the servers: modern, or legacy for TLS 1.0 alone (in a build with legacy-tls)
    ///
    /// Inside TLS-DSK, a build with legacy-tls has TLS 1.0 in either case, for clients that have nothing newer.
    #[arg(long, help_heading = "For other clients", value_name = "ENGINE", default_value = "modern")]
    tls: Engine,
    /// Port of the Web Services [default: any]
    #[arg(long, help_heading = "For other clients", value_name = "PORT")]
    https_port: Option<u16>,
    /// Port of what the Web Services have over plain http [default: any]
    #[arg(long, help_heading = "For other clients", value_name = "PORT")]
    http_port: Option<u16>,
    /// Port of the registrar [default: any]
    #[arg(long, help_heading = "For other clients", value_name = "PORT")]
    registrar_port: Option<u16>,
    /// Port of the USB/IP server [default: any]
    #[arg(long, help_heading = "For other clients", value_name = "PORT")]
    usbip_port: Option<u16>,
    /// Fault to switch on; may be repeated; `help` lists them
    ///
    /// Faults of a phone are the first phone's; with @N behind them the N-th's.
    #[arg(long, value_name = "NAME[=VALUE][@N]")]
    fault: Vec<FaultArg>,
}

/// How many users are shown.
const MOST_USERS: usize = 3;

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
    if args.attach {
        // Before keys are made for nothing.
        may_attach()?;
    }
    let mut signals = Signals::new()?;
    screen.mark_lab();
    let options = LabOptions {
        phones: args.phones,
        key_delay: Duration::from_millis(args.key_delay_ms.into()),
        tls: match args.tls {
            Engine::Modern => LabTls::Modern,
            Engine::Legacy => LabTls::OnlyTls10,
        },
        ports: Ports {
            https: args.https_port.unwrap_or(0),
            http: args.http_port.unwrap_or(0),
            registrar: args.registrar_port.unwrap_or(0),
            usbip: args.usbip_port.unwrap_or(0),
        },
        server_name: args.server_name.clone(),
        first_user: Some(first_user(&args).await?),
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
    let mut news = lab.registrar().news();
    card(&args, &lab, &ready, screen);
    loop {
        tokio::select! {
            registered = news.recv() => match registered {
                Ok(registration) => tell(&registration, screen),
                // More at once than there is room for: those are in nobody's interest one by one.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            () = signals.next() => break,
        }
    }
    lab.detach().await;
    Ok(Exit::Done)
}

/// The first user, as the options have them.
async fn first_user(args: &Args) -> Result<User, CliError> {
    let mut user = User::new(args.user.clone(), "+12065551210");
    if let Some(login) = &args.login {
        user.login.clone_from(login);
    }
    for (file, what) in [(&args.password_file, "password"), (&args.pin_file, "PIN")] {
        let Some(path) = file.clone() else { continue };
        let whose = format!("the {what} of {}", user.sip);
        let read = tokio::task::spawn_blocking(move || secret::from_file(&path, &whose)).await;
        let secret = read.expect("reading a file does not panic")?;
        match what {
            "password" => user.password = secret,
            _ => user.pin = secret,
        }
    }
    Ok(user)
}

/// A name that can stand in a certificate and in an address.
fn server_name(text: &str) -> Result<String, String> {
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match text.len() <= 253 && text.split('.').all(label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("a name like sip.contoso.example".to_owned()),
    }
}

/// Somebody has registered.
fn tell(registration: &Registration, screen: &Screen) {
    #[derive(Serialize)]
    struct Line<'a> {
        user: &'a SipAddress,
        epid: &'a str,
        contact: &'a str,
        proof: &'a Proof,
        user_agent: &'a str,
    }
    let Registration { user, epid, contact, proof, user_agent, .. } = registration;
    screen.json("registered", &Line { user, epid, contact, proof, user_agent });
    let agent: String = user_agent.chars().filter(|c| !c.is_control()).take(80).collect();
    screen.line("sign-in", &dotted(&[user.to_string(), proof.to_string(), agent]));
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
    let servers = "Web Services and a registrar: all of it on this computer, nothing real";
    screen.line("lab", &dotted(&[phones, users, servers.to_owned()]));
    screen.line("server", &dotted(&[ready.registrar.clone(), ready.registrar_name.clone(), "SIP over TLS".to_owned()]));
    for phone in &ready.phones {
        let mut words = vec![phone.device.clone(), phone.model.clone(), phone.mac.clone()];
        match (&phone.attached, args.attach) {
            (Some(_), _) => words.push("on this computer's own USB".to_owned()),
            (None, true) => words.push("given to the kernel, which has not configured it".to_owned()),
            (None, false) => {}
        }
        screen.line("phone", &dotted(&words));
    }
    // A long list is the roster's.
    for user in ready.users.iter().take(MOST_USERS) {
        screen.line("user", &dotted(&[user.user.to_string(), user.login.clone(), user.phone_number.clone()]));
    }
    for fault in lab.faults() {
        screen.line("fault", &dotted(&[fault.to_string(), fault.says().to_owned()]));
    }
    screen.line("network", &dotted(&[format!("DHCP {}", ready.dhcp), format!("DNS {}", ready.dns)]));
    let Some(user) = ready.users.first() else { return };
    screen.line("next", "in another terminal:");
    screen.blank();
    let mut wires = vec![format!("--drivers {}", word(ready.drivers.display()))];
    if !args.attach {
        wires.insert(0, format!("--usbip {}", ready.usbip));
    }
    command(screen, "list", &wires);
    let asked = [
        format!("--user {}", user.user),
        format!("--dhcp-server {}", ready.dhcp),
        format!("--dns-server {}", ready.dns),
        format!("--registrar-port {}", lab.registrar().address().port()),
    ];
    command(screen, "discovery", &asked);
    let device: Vec<String> =
        ready.phones.iter().skip(1).take(1).map(|_| "--device serial:LAB00001".to_owned()).collect();
    let pool = [
        format!("--certprov-url {}", ready.certprov_url),
        format!("--trust-anchor {}", word(ready.trust_anchor.display())),
        format!("--user {} --login {}", user.user, word(&user.login)),
        format!("--password-file {}", word(user.password_file.display())),
        format!("--ledger {}", word(lab.folder().join("ledger.sqlite").display())),
    ];
    command(screen, "provision", &[wires.as_slice(), device.as_slice(), pool.as_slice()].concat());
    if ready.phones.len() > 1 {
        let roster = [
            format!("--roster {}", ready.roster.display()),
            format!("--secrets {}", ready.secrets.display()),
            format!("--certprov-url {}", ready.certprov_url),
            format!("--trust-anchor {}", ready.trust_anchor.display()),
            format!("--ledger {}", lab.folder().join("ledger.sqlite").display()),
        ];
        screen.line("or", "all of them, by a roster:");
        screen.blank();
        command(screen, "provision", &[wires.as_slice(), roster.as_slice()].concat());
    }
    screen.line("end", "Ctrl-C");
}

/// A command to copy, with its lines continued. The shells of Windows have no sign in common for that: there it is one line.
fn command(screen: &Screen, name: &str, options: &[String]) {
    // As this program was called, since a fresh build is in no search path.
    let program = std::env::args_os().next().unwrap_or_else(|| "tethercert".into());
    let program = program.to_string_lossy();
    let next = if cfg!(windows) { " " } else { " \\\n  " };
    screen.command(&format!("{program} {name}{next}{}", options.join(next)));
}

/// As the shell of this system reads it as one word: PowerShell and cmd, or a Unix shell.
fn word(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let plain = |c: char| c.is_alphanumeric() || "._-/:@".contains(c) || (cfg!(windows) && "\\~".contains(c));
    match text.chars().all(plain) {
        true => text,
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_word_of_a_command_to_copy_is_one_word_to_the_shell() {
        assert_eq!(word("contoso.example:443/x-1_2"), "contoso.example:443/x-1_2");
        let (blank, backslash) = match cfg!(windows) {
            true => (r#""C:\First Last\lab""#, r"CONTOSO\alice"),
            false => (r"'C:\First Last\lab'", r"'CONTOSO\alice'"),
        };
        assert_eq!((word(r"C:\First Last\lab").as_str(), word(r"CONTOSO\alice").as_str()), (blank, backslash));
        assert_eq!(word("it's"), if cfg!(windows) { "\"it's\"" } else { r"'it'\''s'" });
    }
}
