//! The ways to a web ticket, one file each. Here is what they share: which port, which host, which credential, one turn each.

mod basic;
mod certificate;
mod handshake;
mod offered;
mod pin;
mod request;
mod windows;

pub(super) use certificate::endorsement_terms;

use super::diagnostics::one_line;
use super::error::{ServiceError, Step};
use super::http::{Answer, Ask, Repeat, Unanswered};
use super::metadata::Port;
use super::pool::Known;
use super::refused::{Mark, RefusedCredentials};
use super::survey::metadata_error;
use super::ticket::{self, Entropy, Issued};
use super::xml::BadMessage;
use super::{Diagnosis, OcAuth, diagnostics, host_of, names, redirected};
use crate::credential::SipAddress;
use crate::service::{SignIn, SignInWay, Ticket};
use secrecy::ExposeSecret;
use url::Url;
use zeroize::Zeroizing;

/// Local name of the element that names the user in an assertion, WSS SAML 1.1 (inferred).
const NAME: &str = "NameIdentifier";

/// Gets a web ticket.
pub(super) async fn sign_in(service: &mut OcAuth, user: &SipAddress, with: &SignIn) -> Result<Ticket, ServiceError> {
    if let SignIn::Pin { .. } = with {
        pin::profile(&service.pool)?;
    }
    let refused = service.pool.refused().clone();
    let mark = mark(&refused, with);
    if refused.contains(&mark) {
        return Err(ServiceError::RefusedBefore);
    }
    let known = service.known().await?;
    service.pool.may_receive(&known.certprov.location, user)?;
    let _turn = refused.turn(&mark).await;
    if refused.contains(&mark) {
        return Err(ServiceError::RefusedBefore);
    }
    // To the server a connection stays whom it was first signed in as, whatever login comes later.
    if service.credential.replace(mark.clone()).is_some_and(|before| before != mark) {
        service.lines.start_afresh();
    }
    let door = Door::to(service, &known, user, way(with))?;
    service.user = Some(user.clone());
    let result = match with {
        SignIn::Ntlm { login, password } => windows::ticket(service, &door, SignInWay::Ntlm, login, password).await,
        SignIn::Negotiate { login, password } => {
            windows::ticket(service, &door, SignInWay::Negotiate, login, password).await
        }
        SignIn::Basic { login, password } => basic::ticket(service, &door, login, password).await,
        SignIn::Pin { number, pin } => pin::ticket(service, &door, number, pin).await,
        SignIn::Certificate(endorsement) => certificate::ticket(service, &door, endorsement).await,
    };
    if let Err(ServiceError::CredentialRefused { .. } | ServiceError::CertificateRefused { .. }) = result {
        refused.remember(mark);
    }
    let issued = result?;
    match &issued.name {
        Some(name) if !fits(name, user, with) => {
            Err(ServiceError::NotThisUser { expected: user.clone(), named: diagnostics::one_line(name) })
        }
        None if matches!(with, SignIn::Pin { .. }) => Err(ServiceError::BadAnswer {
            host: door.host,
            step: Step::Ticket,
            source: BadMessage::Missing("SIP address of the user"),
        }),
        Some(_) | None => Ok(Ticket { user: user.clone(), expires: issued.expires, ocauth: issued.ticket }),
    }
}

/// Where a credential would go, once it is sure that it may.
pub(super) async fn host(service: &mut OcAuth, user: &SipAddress, way: SignInWay) -> Result<String, ServiceError> {
    if way == SignInWay::Pin {
        pin::profile(&service.pool)?;
    }
    let known = service.known().await?;
    service.pool.may_receive(&known.certprov.location, user)?;
    Ok(Door::to(service, &known, user, way)?.host)
}

/// Where one user asks for a ticket by one way, and for what.
struct Door {
    user: SipAddress,
    url: Url,
    host: String,
    /// What the ticket is for, letter by letter.
    applies_to: String,
    usage: super::metadata::TicketUse,
}

impl Door {
    /// A missing port means that the way is not offered; a guessed address is never tried.
    fn to(service: &OcAuth, known: &Known, user: &SipAddress, way: SignInWay) -> Result<Self, ServiceError> {
        let profile = match way {
            SignInWay::Pin => Some(pin::profile(&service.pool)?),
            SignInWay::Ntlm | SignInWay::Negotiate | SignInWay::Certificate | SignInWay::Basic => None,
        };
        let wanted: Vec<&str> = match way {
            SignInWay::Ntlm | SignInWay::Basic => vec![names::PORT_WINDOWS, names::PORT_NTLM],
            SignInWay::Negotiate => vec![names::PORT_WINDOWS],
            SignInWay::Certificate => vec![names::PORT_CERTIFICATE],
            SignInWay::Pin => profile.and_then(|profile| profile.port.as_deref()).into_iter().collect(),
        };
        let issuer = &known.certprov.issuer;
        let url = match profile.and_then(|profile| profile.url_suffix.as_deref()) {
            Some(suffix) => {
                let mut url = issuer.clone();
                url.set_path(&format!("{}{suffix}", issuer.path().trim_end_matches('/')));
                url
            }
            None => {
                let port = port(known, &wanted).ok_or_else(|| ServiceError::NotOffered {
                    host: host_of(issuer),
                    way,
                    port: wanted.first().copied().unwrap_or_default().to_owned(),
                })?;
                port.location().map_err(|error| metadata_error(issuer, error))?
            }
        };
        service.pool.may_receive(&url, user)?;
        let certprov = &known.certprov;
        let (applies_to, usage) = (certprov.location_text.clone(), certprov.usage);
        Ok(Self { user: user.clone(), host: host_of(&url), url, applies_to, usage })
    }
}

