//! What is plugged in.

use super::bench::{Bench, BusArgs};
use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::stop::Signals;
use super::text::dotted;
use clap::Args as ClapArgs;
use serde::Serialize;
use tethercert::phone::Found;
use tethercert::phone::definition::{Definition, Protocol};
use tethercert::usb::{Change, InterfaceKind, Slot};

/// List the phones that are plugged in, and what may be phones
///
/// Devices that are no phones are left out. A USB/IP server does not say what its devices are called, so there only
/// phones that are known by their USB ids are found.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Go on and tell who comes and goes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    bus: BusArgs,
}

/// One device of `--json`.
#[derive(Serialize)]
struct DeviceLine<'a> {
    port: &'a Slot,
    /// What it is given to commands as.
    device: String,
    vendor_id: String,
    product_id: String,
    models: Vec<String>,
    certain: bool,
    protocol: Option<Protocol>,
    can: Vec<&'static str>,
    product: Option<&'a str>,
    serial: Option<&'a str>,
    /// What it brings that such a phone has no business with: it is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unexpected: Vec<UnexpectedInterface>,
}

/// An interface that a device is refused for.
#[derive(Serialize)]
pub(crate) struct UnexpectedInterface {
    interface: u8,
    class: String,
    what: &'static str,
}

#[derive(Serialize)]
struct LeftLine<'a> {
    port: &'a Slot,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::to_list(&args.bus, screen).await?;
    if args.watch {
        return watch(&bench, screen).await;
    }
    let found = bench.finder.list().await?;
    table(&found, screen);
    if found.is_empty() {
        nothing(screen);
    } else {
        screen.line("next", &next(&found, &args.bus));
    }
    Ok(Exit::Done)
}

/// The phones as a table, or as JSON lines.
pub(crate) fn table(found: &[Found], screen: &Screen) {
    for phone in found {
        screen.json("device", &device_line(phone));
    }
    if found.is_empty() {
        return;
    }
    let rows: Vec<[String; 4]> = found.iter().map(cells).collect();
    let heads = ["PORT", "PHONE", "USB ID", "CAN"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heads]).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let row = |cells: &[String; 4]| {
        let [port, phone, id, can] = cells;
        let [a, b, c] = widths;
        format!("{port:a$}  {phone:b$}  {id:c$}  {can}")
    };
    screen.heading(&row(&heads));
    for cells in &rows {
        screen.row(&row(cells));
    }
}

/// The phones with numbers to choose by, from 1.
pub(crate) fn numbered(found: &[Found], screen: &Screen) {
    for (number, phone) in found.iter().enumerate() {
        let [port, name, ..] = cells(phone);
        let serial = phone.attached.strings.serial.clone().unwrap_or_default();
        screen.line(&format!("{:>5}", number + 1), &dotted(&[format!("port {port}"), name, serial]));
    }
}

/// The next command for what is there.
fn next(found: &[Found], bus: &BusArgs) -> String {
    let best = found.iter().find(|phone| phone.spoken().is_some()).or(found.first());
    let usbip = bus.usbip.as_ref().map(|host| format!(" --usbip {host}")).unwrap_or_default();
    // All that was said about phones is said again: without a definition nothing vouches for one.
    let drivers: String = bus.drivers.iter().map(|folder| format!(" --drivers {}", folder.display())).collect();
    match best {
        _ if bus.lab && found.iter().all(|phone| phone.unexpected.is_empty()) => {
            "tethercert provision --lab".to_owned()
        }
        _ if bus.lab => {
            let faults: String = bus.fault.iter().map(|fault| format!(" --fault {fault}")).collect();
            format!("tethercert info --lab{faults}")
        }
        Some(_) if found.len() == 1 => format!("tethercert info{usbip}{drivers}"),
        Some(phone) => format!("tethercert info{usbip}{drivers} --device port:{}", phone.slot()),
        None => "tethercert list --watch".to_owned(),
    }
}

