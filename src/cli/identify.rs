//! Which of these phones is it?

use super::bench::{Bench, PhoneArgs};
use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use super::stop::Signals;
use super::text::dotted;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::time::Duration;
use tethercert::phone::{Driver, Parting};

/// Make a phone blink, ring or show itself, to tell it from its neighbours
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// For how long; Ctrl-C ends it sooner
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=120))]
    seconds: u16,
    #[command(flatten)]
    phone: PhoneArgs,
}

#[derive(Serialize)]
struct IdentifiedLine {
    port: String,
    model: String,
    mac: String,
    seconds: u16,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::for_a_phone(&args.phone, screen).await?;
    let found = bench.pick(args.phone.device.as_ref()).await?;
    let (mut phone, identified) = bench.finder.meet(&found).await?;
    let identity = identified.identity;
    if !identity.abilities.attention {
        return Err(CliError::refused(
            format!("the {} {} has neither light, sound nor screen to show itself by", identity.maker, identity.model),
            "unplug one phone after the other and see which goes from `tethercert list --watch`",
        ));
    }
    let time = Duration::from_secs(args.seconds.into());
    phone.driver().attention(time).await?;
    let (port, model) = (found.slot().to_string(), format!("{} {}", identity.maker, identity.model));
    screen.line("phone", &dotted(&[format!("port {port}"), model.clone(), identity.mac.to_string()]));
    screen.line("", &format!("draws attention to itself for {} s", args.seconds));
    screen.json("identified", &IdentifiedLine { port, model, mac: identity.mac.to_string(), seconds: args.seconds });
    // Not sooner: until here a signal ends the program as usual.
    let mut signals = Signals::new()?;
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = signals.next() => phone.driver().attention(Duration::ZERO).await?,
    }
    // The phone has done what it was asked; a lost farewell changes nothing of it.
    let _ = phone.driver().leave(Parting::Leave).await;
    Ok(Exit::Done)
}
