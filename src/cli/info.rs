//! All that a phone says, and all that is known of a model.

use super::bench::{Bench, PhoneArgs};
use super::error::CliError;
use super::exit::Exit;
use super::list::{UnexpectedInterface, models, name, unexpected};
use super::operator::{clock, vouched};
use super::screen::{Screen, Tone};
use super::text::{count, date, dotted, moment};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::time::Duration;
use tethercert::phone::definition::{Confidence, Definition, Fact, Protocol};
use tethercert::phone::{
    AnchorHeld, Authenticity, ConsentWanted, Driver, Found, Identity, IdentityInUse, LogLine, Parting, PhoneState,
    Settings, tether, what_to_do_about,
};
use time::OffsetDateTime;

/// How many lines of the phone's log are shown.
const LOG_LINES: usize = 10;

/// Show what a phone says about itself and what it holds
///
/// Changes nothing. For a model that is recognised and whose way to talk over USB is not public: what is known, from
/// where, and what can be done (exit code 6).
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Show all that a device says about itself on USB, whatever it is, in a form to send
    ///
    /// Any device: without --device, the only one that is no hub. On Linux most of it needs no rights; what is missing is
    /// named with its reason.
    #[arg(long)]
    usb: bool,
    /// Leave out what only this one device has: serial number, MAC address, container id
    #[arg(long, requires = "usb")]
    redact: bool,
    /// Also ask for string 0xEE (Microsoft OS 1.0), which some firmware does not survive
    #[arg(long, requires = "usb")]
    ms_os_string: bool,
    #[command(flatten)]
    phone: PhoneArgs,
}

#[derive(Serialize)]
struct InfoLine<'a> {
    port: String,
    identity: &'a Identity,
    authenticity: &'a Authenticity,
    #[serde(with = "time::serde::rfc3339::option")]
    clock: Option<OffsetDateTime>,
    in_use: Option<&'a IdentityInUse>,
    settings: Option<&'a Settings>,
    pending: Option<Pending<'a>>,
    anchors: &'a [AnchorHeld],
    log: &'a [LogLine],
}

#[derive(Serialize)]
struct Pending<'a> {
    transaction: String,
    user: &'a str,
    ours: bool,
    begun_by: &'a str,
}

#[derive(Serialize)]
struct ModelLine<'a> {
    port: String,
    certain: bool,
    model: String,
    protocol: Protocol,
    facts: &'a [Fact],
    what_can_be_done: Option<&'a str>,
}

#[derive(Serialize)]
struct RefusedLine<'a> {
    port: String,
    usb_id: String,
    unexpected: Vec<UnexpectedInterface>,
    next_step: &'a str,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    if args.usb {
        return super::info_usb::run(&args.phone, args.redact, args.ms_os_string, screen).await;
    }
    let bench = Bench::for_a_phone(&args.phone, screen).await?;
    let found = bench.pick(args.phone.device.as_ref()).await?;
    if found.spoken().is_none() {
        return Ok(not_spoken(&found, screen));
    }
    if !found.unexpected.is_empty() {
        return Ok(refused(&found, screen));
    }
    let (mut phone, identified) = bench.finder.meet(&found).await?;
    let driver = phone.driver();
    let state = driver.look(Duration::ZERO).await?;
    let log = match identified.identity.abilities.log {
        true => last_lines(driver).await?,
        false => Vec::new(),
    };
    // The phone has said all that it was asked; a lost farewell changes nothing of it.
    let _ = driver.leave(Parting::Leave).await;

    let port = found.slot().to_string();
    let pending = state.pending.as_ref().map(|pending| Pending {
        transaction: pending.id.to_string(),
        user: &pending.user,
        ours: pending.ours,
        begun_by: &pending.host_label,
    });
    screen.json(
        "info",
        &InfoLine {
            port: port.clone(),
            identity: &identified.identity,
            authenticity: &identified.authenticity,
            clock: state.clock,
            in_use: state.identity.as_ref(),
            settings: state.settings.as_ref(),
            pending,
            anchors: &state.anchors,
            log: &log,
        },
    );
    card(&port, &identified.identity, &identified.authenticity, screen);
    held(&state, screen);
    for line in &log {
        let time = line.time.map_or_else(|| "no time".to_owned(), moment);
        screen.line(if line.index == log[0].index { "log" } else { "" }, &format!("{time}  {}", line.text));
    }
    Ok(Exit::Done)
}

/// The newest lines of the phone's log; it gives them in pages, oldest first.
async fn last_lines(driver: &mut impl Driver) -> Result<Vec<LogLine>, CliError> {
    const PAGES: usize = 16;
    let (mut lines, mut next) = (Vec::new(), 0);
    for _ in 0..PAGES {
        let (page, end) = driver.log(next).await?;
        let Some(last) = page.last().map(|line| line.index) else { break };
        lines.extend(page);
        next = last.saturating_add(1);
        if next >= end {
            break;
        }
    }
    Ok(lines.split_off(lines.len().saturating_sub(LOG_LINES)))
}

