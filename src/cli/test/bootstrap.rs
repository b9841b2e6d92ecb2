//! Does a phone that knows a number and a PIN get as far as being registered?

use super::super::ask::Person;
use super::super::bench::refuse_in_lab;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::job::secret_from;
use super::super::operator::SignInAnswer;
use super::super::screen::Screen;
use super::setting::{Begun, Setting, TestArgs};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use tethercert::credential::SipAddress;
use tethercert::diagnose::Source;
use tethercert::service::SignInWay;

/// Do all that a phone does with number and PIN, up to being registered (Test-CsPhoneBootstrap)
///
/// Reaches the Web Services, gets a web ticket with number and PIN, has a certificate published for this computer's test
/// device, registers with it, and signs off. The PIN goes only to a lab, or to a pool that --profile describes: its message
/// is not public. The certificate stays published: to revoke it would drop those of the user's phones too.
///
/// Exit code 0 when all went well; else that of the step it stopped at.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    /// User that number and PIN have to belong to, like alice@contoso.example; the PIN goes only into that domain
    #[arg(long, help_heading = "User", value_name = "SIP-ADDRESS")]
    user: Option<SipAddress>,
    /// Phone number or extension that goes with the PIN [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "NUMBER", visible_alias = "phone-or-extension")]
    phone_number: Option<String>,
    /// File whose first line is the PIN, also /dev/fd/N [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE")]
    pin_file: Option<PathBuf>,
    #[command(flatten)]
    test: TestArgs,
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    if args.test.lab {
        screen.mark_lab();
        refuse_in_lab(args.phone_number.is_some(), "--phone-number")?;
        refuse_in_lab(args.pin_file.is_some(), "--pin-file")?;
    }
    let setting = match Setting::of("bootstrap", &args.test, args.user, None, screen).await? {
        Begun::Ready(setting) => setting,
        Begun::Over(exit) => return Ok(exit),
    };
    let number = match (&args.phone_number, &setting.lab_user, Person::at(screen, &setting.stop)) {
        (Some(number), _, _) => number.clone(),
        (None, Some(user), _) => user.number.clone(),
        (None, None, Some(person)) => person.text("phone number or extension:", None).await?,
        (None, None, None) => {
            let next = "give the number or extension that the PIN belongs to: --phone-number";
            return Err(CliError::usage("a PIN signs in a phone number, and none is given", next));
        }
    };
    let pin = match args.pin_file {
        Some(path) => Some(secret_from(path, format!("the PIN of {number}"), &setting.stop).await?),
        None => None,
    };
    setting.run(Source::Fetched(SignInWay::Pin), SignInAnswer::Pin { number, pin }).await
}
