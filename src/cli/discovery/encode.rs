//! The options that phones have to be told, as an administrator needs them.

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use std::collections::BTreeMap;
use tethercert::discovery::HostName;
use tethercert::discovery::encode::{Encoded, Form};
use tethercert::discovery::options::{CERTPROV_PATH, WebServices, hex, is_path};

/// Print the DHCP options that lead phones to a pool
///
/// For Windows, dnsmasq, Kea and ISC dhcpd, and as bytes to compare. With --form one of them alone, to be written to a file.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    /// Full name of the registrar pool, for option 120
    #[arg(long, value_name = "FQDN")]
    registrar: HostName,
    /// Full name of the Web Services, for option 43
    #[arg(long, value_name = "FQDN")]
    web: HostName,
    /// Port of the Web Services
    #[arg(long, value_name = "PORT", default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Path of the certificate provisioning service
    #[arg(long, value_name = "PATH", default_value = CERTPROV_PATH, value_parser = path)]
    path: String,
    /// Print this form alone
    #[arg(long, value_enum)]
    form: Option<FormArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormArg {
    /// Option code, length and value, in hex
    Hex,
    /// Windows DHCP server
    #[value(name = "powershell")]
    PowerShell,
    /// Windows DHCP server, older
    Netsh,
    /// dnsmasq
    Dnsmasq,
    /// Kea
    Kea,
    /// ISC dhcpd
    Isc,
}

impl From<FormArg> for Form {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Hex => Self::Hex,
            FormArg::PowerShell => Self::PowerShell,
            FormArg::Netsh => Self::Netsh,
            FormArg::Dnsmasq => Self::Dnsmasq,
            FormArg::Kea => Self::Kea,
            FormArg::Isc => Self::Isc,
        }
    }
}

#[derive(Serialize)]
struct OptionsLine {
    option_43: String,
    option_120: String,
    web_services: String,
    forms: BTreeMap<&'static str, String>,
}

fn path(text: &str) -> Result<String, String> {
    if is_path(text) { Ok(text.to_owned()) } else { Err(format!("write it like {CERTPROV_PATH}")) }
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<Exit, CliError> {
    let web = WebServices { host: args.web.clone(), port: args.port, path: args.path.clone() };
    let url = web.url();
    let encoded = Encoded::new(args.registrar.clone(), web)
        .map_err(|error| CliError::usage(error.to_string(), "give shorter names or a shorter path"))?;
    let forms: Vec<Form> = match args.form {
        Some(form) => vec![form.into()],
        None => Form::ALL.to_vec(),
    };
    let line = OptionsLine {
        option_43: hex(encoded.option_43()),
        option_120: hex(encoded.option_120()),
        web_services: url,
        forms: forms.iter().map(|&form| (form.word(), encoded.text(form))).collect(),
    };
    screen.json("dhcp_options", &line);
    for (index, &form) in forms.iter().enumerate() {
        if args.form.is_none() {
            if index > 0 {
                screen.blank();
            }
            screen.heading(form.title());
        }
        for row in encoded.text(form).lines() {
            screen.row(row);
        }
    }
    Ok(Exit::Done)
}
