//! By Windows credentials in HTTP: NTLM or Negotiate. Nothing about the credential is in the message.
//!
//! The handshake belongs to one connection. What tears it apart (a proxy that opens a connection for each request, a load
//! balancer without affinity) looks like a wrong password to the server, so it is told apart here: the handshake is begun
//! anew once, and then named as what it is. A wrong password is one that the server has judged.

use super::super::OcAuth;
use super::super::diagnostics::Route;
use super::super::diagnostics::one_line;
use super::super::error::{Moved, ServiceError, Step};
use super::super::http::{Answer, Repeat};
use super::super::ticket::{Entropy, Issued};
use super::super::xml::BadMessage;
use super::handshake::{Dress, Handshake};
use super::offered::Offered;
use super::request::request;
use super::{Door, NAME, bad_login};
use crate::service::SignInWay;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use zeroize::Zeroizing;

/// How one handshake ended.
enum End {
    /// The server accepted it, or failed in another way.
    Answered(Answer),
    /// The server judged the credential and refused it.
    Refused(Answer),
    /// It was torn apart before the credential was judged.
    Moved(Moved),
    /// The server knows no SPNEGO: it refused the first token, which proves nothing yet, or answered it with bare NTLM.
    NoSpnego,
}

pub(super) async fn ticket(
    service: &mut OcAuth,
    door: &Door,
    way: SignInWay,
    login: &str,
    password: &SecretString,
) -> Result<Issued, ServiceError> {
    let entropy = Entropy::new();
    let message = request("", Some(&door.user), &door.applies_to, &entropy).map_err(|_| bad_login(login))?;
    // A login that cannot be one is found before anything is sent.
    Handshake::new(Dress::Ntlm, login, password, &door.host)?;
    // The first request learns which schemes there are. A connection that is signed in already gets its ticket by it.
    let asked = service.ask_ticket(door, &message, None, Repeat::Freely).await;
    let answer = asked.map_err(|unanswered| unanswered.error)?;
    if answer.status != 401 {
        return service.read_ticket(door, &answer, &entropy, NAME);
    }
    let offered = Offered::read(&answer);
    let mut dress = dress(way, &offered).ok_or_else(|| ServiceError::SchemeNotOffered {
        host: door.host.clone(),
        way,
        offered: offered.names(),
    })?;
    let mut torn_before = false;
    loop {
        let handshake = Handshake::new(dress, login, password, &door.host)?;
        match shake(service, door, &message, dress, handshake).await? {
            End::Answered(answer) => return service.read_ticket(door, &answer, &entropy, NAME),
            End::Refused(answer) => {
                let said = Some(service.diagnosis(&answer)).filter(|said| said.route != Route::Status);
                let login = one_line(login);
                return Err(ServiceError::CredentialRefused { host: door.host.clone(), way, login, diagnosis: said });
            }
            End::Moved(how) if torn_before => {
                return Err(ServiceError::HandshakeMoved { host: door.host.clone(), how });
            }
            End::Moved(how) => {
                tracing::debug!(host = door.host, %how, "the handshake was torn apart; beginning anew");
                torn_before = true;
            }
            End::NoSpnego => {
                tracing::debug!(host = door.host, "the server knows no SPNEGO; going on with NTLM under that name");
                dress = Dress::BareNegotiate;
            }
        }
        // What the server has kept of the old one must not meet the new one.
        service.lines.close(&door.url);
    }
}

/// `ntlm` prefers NTLM by its own name and takes Negotiate where that stands alone; `negotiate` is Negotiate.
fn dress(way: SignInWay, offered: &Offered) -> Option<Dress> {
    match way {
        SignInWay::Ntlm if offered.has("NTLM") => Some(Dress::Ntlm),
        SignInWay::Ntlm | SignInWay::Negotiate if offered.has("Negotiate") => Some(Dress::Spnego),
        SignInWay::Ntlm | SignInWay::Negotiate | SignInWay::Pin | SignInWay::Certificate | SignInWay::Basic => None,
    }
}

