//! By HTTP Basic (RFC 7617): the server gets to read the password. Only when asked for by name, where it is offered, over TLS.

use super::super::OcAuth;
use super::super::diagnostics::Route;
use super::super::diagnostics::one_line;
use super::super::error::ServiceError;
use super::super::http::Repeat;
use super::super::ticket::{Entropy, Issued};
use super::offered::Offered;
use super::request::request;
use super::{Door, NAME, bad_login};
use crate::service::SignInWay;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub(super) async fn ticket(
    service: &mut OcAuth,
    door: &Door,
    login: &str,
    password: &SecretString,
) -> Result<Issued, ServiceError> {
    let unfit = |text: &str| text.chars().any(char::is_control);
    if login.is_empty() || login.contains(':') || unfit(login) || unfit(password.expose_secret()) {
        return Err(bad_login(login));
    }
    let entropy = Entropy::new();
    let message = request("", Some(&door.user), &door.applies_to, &entropy).map_err(|_| bad_login(login))?;
    // What is not offered is not sent: the first request goes without it.
    let asked = service.ask_ticket(door, &message, None, Repeat::Freely).await;
    let mut answer = asked.map_err(|unanswered| unanswered.error)?;
    if answer.status == 401 {
        let offered = Offered::read(&answer);
        if !offered.has("Basic") {
            let (host, way) = (door.host.clone(), SignInWay::Basic);
            return Err(ServiceError::SchemeNotOffered { host, way, offered: offered.names() });
        }
        let pair = Zeroizing::new(format!("{login}:{}", password.expose_secret()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        let authorization = Zeroizing::new(format!("Basic {}", encoded.as_str()));
        let asked = service.ask_ticket(door, &message, Some(authorization), Repeat::IfUnsent).await;
        answer = asked.map_err(|unanswered| unanswered.error)?;
        if answer.status == 401 {
            let said = Some(service.diagnosis(&answer)).filter(|said| said.route != Route::Status);
            let login = one_line(login);
            let (host, way) = (door.host.clone(), SignInWay::Basic);
            return Err(ServiceError::CredentialRefused { host, way, login, diagnosis: said });
        }
    }
    service.read_ticket(door, &answer, &entropy, NAME)
}
