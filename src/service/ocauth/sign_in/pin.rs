//! By number and PIN: WebTicketServicePin. The message is not public; it is written as the pool's profile says.

use super::super::diagnostics::one_line;
use super::super::error::ServiceError;
use super::super::http::Repeat;
use super::super::names::WSSE;
use super::super::pool::Pool;
use super::super::profile::{Encoding, PinProfile};
use super::super::ticket::{Entropy, Issued};
use super::super::xml::{ControlCharacter, escape};
use super::super::{EndorsementTerms, Meaning, OcAuth, Route};
use super::request::request;
use super::{Door, bad_login};
use crate::service::{EndorsementAlgorithm, SignInWay};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// How a PIN is sent to this pool. Where that is not known, none ever is.
pub(super) fn profile(pool: &Pool) -> Result<&PinProfile, ServiceError> {
    pool.profile().and_then(|profile| profile.pin()).ok_or(ServiceError::NoPinProfile)
}

pub(super) async fn ticket(
    service: &mut OcAuth,
    door: &Door,
    number: &str,
    pin: &SecretString,
) -> Result<Issued, ServiceError> {
    let profile = profile(&service.pool)?.clone();
    let entropy = Entropy::new();
    let timestamp = match profile.timestamp {
        true => EndorsementTerms::beginning(service.service_now(), EndorsementAlgorithm::RsaSha1).timestamp(),
        false => String::new(),
    };
    let claimed = profile.claim_user.then_some(&door.user);
    let message = header(&profile, &timestamp, number, pin)
        .and_then(|header| request(&header, claimed, &door.applies_to, &entropy))
        .map_err(|_| bad_login(number))?;
    let asked = service.ask_ticket(door, &message, None, Repeat::IfUnsent).await;
    let answer = asked.map_err(|unanswered| unanswered.error)?;
    if answer.status != 200 {
        let said = service.diagnosis(&answer);
        // Rather one try too few: a wrong PIN sent again and again locks the user out, and its number is not public.
        let wrong = match said.meaning() {
            Meaning::PinWrong | Meaning::PinLocked | Meaning::TicketInvalid => true,
            Meaning::Unknown => answer.status == 401 || said.route != Route::Status,
            _ => answer.status == 401,
        };
        if wrong {
            let login = one_line(number);
            let (host, way) = (door.host.clone(), SignInWay::Pin);
            return Err(ServiceError::CredentialRefused { host, way, login, diagnosis: Some(said) });
        }
    }
    service.read_ticket(door, &answer, &entropy, &profile.user)
}

fn header(
    profile: &PinProfile,
    timestamp: &str,
    number: &str,
    pin: &SecretString,
) -> Result<Zeroizing<String>, ControlCharacter> {
    let written = |value: &str| -> Result<Zeroizing<String>, ControlCharacter> {
        Ok(Zeroizing::new(match profile.encoding {
            Encoding::Plain => escape(value)?.into_owned(),
            Encoding::Base64 => STANDARD.encode(value),
        }))
    };
    let (number, pin) = (written(&normal_number(number))?, written(pin.expose_secret())?);
    let PinProfile { token, number: number_name, pin: pin_name, .. } = profile;
    let kind = profile.pin_type.as_ref().map(|kind| format!(" Type=\"{kind}\"")).unwrap_or_default();
    // The prefix of WS-Security is there already; another namespace gets its own.
    let (prefix, declared) = match profile.token_namespace == WSSE {
        true => ("wsse", String::new()),
        false => ("pin", format!(" xmlns:pin=\"{}\"", profile.token_namespace)),
    };
    Ok(Zeroizing::new(format!(
        "<wsse:Security soap:mustUnderstand=\"1\">{timestamp}<{prefix}:{token}{declared}>\
         <{prefix}:{number_name}>{}</{prefix}:{number_name}><{prefix}:{pin_name}{kind}>{}</{prefix}:{pin_name}>\
         </{prefix}:{token}></wsse:Security>",
        number.as_str(),
        pin.as_str()
    )))
}

/// `tel:+1 (206) 555-1219;ext=19` as `12065551219;ext=19`: the leading `+` is dropped by Microsoft's own test (observed).
pub(super) fn normal_number(number: &str) -> String {
    let number = number.trim();
    let bare = number.get(..4).filter(|s| s.eq_ignore_ascii_case("tel:")).map_or(number, |_| &number[4..]);
    bare.chars().filter(|c| !c.is_whitespace() && !"+-()".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Profile;
    use super::super::super::xml::parse;
    use super::*;

    #[test]
    fn a_number_is_sent_as_digits_and_its_extension_is_kept_apart() {
        assert_eq!(normal_number("tel:+1 (206) 555-1219"), "12065551219");
        assert_eq!(normal_number("5551219;ext=19"), "5551219;ext=19");
    }

    #[test]
    fn the_message_is_the_profiles() {
        let lab = Profile::lab().pin().unwrap().clone();
        let text = |profile: &PinProfile| {
            let header = header(profile, "", "+1206", &"07<12".into()).unwrap();
            let whole = format!("<s xmlns:soap='s' xmlns:wsse='{WSSE}'>{}</s>", header.as_str());
            assert!(parse(&whole).is_ok(), "{whole}");
            header.as_str().to_owned()
        };
        let plain = text(&lab);
        assert!(plain.contains("<wsse:Username>1206</wsse:Username>") && plain.contains("#PasswordText\">07&lt;12<"));
        let other = PinProfile {
            token_namespace: "urn:example:pin".to_owned(),
            token: "PinToken".to_owned(),
            number: "Phone".to_owned(),
            pin: "Pin".to_owned(),
            pin_type: None,
            encoding: Encoding::Base64,
            ..lab
        };
        let expected = "<pin:PinToken xmlns:pin=\"urn:example:pin\"><pin:Phone>MTIwNg==</pin:Phone>\
                        <pin:Pin>MDc8MTI=</pin:Pin></pin:PinToken>";
        assert!(text(&other).contains(expected), "{}", text(&other));
    }
}
