//! Does a user get a certificate, and does the registrar take it?

use super::super::bench::refuse_in_lab;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::job::secret_from;
use super::super::operator::{Scheme, SignInAnswer};
use super::super::screen::Screen;
use super::setting::{Begun, Setting, TestArgs};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use tethercert::credential::SipAddress;
use tethercert::diagnose::Source;
use tethercert::service::SignInWay;

/// Get a certificate for a user, and sign in at the registrar with it (Test-CsClientAuth)
///
/// Gets a web ticket with the user's Windows account, has a certificate published for this computer's test device,
/// registers with it, and signs off. With --kept the certificate of an earlier test is used, and no password is needed.
/// With --each-address the registration is done at every address of the registrar's name, so that one server of a pool
/// that does not have the certificate stands out. With --by-password the account itself signs in at the registrar, which
/// tells trouble with certificates from trouble of the registrar; nothing is published.
///
/// Exit code 0 when all went well; else that of the step it stopped at, or 4 where only some addresses failed.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    /// User to sign in, like alice@contoso.example [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "SIP-ADDRESS")]
    user: Option<SipAddress>,
    /// How the user signs in to the Web Services [default: ntlm]
    #[arg(long, help_heading = "User", value_enum, conflicts_with = "kept")]
    auth: Option<Auth>,
    /// Windows account, like 'CONTOSO\alice' [default: by the pool's login_domain, else the user's SIP address]
    #[arg(long, help_heading = "User", value_name = "LOGIN", conflicts_with = "kept")]
    login: Option<String>,
    /// File whose first line is the user's password, also /dev/fd/N [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE", conflicts_with = "kept")]
    password_file: Option<PathBuf>,
    /// Sign in with the certificate that an earlier test had published, and ask the Web Services for nothing
    #[arg(long, help_heading = "User")]
    kept: bool,
    /// Sign in at the registrar with the Windows account itself, by NTLM, and ask the Web Services for nothing
    // At one server alone: accounts lock, and a refused password is not sent again.
    #[arg(long, help_heading = "User", conflicts_with_all = ["auth", "kept", "each_address"])]
    by_password: bool,
    #[command(flatten)]
    test: TestArgs,
}

/// The ways by which a Windows account signs in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Auth {
    /// Windows account and password
    Ntlm,
    /// Windows account and password by SPNEGO, for a pool that wants it so; no Kerberos
    Negotiate,
    /// Windows account and password, which the server gets to read; only where it offers that
    Basic,
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    if args.test.lab {
        screen.mark_lab();
        refuse_in_lab(args.login.is_some(), "--login")?;
        refuse_in_lab(args.password_file.is_some(), "--password-file")?;
        refuse_in_lab(args.kept, "--kept")?;
    }
    let setting = match Setting::of("client-auth", &args.test, args.user, args.login, screen).await? {
        Begun::Ready(setting) => setting,
        Begun::Over(exit) => return Ok(exit),
    };
    if args.kept {
        let user = &setting.user;
        let Some(certificate) = setting.device.kept(user) else {
            return Err(CliError::usage(
                format!("no earlier test has left a certificate of {user} here"),
                format!("have one published: tethercert test client-auth --user {user}"),
            ));
        };
        let nobody = SignInAnswer::Phone;
        return setting.run(Source::Kept(Box::new(certificate)), nobody).await;
    }
    let (scheme, way) = match args.auth.unwrap_or(Auth::Ntlm) {
        Auth::Ntlm => (Scheme::Ntlm, SignInWay::Ntlm),
        Auth::Negotiate => (Scheme::Negotiate, SignInWay::Negotiate),
        Auth::Basic => (Scheme::Basic, SignInWay::Basic),
    };
    let login = setting.login();
    let password = match args.password_file {
        Some(path) => Some(secret_from(path, format!("the password of {login}"), &setting.stop).await?),
        None => None,
    };
    let source = if args.by_password { Source::Account } else { Source::Fetched(way) };
    setting.run(source, SignInAnswer::windows(scheme, login, password)).await
}
