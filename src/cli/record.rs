//! The traffic of a port, kept for somebody who wants to understand a phone.

use super::bench::{Bench, BusArgs};
use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tethercert::usb::Selector;

/// Keep the USB traffic of a port, whatever is on it, in a file that Wireshark reads
///
/// For a phone whose way to talk is not known: docs/adding-a-phone.md. Linux only, by the kernel's usbmon; the file is
/// pcapng. A line that is typed meanwhile ("now I press *") becomes a remark on the next packet. Only the device on that port
/// is kept, and what comes to it later; Ctrl-C ends it.
///
/// The file holds what crosses the cable: passwords, PINs and keys too, if the phone's protocol sends them in the clear.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Port to look at: port:… [default: that of the only phone or candidate]
    #[arg(long, value_name = "SELECTOR")]
    device: Option<Selector>,
    /// For how long, like 60s or 5m [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    bus: BusArgs,
}

/// `90`, `60s`, `5m`, `2h`.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err("write a time like 60s, 5m or 2h".to_owned()),
        };
        let seconds = number.parse::<u32>().map_err(|_| "write a time like 60s, 5m or 2h".to_owned())?;
        Ok(Self(Duration::from_secs(u64::from(seconds) * factor)))
    }
}

/// One line of `--json`.
#[derive(Serialize)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nothing to tell"))]
struct RecordedLine<'a> {
    file: String,
    port: &'a str,
    packets: u64,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::to_list(&args.bus, screen).await?;
    let (slot, what) = match &args.device {
        // A port may be looked at before anything is on it.
        Some(Selector::Port(slot)) => {
            let there = bench.finder.usb.list().await?.into_iter().find(|device| device.slot == *slot);
            (slot.clone(), there.map_or_else(|| format!("port {slot}, nothing on it yet"), |device| device.to_string()))
        }
        selector => {
            let found = bench.pick(selector.as_ref()).await?;
            (found.slot().clone(), found.attached.to_string())
        }
    };
    watching::run(&args, &slot, &what, screen).await
}

#[cfg(not(target_os = "linux"))]
mod watching {
    use super::*;
    use tethercert::usb::Slot;
    use tethercert::usb::capture::CaptureError;

    pub(super) async fn run(_: &Args, _: &Slot, _: &str, _: &Screen) -> Result<Exit, CliError> {
        Err(CaptureError::NotLinux.into())
    }
}

#[cfg(target_os = "linux")]
mod watching {
    use super::super::stop::Signals;
    use super::*;
    use std::io::BufRead;
    use tethercert::usb::Slot;
    use tethercert::usb::capture::{CaptureFile, Sieve, Usbmon};
    use tokio::sync::mpsc;
    use tokio::time::MissedTickBehavior;

    /// How often the numbers on the bus are looked at.
    const LOOK: Duration = Duration::from_millis(100);

    pub(super) async fn run(args: &Args, slot: &Slot, what: &str, screen: &Screen) -> Result<Exit, CliError> {
        let mut signals = Signals::new()?;
        let mut bus = Usbmon::open(slot)?;
        let mut sieve = Sieve::new(bus.bus());
        let (ours, others) = bus.numbers();
        sieve.settle(&ours, &others);
        let remark = format!(
            "USB traffic of port {slot}, kept by `tethercert record`. It may hold passwords, PINs and keys: look through it \
             before it is sent to anybody."
        );
        let mut file = CaptureFile::create(&args.file, &format!("usbmon{}", bus.bus()), what, &remark)?;
        screen.line("record", what);
        screen
            .line("", &format!("into {}; a line that you type becomes a remark; Ctrl-C ends it", args.file.display()));
        screen.note("the file may hold passwords, PINs and keys: look through it before you send it to anybody");

        let mut typed = typed();
        let end = tokio::time::sleep(args.time.map_or(Duration::MAX, |span| span.0));
        tokio::pin!(end);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = signals.next() => break,
                () = &mut end => break,
                packet = bus.next() => match packet {
                    Some(packet) => {
                        if let Some(packet) = sieve.offer(packet?) {
                            file.write(&packet)?;
                        }
                    }
                    None => break,
                },
                Some(line) = typed.recv() => {
                    file.remark(&line);
                    screen.line("remark", &line);
                }
                _ = look.tick() => {
                    let (ours, others) = bus.numbers();
                    for packet in sieve.settle(&ours, &others) {
                        file.write(&packet)?;
                    }
                    file.flush()?;
                }
            }
        }
        // What the kernel has seen and nobody has read yet.
        while let Ok(Some(packet)) = tokio::time::timeout(LOOK, bus.next()).await {
            if let Some(packet) = sieve.offer(packet?) {
                file.write(&packet)?;
            }
        }
        let (ours, others) = bus.numbers();
        for packet in sieve.settle(&ours, &others) {
            file.write(&packet)?;
        }
        let packets = file.packets();
        file.end()?;
        let port = slot.to_string();
        screen.json("recorded", &RecordedLine { file: args.file.display().to_string(), port: &port, packets });
        screen.line("done", &format!("{packets} packets of port {port} in {}", args.file.display()));
        Ok(Exit::Done)
    }

    /// Lines of a person at the terminal, or of whoever pipes them in.
    fn typed() -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // A read waits for ever: nobody waits for this thread.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let line = line.trim().to_owned();
                if !line.is_empty() && sender.send(line).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}
