//! The program without a command: what is there, and what is next.

use super::bench::{Bench, BusArgs, configured_pool};
use super::error::CliError;
use super::exit::Exit;
use super::list;
use super::screen::Screen;
use serde::Serialize;
use tethercert::service::ocauth::Pool;
use tethercert::usb::UsbError;

#[derive(Serialize)]
struct OverviewLine {
    phones: usize,
    pool: Option<String>,
    pool_error: Option<String>,
    next: String,
}

pub(crate) async fn run(screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::to_list(&BusArgs::default(), screen).await?;
    let found = match bench.finder.list().await {
        Ok(found) => {
            if found.is_empty() {
                list::nothing(screen);
            }
            found
        }
        // A computer without USB can still show the lab, or use another one's.
        Err(error @ UsbError::NoUsb { .. }) => {
            screen.line("phone", &format!("{error}: {}", error.next_step()));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    list::table(&found, screen);
    let pool = configured_pool().map(|url| Pool::address(&url)).transpose();
    match &pool {
        Ok(Some(url)) => screen.line("pool", url.host_str().unwrap_or_default()),
        Err(error) => screen.line("pool", &format!("TETHERCERT_CERTPROV_URL is wrong: {error}: {}", error.next_step())),
        Ok(None) => screen.line("pool", "not set: give --certprov-url, or set TETHERCERT_CERTPROV_URL"),
    }
    let spoken = found.iter().filter(|phone| phone.spoken().is_some()).count();
    let next = match (found.first(), spoken) {
        (None, _) => "plug a phone in, or see the whole job in a lab: tethercert provision --lab".to_owned(),
        (Some(phone), 0) => format!("what can be done: tethercert info --device port:{}", phone.slot()),
        (Some(_), 1) => "tethercert provision --user alice@contoso.example".to_owned(),
        (Some(_), _) => "tethercert provision --user alice@contoso.example --device port:…".to_owned(),
    };
    screen.line("next", &next);
    let pool_error = pool.as_ref().err().map(ToString::to_string);
    let pool = pool.ok().flatten().map(String::from);
    screen.json("overview", &OverviewLine { phones: spoken, pool, pool_error, next });
    Ok(Exit::Done)
}