/// One handshake: the first message, its challenge, the answer to it on the same connection.
async fn shake(
    service: &mut OcAuth,
    door: &Door,
    message: &Zeroizing<Vec<u8>>,
    dress: Dress,
    mut handshake: Handshake,
) -> Result<End, ServiceError> {
    let bad = |source| ServiceError::BadAnswer { host: door.host.clone(), step: Step::Ticket, source };
    let garbled = |error: sspi::Error| {
        let problem = format!("{:?}", error.error_type);
        bad(BadMessage::BadValue { what: "challenge of the sign-in", problem })
    };
    let scheme = dress.scheme();

    let first = authorization(scheme, handshake.begin().map_err(garbled)?);
    let asked = service.ask_ticket(door, message, Some(first), Repeat::Freely).await;
    let answer = asked.map_err(|unanswered| unanswered.error)?;
    if answer.status != 401 {
        return Ok(End::Answered(answer));
    }
    let challenge = match Offered::read(&answer).token(scheme) {
        Some(token) if dress == Dress::Spnego && is_bare_ntlm(&token) => return Ok(End::NoSpnego),
        Some(token) => token,
        None if dress == Dress::Spnego => return Ok(End::NoSpnego),
        None => return Err(bad(BadMessage::Missing("challenge of the sign-in"))),
    };
    let challenged = answer.server();

    let binding = service.lines.channel_binding(&door.url);
    let third = authorization(scheme, handshake.answer(challenge, binding.as_deref()).map_err(garbled)?);
    let answer = match service.ask_ticket(door, message, Some(third), Repeat::Never).await {
        Ok(answer) => answer,
        Err(unanswered) => {
            return match unanswered.error {
                ServiceError::Lost { .. } => Ok(End::Moved(Moved::Closed)),
                error => Err(error),
            };
        }
    };
    // A final token beside a 200 proves the server once more; TLS has done so already.
    if answer.status != 401 {
        return Ok(End::Answered(answer));
    }
    if Offered::read(&answer).token(scheme).is_some_and(|token| holds_challenge(&token)) {
        return Ok(End::Moved(Moved::ChallengedAgain));
    }
    Ok(match (challenged, answer.server()) {
        (Some(challenged), Some(judged)) if !challenged.eq_ignore_ascii_case(&judged) => {
            End::Moved(Moved::AnotherServer { challenged, judged })
        }
        _ => End::Refused(answer),
    })
}

fn is_bare_ntlm(token: &[u8]) -> bool {
    token.starts_with(b"NTLMSSP\0")
}

/// An NTLM challenge, bare or inside SPNEGO. A SPNEGO token without one is a refusal.
fn holds_challenge(token: &[u8]) -> bool {
    let challenge = b"NTLMSSP\0\x02\0\0\0";
    token.windows(challenge.len()).any(|window| window == challenge)
}

fn authorization(scheme: &str, token: Vec<u8>) -> Zeroizing<String> {
    let token = Zeroizing::new(STANDARD.encode(Zeroizing::new(token).as_slice()));
    Zeroizing::new(format!("{scheme} {}", token.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntlm_is_preferred_by_its_name_and_goes_by_negotiate_where_that_stands_alone() {
        let offered = |value: &str| Offered::read(&Answer::example(401, &[("WWW-Authenticate", value)], ""));
        assert_eq!(dress(SignInWay::Ntlm, &offered("Negotiate, ntlm")), Some(Dress::Ntlm));
        assert_eq!(dress(SignInWay::Ntlm, &offered("Negotiate")), Some(Dress::Spnego));
        assert_eq!(dress(SignInWay::Negotiate, &offered("Negotiate, NTLM")), Some(Dress::Spnego));
        assert_eq!(dress(SignInWay::Negotiate, &offered("NTLM")), None);
        assert_eq!(dress(SignInWay::Ntlm, &offered("Basic realm=\"x\"")), None);
    }
}