/// The first of the wanted ports that there is.
fn port<'k>(known: &'k Known, wanted: &[&str]) -> Option<&'k Port> {
    let find = |name: &&str| known.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
    wanted.iter().find_map(find)
}

fn way(with: &SignIn) -> SignInWay {
    match with {
        SignIn::Ntlm { .. } => SignInWay::Ntlm,
        SignIn::Negotiate { .. } => SignInWay::Negotiate,
        SignIn::Pin { .. } => SignInWay::Pin,
        SignIn::Certificate(_) => SignInWay::Certificate,
        SignIn::Basic { .. } => SignInWay::Basic,
    }
}

/// What a credential is known again by. A password is the same by whichever of the Windows ways it goes.
fn mark(refused: &RefusedCredentials, with: &SignIn) -> Mark {
    match with {
        SignIn::Ntlm { login, password }
        | SignIn::Negotiate { login, password }
        | SignIn::Basic { login, password } => refused.mark("windows", login, password.expose_secret().as_bytes()),
        SignIn::Pin { number, pin } => refused.mark("pin", &pin::normal_number(number), pin.expose_secret().as_bytes()),
        SignIn::Certificate(endorsement) => refused.mark("certificate", "", &endorsement.certificate),
    }
}

/// Whether the name in a ticket is the user's. By PIN the name is the only word on who it is; by the other ways the claim
/// has settled that, and a real assertion may name the account in another way.
fn fits(name: &str, user: &SipAddress, with: &SignIn) -> bool {
    let is_sip = name.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    match with {
        SignIn::Pin { .. } => name.parse::<SipAddress>().as_ref() == Ok(user),
        SignIn::Ntlm { .. } | SignIn::Negotiate { .. } | SignIn::Basic { .. } | SignIn::Certificate(_) => {
            !is_sip || name.parse::<SipAddress>().as_ref() == Ok(user)
        }
    }
}

impl OcAuth {
    /// Sends a request for a ticket.
    async fn ask_ticket(
        &mut self,
        door: &Door,
        message: &Zeroizing<Vec<u8>>,
        authorization: Option<Zeroizing<String>>,
        repeat: Repeat,
    ) -> Result<Answer, Unanswered> {
        let soap = Some((names::ACTION_ISSUE, message.clone()));
        let ask = Ask { step: Step::Ticket, url: door.url.clone(), soap, authorization, repeat };
        let answer = self.lines.ask(ask).await?;
        self.pool.note_clock(answer.clock_offset);
        Ok(answer)
    }

    /// The ticket in an answer, or why there is none.
    fn read_ticket(
        &self,
        door: &Door,
        answer: &Answer,
        entropy: &Entropy,
        named_by: &str,
    ) -> Result<Issued, ServiceError> {
        if let Some(redirected) = redirected(answer, &door.host, Step::Ticket) {
            return Err(redirected);
        }
        if answer.status != 200 {
            return Err(ServiceError::Refused { step: Step::Ticket, diagnosis: self.diagnosis(answer) });
        }
        let read = answer.text().and_then(|text| ticket::read(&text, entropy, door.usage, named_by));
        read.map_err(|source| match Diagnosis::of_body(answer, &self.pool.reading(), self.user.as_ref()) {
            Some(diagnosis) => ServiceError::Refused { step: Step::Ticket, diagnosis: Box::new(diagnosis) },
            None => ServiceError::BadAnswer { host: door.host.clone(), step: Step::Ticket, source },
        })
    }
}

fn bad_login(login: &str) -> ServiceError {
    ServiceError::BadLogin { login: one_line(login) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_sip_address_settles_nothing_by_ntlm_and_everything_by_pin() {
        let alice: SipAddress = "alice@contoso.example".parse().unwrap();
        let ntlm = SignIn::Ntlm { login: "CONTOSO\\alice".to_owned(), password: "x".into() };
        let pin = SignIn::Pin { number: "19".to_owned(), pin: "0712".into() };
        assert!(fits("CONTOSO\\alice", &alice, &ntlm) && fits("alice@corp.contoso.example", &alice, &ntlm));
        assert!(!fits("sip:bob@contoso.example", &alice, &ntlm));
        assert!(fits("sip:Alice@contoso.example", &alice, &pin) && !fits("CONTOSO\\alice", &alice, &pin));
    }

    #[test]
    fn a_password_is_one_credential_by_whichever_windows_way_it_goes() {
        let refused = RefusedCredentials::new();
        let (login, other) = ("CONTOSO\\alice".to_owned(), "contoso\\ALICE".to_owned());
        let ntlm = mark(&refused, &SignIn::Ntlm { login, password: "x".into() });
        assert!(ntlm == mark(&refused, &SignIn::Negotiate { login: other.clone(), password: "x".into() }));
        assert!(ntlm == mark(&refused, &SignIn::Basic { login: other.clone(), password: "x".into() }));
        assert!(ntlm != mark(&refused, &SignIn::Pin { number: other, pin: "x".into() }));
    }
}
