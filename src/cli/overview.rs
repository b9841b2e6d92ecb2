//! The program without a command: what is there, and what is next.

use super::bench::{Bench, BusArgs};
use super::error::CliError;
use super::exit::Exit;
use super::list;
use super::screen::Screen;
use super::settings::{address_of_environment, pools};
use super::text::dotted;
use serde::Serialize;
use tethercert::pool::{NamedPool, Read};
use tethercert::service::ocauth::{Pool, PoolError};
use tethercert::usb::UsbError;
use url::Url;

#[derive(Serialize)]
struct OverviewLine {
    phones: usize,
    /// The address in the environment.
    pool: Option<String>,
    /// The configured ones.
    pools: Vec<String>,
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
    let configured = pools().and_then(|pools| Ok(pools.all()?));
    let address = address_of_environment().map(|set| Pool::address(&set.value)).transpose();
    let pool_error = say_pools(&configured, &address, screen);
    let configured: Vec<NamedPool> = configured.unwrap_or_default().into_iter().filter_map(|it| it.pool.ok()).collect();
    let spoken = found.iter().filter(|phone| phone.spoken().is_some()).count();
    let known = address.as_ref().is_ok_and(Option::is_some) || !configured.is_empty();
    let domain = configured.iter().find_map(|pool| pool.file.sip_domains.first());
    let user = format!("--user alice@{}", domain.map_or("contoso.example", String::as_str));
    let next = match (found.first(), spoken) {
        (None, _) => "plug a phone in, or see the whole job in a lab: tethercert provision --lab".to_owned(),
        (Some(phone), 0) => format!("what can be done: tethercert info --device port:{}", phone.slot()),
        (Some(_), _) if !known => "say once where the pool is: tethercert setup pool NAME".to_owned(),
        (Some(_), 1) => format!("tethercert provision {user}"),
        (Some(_), _) => format!("tethercert provision {user} --device port:…"),
    };
    screen.line("next", &next);
    let pool = address.ok().flatten().map(String::from);
    let pools = configured.iter().map(|pool| pool.name.to_string()).collect();
    screen.json("overview", &OverviewLine { phones: spoken, pool, pools, pool_error, next });
    Ok(Exit::Done)
}

/// One line a pool; what is wrong with one, if anything is.
fn say_pools(
    configured: &Result<Vec<Read>, CliError>,
    address: &Result<Option<Url>, PoolError>,
    screen: &Screen,
) -> Option<String> {
    let mut wrong = None;
    let mut say_wrong = |text: String, next: &str| {
        screen.line("pool", &format!("{text}: {next}"));
        wrong = Some(text);
    };
    match address {
        Ok(Some(url)) => {
            let host = url.host_str().unwrap_or_default();
            screen.line("pool", &dotted(&[host, "from TETHERCERT_CERTPROV_URL, which leaves configured pools out"]));
        }
        Err(error) => say_wrong(format!("TETHERCERT_CERTPROV_URL is wrong: {error}"), error.next_step()),
        Ok(None) => {}
    }
    match configured {
        Ok(pools) => {
            for Read { name, pool } in pools {
                match pool {
                    Ok(pool) => super::pool::line(pool, screen),
                    Err(error) => say_wrong(format!("{name}: {error}"), &error.next_step()),
                }
            }
            if pools.is_empty() && matches!(address, Ok(None)) {
                screen.line("pool", "none is configured: tethercert setup pool NAME");
            }
        }
        Err(error) => say_wrong(error.to_string(), &error.next_step()),
    }
    wrong
}