/// Nothing is no error here.
pub(crate) fn nothing(screen: &Screen) {
    screen
        .line("phone", "none is connected: plug one in with a USB cable that carries data, unlock it, and look again");
}

async fn watch(bench: &Bench, screen: &Screen) -> Result<Exit, CliError> {
    let mut watch = bench.finder.usb.watch().await?;
    let mut signals = Signals::new()?;
    screen.start_spinner("waiting for phones; Ctrl-C ends it".to_owned());
    let mut known: Vec<Found> = Vec::new();
    let mut in_trouble = false;
    loop {
        let change = tokio::select! {
            change = watch.next() => change,
            () = signals.next() => break,
        };
        let change = match change {
            // The watch goes on, since a USB/IP server may come back; it looks every second, and once is enough to say so.
            Err(error) if !in_trouble => {
                in_trouble = true;
                screen.error(&error.into());
                continue;
            }
            Err(_) => continue,
            Ok(change) => change,
        };
        in_trouble = false;
        match change {
            Change::Arrived(attached) => {
                if let Some(found) = bench.finder.recognise(attached) {
                    screen.json("arrived", &device_line(&found));
                    let [port, phone, id, can] = cells(&found);
                    screen.toned(Tone::Good, "came", &dotted(&[format!("port {port}"), phone, id, can]));
                    known.push(found);
                }
            }
            Change::Left(slot) => {
                if let Some(at) = known.iter().position(|found| *found.slot() == slot) {
                    let gone = known.swap_remove(at);
                    screen.json("left", &LeftLine { port: &slot });
                    screen.line("left", &dotted(&[format!("port {slot}"), models(&gone)]));
                }
            }
        }
    }
    screen.stop_spinner();
    Ok(Exit::Done)
}

fn device_line(found: &Found) -> DeviceLine<'_> {
    let attached = &found.attached;
    DeviceLine {
        port: &attached.slot,
        device: format!("port:{}", attached.slot),
        vendor_id: format!("{:04x}", attached.vendor_id),
        product_id: format!("{:04x}", attached.product_id),
        models: found.models.iter().map(name).collect(),
        certain: found.certain,
        protocol: found.models.first().filter(|_| found.certain).map(|model| model.protocol),
        can: abilities(found),
        product: attached.strings.product.as_deref(),
        serial: attached.strings.serial.as_deref(),
        unexpected: unexpected(found),
    }
}

pub(crate) fn unexpected(found: &Found) -> Vec<UnexpectedInterface> {
    let line = |kind: &InterfaceKind| {
        let (class, subclass, protocol) = kind.triple();
        UnexpectedInterface {
            interface: kind.number,
            class: format!("{class:02x}/{subclass:02x}/{protocol:02x}"),
            what: kind.what(),
        }
    };
    found.unexpected.iter().map(line).collect()
}

fn cells(found: &Found) -> [String; 4] {
    let attached = &found.attached;
    let id = format!("{:04x}:{:04x}", attached.vendor_id, attached.product_id);
    let can = match found.unexpected.as_slice() {
        [] => abilities(found).join(", "),
        kinds => {
            let mut what: Vec<&str> = kinds.iter().map(InterfaceKind::what).collect();
            what.dedup();
            format!("nothing, it is refused: brings {}", what.join(", "))
        }
    };
    [attached.slot.to_string(), models(found), id, can]
}

/// The commands that make sense for it.
fn abilities(found: &Found) -> Vec<&'static str> {
    match found.spoken() {
        Some(_) if !found.unexpected.is_empty() => vec!["info"],
        Some(_) => vec!["provision", "verify", "info"],
        None => vec!["info"],
    }
}

pub(crate) fn name(model: &Definition) -> String {
    format!("{} {}", model.maker, model.model)
}

/// What it is called, or may be.
pub(crate) fn models(found: &Found) -> String {
    let names: Vec<String> = found.models.iter().map(name).collect();
    if found.certain { names.join(" or ") } else { format!("perhaps {}", names.join(" or ")) }
}
