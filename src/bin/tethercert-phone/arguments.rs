//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tethercert::gadget::board::{Board, parse_mac};
use usb_gadget::Speed;

/// Turn this board into a phone that speaks the Tether Device Protocol
///
/// The board's USB device port becomes the phone's cable. Keys, certificates, trust anchors and clock are kept in a folder.
/// Without a command it runs until it is stopped, and takes the phone off the port then.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) phone: PhoneArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a maker's root, to vouch for phones with
    ///
    /// Do it once, on a computer that is kept safe, not on a board. Prints the root, which goes into a definition of the
    /// phone on the computers that provision it.
    MakeMaker(MakeMakerArgs),
    /// Print this phone's request for a factory certificate
    ///
    /// Its factory key is made the first time, and never leaves the board.
    FactoryRequest,
    /// Sign a phone's request with the maker's key, and print its factory chain
    FactorySign(FactorySignArgs),
    /// Store the factory chain that a maker has signed
    FactoryInstall(FactoryInstallArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PhoneArgs {
    /// Folder of keys and certificates, for this phone alone
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/tethercert-phone", global = true)]
    pub(crate) storage: PathBuf,
    /// Maker, as the phone says it
    #[arg(long, value_name = "NAME", default_value = "tethercert", global = true)]
    maker: String,
    /// Model [default: what the board says, else "reference phone"]
    #[arg(long, value_name = "NAME", global = true)]
    model: Option<String>,
    /// Serial number [default: what the board says, else the MAC]
    #[arg(long, value_name = "TEXT", global = true)]
    serial: Option<String>,
    /// MAC address [default: that of the board's network port]
    #[arg(long, value_name = "MAC", value_parser = mac, global = true)]
    mac: Option<[u8; 6]>,
    /// USB device port [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) udc: Option<String>,
    /// Vendor and product id; the default is a test id of pid.codes, for no product in the shops
    #[arg(long, value_name = "VVVV:PPPP", value_parser = usb_id, default_value = "1209:0001")]
    pub(crate) usb_id: UsbId,
    /// The fastest speed to agree on [default: what the port can do]
    #[arg(long, value_name = "SPEED")]
    pub(crate) speed: Option<FastestSpeed>,
    /// What a host needs before it may change the phone
    #[arg(long, value_name = "WHAT", default_value = "always")]
    pub(crate) consent: ConsentBy,
    /// File with the administrator code in its first line, for --consent code
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// Whose clock the phone goes by
    #[arg(long, value_name = "WHOSE", default_value = "own")]
    pub(crate) clock: ClockOf,
    /// Light to blink with: a name under /sys/class/leds, or "none" [default: the board's ACT light if there is one]
    #[arg(long, value_name = "NAME")]
    pub(crate) light: Option<String>,
}

/// Who the phone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) maker: String,
    pub(crate) model: String,
    pub(crate) serial: String,
    pub(crate) mac: [u8; 6],
}

impl PhoneArgs {
    /// Who the phone is, by the options and then by the board; `None` where neither says a MAC.
    pub(crate) fn name(&self, board: Board) -> Option<Name> {
        let mac = self.mac.or(board.mac)?;
        let digits = || mac.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Name {
            maker: self.maker.clone(),
            model: self.model.clone().or(board.model).unwrap_or_else(|| "reference phone".into()),
            serial: self.serial.clone().or(board.serial).unwrap_or_else(digits),
            mac,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct MakeMakerArgs {
    /// What the root is called
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Folder for it; made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct FactorySignArgs {
    /// Folder of make-maker
    #[arg(long, value_name = "FOLDER")]
    pub(crate) root: PathBuf,
    /// The phone's request
    pub(crate) request: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct FactoryInstallArgs {
    /// What factory-sign printed
    pub(crate) chain: PathBuf,
}

/// Vendor and product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsbId(pub(crate) u16, pub(crate) u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FastestSpeed {
    Full,
    High,
    Super,
}

impl From<FastestSpeed> for Speed {
    fn from(speed: FastestSpeed) -> Self {
        match speed {
            FastestSpeed::Full => Self::FullSpeed,
            FastestSpeed::High => Self::HighSpeed,
            FastestSpeed::Super => Self::SuperSpeed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConsentBy {
    /// Nothing: whoever has the cable
    Always,
    /// Somebody at the phone's terminal agrees
    Key,
    /// The administrator code
    Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockOf {
    /// The phone's own: hosts set it, and what it differs from the board's clock is kept
    Own,
    /// The board's: hosts cannot set it
    Board,
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    parse_mac(text).ok_or_else(|| "a MAC is six bytes like 00:04:f2:aa:bb:01".into())
}

fn usb_id(text: &str) -> Result<UsbId, String> {
    let number = |text: &str| match text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u16::from_str_radix(text, 16).ok(),
        false => None,
    };
    let parts = text.split_once(':').and_then(|(vendor, product)| Some(UsbId(number(vendor)?, number(product)?)));
    parts.ok_or_else(|| "an id is two numbers of four hexadecimal digits, like 1209:0001".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn phone(arguments: &[&str]) -> PhoneArgs {
        Cli::try_parse_from([&["tethercert-phone"], arguments].concat()).unwrap().phone
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_option_is_stronger_than_what_the_board_says() {
        let board = Board { model: Some("Board 1".into()), serial: Some("B1".into()), mac: Some([2; 6]) };
        let name = phone(&["--serial", "S1", "--mac", "00:04:f2:aa:bb:01"]).name(board.clone()).unwrap();
        assert_eq!((name.model.as_str(), name.serial.as_str(), name.mac[5]), ("Board 1", "S1", 1));
        assert_eq!(phone(&[]).name(board).unwrap().mac, [2; 6]);
        assert_eq!(phone(&[]).name(Board::default()), None);
        let bare = phone(&["--mac", "00:04:f2:aa:bb:01"]).name(Board::default()).unwrap();
        assert_eq!((bare.model.as_str(), bare.serial.as_str()), ("reference phone", "0004f2aabb01"));
    }

    #[test]
    fn a_usb_id_has_four_digits_twice() {
        assert_eq!(phone(&["--usb-id", "1d6b:0104"]).usb_id, UsbId(0x1d6b, 0x0104));
        for text in ["1209", "1209:", "1209:1", "+209:0001", "12090001"] {
            assert!(usb_id(text).is_err(), "{text}");
        }
    }
}
