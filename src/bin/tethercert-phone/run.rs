//! Running the phone.

use crate::arguments::{ClockOf, ConsentBy, PhoneArgs};
use crate::error::PhoneError;
use crate::factory::name;
use crate::keyboard::Keyboard;
use crate::led::Light;
use crate::panel::Terminal;
use crate::screen;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tethercert::credential::{Fingerprint, KeyKind};
use tethercert::device::{Clock, Consent, Honest, KeyMaker, Phone, PhoneMaterial, Storage, keys};
use tethercert::gadget::factory;
use tethercert::gadget::folder::{Folder, Written};
use tethercert::gadget::port::{Port, PortEvent};
use tethercert::gadget::storage::{Files, OnStep};
use tethercert::phone::tether::messages::capability;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// Wrong administrator codes in a row until it locks.
const CODE_TRIES: u8 = 5;
const MAX_CODE_BYTES: usize = 64;

pub(crate) fn run(args: &PhoneArgs) -> Result<(), PhoneError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
    let runtime = runtime.map_err(PhoneError::System)?;
    let done = runtime.block_on(serve(args));
    // A task that the kernel holds is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn serve(args: &PhoneArgs) -> Result<(), PhoneError> {
    let name = name(args)?;
    let (folder, mut notes) = Folder::open(&args.storage)?;
    let folder = Arc::new(folder);
    let mut found = Files::open(folder.clone(), on_step())?;
    notes.append(&mut found.notes);
    let vouched = factory::load(&folder, &name.serial)?;

    let mac: Vec<String> = name.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    screen::line(&format!("{} {} · serial {} · MAC {}", name.maker, name.model, name.serial, mac.join(":")));
    for note in &notes {
        screen::line(&format!("note: {note}"));
    }
    if vouched.is_none() {
        screen::line(
            "unauthenticated: no maker vouches for this phone (factory-request, factory-sign, factory-install)",
        );
    }
    match &found.files.read().identity {
        Some(identity) => {
            screen::line(&format!("holds {} for {}", Fingerprint::of(&identity.leaf).short(), identity.user));
        }
        None => screen::line("holds no identity"),
    }

    let consent = match args.consent {
        ConsentBy::Always => {
            screen::line("consent is given to whoever has the cable (--consent)");
            Consent::None
        }
        ConsentBy::Key => Consent::Ask,
        ConsentBy::Code => Consent::Code { code: code(args.code_file.as_deref())?, tries: CODE_TRIES },
    };
    let clock = match (args.clock, found.clock_offset) {
        (ClockOf::Own, Some(offset)) => Clock::Offset(offset),
        (ClockOf::Own | ClockOf::Board, _) => Clock::Offset(0),
    };
    let has = |wanted: bool, bit: u32| if wanted { bit } else { 0 };
    let supply: KeyMaker = match keys::Stock::of_environment() {
        Some(stock) => {
            screen::line(&format!("DANGER: keys are taken, not made: {} names a folder of them", keys::KNOWN_KEYS));
            Arc::new(move |kind| stock.take(kind))
        }
        None => Arc::new(keys::make),
    };
    let material = PhoneMaterial {
        maker: name.maker,
        model: name.model,
        serial: name.serial,
        mac: name.mac,
        firmware: env!("CARGO_PKG_VERSION").into(),
        device: Uuid::new_v5(&Uuid::NAMESPACE_OID, &name.mac),
        usb_id: (args.usb_id.0, args.usb_id.1),
        interface: 0,
        capabilities: capability::LIGHT
            | capability::SCREEN
            | capability::LOG
            | capability::HANDSHAKE
            | capability::ENDORSE
            | has(args.consent == ConsentBy::Key, capability::KEYS)
            | has(args.clock == ClockOf::Own, capability::CLOCK),
        key_kinds: vec![KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::P256],
        factory: vouched,
        anchors: Vec::new(),
        identity: None,
        clock,
        consent,
        ..PhoneMaterial::new(0, supply)
    };
    let light = Light::find(args.light.as_deref());
    let keyboard = (args.consent == ConsentBy::Key).then(Keyboard::listen);
    let panel = Arc::new(Terminal::new(light, keyboard));
    let phone = Phone::new(material, Box::new(found.files), Box::new(Honest), panel, found.noise_key);

    let mut kinds = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        kinds.push(signal(kind).map_err(PhoneError::System)?);
    }
    let stop = async move {
        let [interrupt, terminate, hangup] = kinds.as_mut_slice() else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    // The first random numbers take seconds on a slow board, and a host waits five for an answer: not before they are there.
    match tokio::spawn(async { aws_lc_rs::rand::fill(&mut [0u8; 32]) }).await {
        Ok(Ok(())) => {}
        _ => return Err(PhoneError::System(std::io::Error::other("no random numbers"))),
    }
    let port = Port::open(&phone, args.udc.as_deref(), args.speed.map(Into::into))?;
    screen::line(&format!("on USB device port {}, id {:04x}:{:04x}", port.name(), args.usb_id.0, args.usb_id.1));
    port.serve(phone, stop, |event| screen::line(words(event))).await?;
    screen::line("taken off the port");
    Ok(())
}

fn words(event: PortEvent) -> &'static str {
    match event {
        PortEvent::Configured => "a host is there",
        PortEvent::Deconfigured => "no host",
        PortEvent::Suspended => "the host sleeps",
        PortEvent::Resumed => "the host is awake",
    }
}

fn code(file: Option<&Path>) -> Result<String, PhoneError> {
    let path = file.ok_or_else(|| PhoneError::Usage {
        message: "--consent code needs the code".into(),
        next: "name the file that holds it with --code-file".into(),
    })?;
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| PhoneError::NotRead { path: path.to_owned(), source })?;
    let code = text.lines().next().unwrap_or_default();
    match (1..=MAX_CODE_BYTES).contains(&code.len()) && !code.contains(char::is_control) {
        true => Ok(code.to_owned()),
        false => Err(PhoneError::NoCode(path.to_owned())),
    }
}

/// In a build for tests `TETHERCERT_PHONE_PAUSE_AT=synced` stops the program for good at that step of the second write that
/// changes the identity, and says so, so that whoever watches can cut the power there. No release has it.
#[cfg(debug_assertions)]
fn on_step() -> OnStep {
    let Ok(wanted) = std::env::var("TETHERCERT_PHONE_PAUSE_AT") else { return Box::new(|_, _| {}) };
    let changes = std::cell::Cell::new(0);
    Box::new(move |step: Written, commits| {
        if commits && step == Written::Nothing {
            changes.set(changes.get() + 1);
        }
        if commits && changes.get() == 2 && step.name() == wanted {
            screen::line(&format!("PAUSED at {wanted}"));
            loop {
                std::thread::park();
            }
        }
    })
}

#[cfg(not(debug_assertions))]
fn on_step() -> OnStep {
    Box::new(|_: Written, _| {})
}