fn card(port: &str, identity: &Identity, authenticity: &Authenticity, screen: &Screen) {
    let model = format!("{} {}", identity.maker, identity.model);
    screen.line("phone", &dotted(&[format!("port {port}"), model, identity.mac.to_string()]));
    screen.line("", &dotted(&[format!("serial {}", identity.serial), format!("firmware {}", identity.firmware)]));
    screen.line("", &format!("device {}", identity.device));
    screen.line("", &vouched(authenticity));
    let abilities = identity.abilities;
    let can = [
        (abilities.attention, "light or sound"),
        (abilities.screen, "short code"),
        (abilities.clock, "clock over the cable"),
        (abilities.sign_in, "sign in on command"),
        (abilities.restart, "restart"),
        (abilities.log, "log"),
        (abilities.handshake, "TLS rehearsal"),
        (abilities.endorses, "renewal without a password"),
    ];
    let can: Vec<&str> = can.iter().filter(|(can, _)| *can).map(|(_, what)| *what).collect();
    let keys: Vec<String> = identity.key_kinds.iter().map(ToString::to_string).collect();
    screen.line("can", &dotted(&[format!("keys {}", keys.join(", ")), can.join(", ")]));
    let wants = match (identity.consent, identity.host_known) {
        (ConsentWanted::Nothing, _) => "nothing before it is changed",
        (ConsentWanted::KeyPress | ConsentWanted::AdministratorCode, true) => "nothing: it knows this computer",
        (ConsentWanted::KeyPress, false) => "a key pressed at it before it is changed",
        (ConsentWanted::AdministratorCode, false) => "its administrator code before it is changed",
    };
    screen.line("wants", wants);
}

fn held(state: &PhoneState, screen: &Screen) {
    screen.line("clock", clock(state.clock).trim_start_matches("clock "));
    match &state.identity {
        None => screen.line("user", "none"),
        Some(held) => {
            screen.line("user", &held.user);
            let dates = format!("{} to {}", date(held.not_before), date(held.not_after));
            let chain = count(held.intermediates.len(), "intermediate");
            screen.line("", &dotted(&[format!("certificate {}", held.fingerprint.short()), dates, chain]));
        }
    }
    if let Some(settings) = &state.settings {
        screen
            .line("goes by", &dotted(&[settings.web_services.clone(), settings.registrar.clone().unwrap_or_default()]));
    }
    if let Some(pending) = &state.pending {
        let whose = if pending.ours { "this computer".to_owned() } else { pending.host_label.clone() };
        screen.line("pending", &format!("a job for {}, begun by {whose}", pending.user));
    }
    let (installed, firmware): (Vec<_>, Vec<_>) = state.anchors.iter().partition(|anchor| anchor.installed);
    screen.line("trusts", &format!("{} of its firmware, {} installed", firmware.len(), installed.len()));
    for anchor in installed {
        screen.line(
            "",
            &dotted(&[anchor.name.clone(), anchor.fingerprint.short(), format!("until {}", date(anchor.not_after))]),
        );
    }
}

/// A device that brings more than such a phone has: nothing is asked of it.
fn refused(found: &Found, screen: &Screen) -> Exit {
    let port = found.slot().to_string();
    let attached = &found.attached;
    let id = format!("{:04x}:{:04x}", attached.vendor_id, attached.product_id);
    let strings = &attached.strings;
    let says = [&strings.manufacturer, &strings.product, &strings.serial].map(|text| text.clone().unwrap_or_default());
    let next = what_to_do_about(&found.unexpected);
    let line = RefusedLine { port: port.clone(), usb_id: id.clone(), unexpected: unexpected(found), next_step: &next };
    screen.json("refused", &line);
    screen.line("phone", &dotted(&[format!("port {port}"), models(found), id]));
    if says.iter().any(|text| !text.is_empty()) {
        screen.line("", &format!("it says: {}", dotted(&says)));
    }
    for (number, kind) in attached.interfaces.iter().enumerate() {
        let refused = if found.unexpected.contains(kind) { ": not expected" } else { "" };
        let what = match (kind.triple() == tether::INTERFACE, refused) {
            (true, "") => "what is spoken to: ",
            _ => "",
        };
        screen.line(if number == 0 { "brings" } else { "" }, &format!("{what}{kind}{refused}"));
    }
    screen.toned(Tone::Bad, "refused", "it brings what such a phone does not have: it was not asked who it is");
    screen.line("next", &next);
    Exit::Refused
}

/// What is known of a model that nobody can talk to, or that never signs in.
fn not_spoken(found: &Found, screen: &Screen) -> Exit {
    let port = found.slot().to_string();
    let id = format!("{:04x}:{:04x}", found.attached.vendor_id, found.attached.product_id);
    screen.line("phone", &dotted(&[format!("port {port}"), models(found), id]));
    let strings = &found.attached.strings;
    let says = [&strings.manufacturer, &strings.product, &strings.serial].map(|text| text.clone().unwrap_or_default());
    if says.iter().any(|text| !text.is_empty()) {
        screen.line("", &format!("it says: {}", dotted(&says)));
    }
    for model in &found.models {
        screen.json(
            "model",
            &ModelLine {
                port: port.clone(),
                certain: found.certain,
                model: name(model),
                protocol: model.protocol,
                facts: &model.facts,
                what_can_be_done: model.what_can_be_done.as_deref(),
            },
        );
        known(model, found.models.len() > 1, screen);
    }
    Exit::Refused
}

fn known(model: &Definition, one_of_several: bool, screen: &Screen) {
    if one_of_several {
        screen.blank();
        screen.line("if", &format!("it is a {}:", name(model)));
    }
    for (number, fact) in model.facts.iter().enumerate() {
        screen.line(if number == 0 { "known" } else { "" }, &fact.says);
        screen.line("", &format!("({}: {})", sure(fact.confidence), fact.source));
    }
    if let Some(advice) = &model.what_can_be_done {
        screen.line("next", advice);
    }
}

pub(crate) fn sure(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Observed => "observed",
        Confidence::Inferred => "inferred",
        Confidence::Memory => "from memory",
        Confidence::Unknown => "unknown",
        Confidence::Lab => "LAB",
    }
}
