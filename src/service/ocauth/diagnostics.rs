//! What the service says when it refuses: three routes, one [`Diagnosis`].
//!
//! - the header `X-Ms-diagnostics`, in the form of [MS-OCAUTHWS] 3.2.4.1 (positional) and in the form that is seen
//!   (named parameters);
//! - a SOAP fault, with `OCSDiagnosticsFault` inside or without ([MS-OCAUTHWS] 2.2.4.1);
//! - `ErrorInfo` inside an ordinary answer of CertProv; its inside is not public, so it is read by likely names (LAB).

use super::names::{LAB_ERROR_NUMBERS, LAB_ERROR_REASONS, LAB_ERROR_SERVERS};
use super::xml::{child, descendant, parse, text, text_of};
use roxmltree::Node;
use std::fmt;

/// Longest reason kept, characters.
const MAX_REASON: usize = 300;

/// A refusal by the service, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The error number, if it gave one: [MS-OCER] 28xxx, or 99xxx from a lab.
    pub number: Option<u32>,
    /// The reason as given, one line.
    pub reason: String,
    /// The server that said it, by its own word.
    pub server: Option<String>,
    /// How it was said.
    pub route: Route,
    /// The HTTP status it came with.
    pub status: u16,
}

/// How a refusal was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// In the header `X-Ms-diagnostics`.
    Header,
    /// As a SOAP fault.
    Fault,
    /// As `ErrorInfo` inside an ordinary answer.
    ErrorInfo,
    /// Only by the HTTP status.
    Status,
}

/// What a known error number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// 28000: the account has no SIP address.
    NotSipEnabled,
    /// 28001: Windows authentication failed inside the server.
    InternalWindowsAuth,
    /// 28020, 28032, 99007: the ticket is missing, invalid or expired.
    TicketInvalid,
    /// 28055: an OAuth token is invalid.
    OAuthInvalid,
    /// The credential belongs to another SIP address (a trust fault without a number).
    OtherSipAddress,
    /// 99001 (LAB): wrong number or PIN.
    PinWrong,
    /// 99002 (LAB): the PIN is locked.
    PinLocked,
    /// 99003 (LAB): the signing request is malformed.
    RequestMalformed,
    /// 99004 (LAB): the key is too short or too long.
    KeySize,
    /// 99005 (LAB): the certificate was asked for another user than the ticket's.
    EntityMismatch,
    /// 99006 (LAB), and any text "data store unavailable": the home pool's store cannot be reached.
    StoreUnavailable,
    /// Not in the table.
    Unknown,
}

impl Diagnosis {
    /// What it means, as far as that is known.
    pub fn meaning(&self) -> Meaning {
        let reason = self.reason.to_ascii_lowercase();
        match self.number {
            Some(28000) => Meaning::NotSipEnabled,
            Some(28001) => Meaning::InternalWindowsAuth,
            Some(28020 | 28032 | 99007) => Meaning::TicketInvalid,
            Some(28055) => Meaning::OAuthInvalid,
            Some(99001) => Meaning::PinWrong,
            Some(99002) => Meaning::PinLocked,
            Some(99003) => Meaning::RequestMalformed,
            Some(99004) => Meaning::KeySize,
            Some(99005) => Meaning::EntityMismatch,
            Some(99006) => Meaning::StoreUnavailable,
            Some(_) | None if reason.contains("store unavailable") => Meaning::StoreUnavailable,
            None if reason.contains("does not match the sip uri") => Meaning::OtherSipAddress,
            Some(_) | None => Meaning::Unknown,
        }
    }
}

impl Meaning {
    /// What the technician does next.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::NotSipEnabled => "have the administrator enable the user for Lync or Skype for Business",
            Self::InternalWindowsAuth => "have the administrator look at the server's event log, then repeat",
            Self::TicketInvalid => "repeat: a new ticket is fetched; if it stays, compare the servers' clocks",
            Self::OAuthInvalid => "sign in with NTLM or a PIN: this program uses no OAuth",
            Self::OtherSipAddress | Self::EntityMismatch => {
                "check that --user is the SIP address of the account that signs in"
            }
            Self::PinWrong => "check number and PIN with the user; further wrong tries lock the PIN",
            Self::PinLocked => "have the administrator unlock the user's PIN",
            Self::RequestMalformed => "have the phone make a new signing request",
            Self::KeySize => "choose another key size, or have the administrator change the allowed key sizes",
            Self::StoreUnavailable => {
                "wait half a minute and repeat; if it stays, the administrator checks the user's home pool and its database"
            }
            Self::Unknown => "give number, reason and server to the administrator: the server's event log has the rest",
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{number} {}", self.reason)?,
            None => write!(f, "{}", self.reason)?,
        }
        match &self.server {
            Some(server) => write!(f, " (said by {server})"),
            None => Ok(()),
        }
    }
}

/// What an answer says about its failure: header first, then body, else the bare status. `server` is the server's name
/// for itself in other headers, used where the diagnosis names none.
pub(super) fn diagnose(status: u16, header: Option<&str>, body: &[u8], server: Option<String>) -> Diagnosis {
    let mut diagnosis =
        header.and_then(|value| from_header(value, status)).or_else(|| from_body(body, status)).unwrap_or_else(|| {
            Diagnosis { number: None, reason: format!("HTTP {status}"), server: None, route: Route::Status, status }
        });
    diagnosis.server = diagnosis.server.or(server);
    diagnosis
}

/// `28020;source="fe01";reason="No valid security token."`, or the same values by position.
pub(super) fn from_header(value: &str, status: u16) -> Option<Diagnosis> {
    let mut items = split_quoted(value).into_iter();
    let number = items.next()?.trim().parse().ok()?;
    let (mut server, mut reason, mut position) = (None, None, 0);
    for item in items {
        let item = item.trim();
        match item.split_once('=').filter(|(name, _)| !name.contains('"')) {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("source") => server = Some(unquote(value)),
            Some((name, value)) if name.trim().eq_ignore_ascii_case("reason") => reason = Some(unquote(value)),
            Some(_) => {}
            None => {
                match position {
                    0 => server = Some(unquote(item)),
                    1 => reason = Some(unquote(item)),
                    _ => {}
                }
                position += 1;
            }
        }
    }
    let reason = one_line(&reason.unwrap_or_default());
    let server = server.map(|s| one_line(&s)).filter(|s| !s.is_empty());
    Some(Diagnosis { number: Some(number), reason, server, route: Route::Header, status })
}

/// A SOAP fault, or an `ErrorInfo`; `None` for anything else.
pub(super) fn from_body(body: &[u8], status: u16) -> Option<Diagnosis> {
    let document = parse(text_of(body).ok()?).ok()?;
    let body = child(document.root_element(), "Body")?;
    if let Some(fault) = child(body, "Fault") {
        let inner = descendant(fault, "Ms-Diagnostics-Fault");
        let number = inner.and_then(|n| child(n, "ErrorId")).and_then(|n| text(n).parse().ok());
        let words = inner
            .and_then(|n| child(n, "Reason"))
            .or_else(|| child(fault, "faultstring"))
            .or_else(|| descendant(fault, "Text"));
        let reason = one_line(&words.map(text).unwrap_or_default());
        return Some(Diagnosis { number, reason, server: None, route: Route::Fault, status });
    }
    body.children().filter(Node::is_element).find_map(|answer| error_info(answer, status))
}

/// The `ErrorInfo` of an answer, or its `ResponseClass="Error"` alone.
pub(super) fn error_info(answer: Node<'_, '_>, status: u16) -> Option<Diagnosis> {
    let is_error = answer.attribute("ResponseClass").is_some_and(|class| class.eq_ignore_ascii_case("Error"));
    let info = child(answer, "ErrorInfo");
    if info.is_none() && !is_error {
        return None;
    }
    let info = info.unwrap_or(answer);
    let value = |names: &[&str]| {
        names.iter().find_map(|name| {
            let attribute = info.attributes().find(|a| a.name() == *name).map(|a| a.value().trim().to_owned());
            attribute.or_else(|| descendant(info, name).map(text)).filter(|v| !v.is_empty())
        })
    };
    let number = value(LAB_ERROR_NUMBERS).and_then(|n| n.parse().ok());
    let reason = value(LAB_ERROR_REASONS).unwrap_or_else(|| {
        info.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect::<Vec<_>>().join(" ")
    });
    let server = value(LAB_ERROR_SERVERS).map(|s| one_line(&s));
    Some(Diagnosis { number, reason: one_line(&reason), server, route: Route::ErrorInfo, status })
}

/// Splits at `;` outside quotes.
fn split_quoted(value: &str) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(move |c| {
            quoted ^= c == '"';
            c == ';' && !quoted
        })
        .collect()
}

fn unquote(value: &str) -> String {
    value.trim().trim_matches('"').to_owned()
}

/// Fit for a terminal line.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAULT: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
        <faultcode>a:FailedAuthentication</faultcode><faultstring xml:lang="en-US">No valid security token.</faultstring>
        <detail><OCSDiagnosticsFault xmlns="urn:component:Microsoft.Rtc.WebAuthentication.2010"><Ms-Diagnostics-Fault>
        <ErrorId>28020</ErrorId><Reason>No valid security token.</Reason></Ms-Diagnostics-Fault></OCSDiagnosticsFault>
        </detail></s:Fault></s:Body></s:Envelope>"#;

    const ERROR_INFO: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
        <GetAndPublishCertResponse xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" ResponseClass="Error">
        <ErrorInfo><ErrorId>99006</ErrorId><Reason>The data store is unavailable.</Reason></ErrorInfo>
        </GetAndPublishCertResponse></s:Body></s:Envelope>"#;

    #[test]
    fn the_header_is_read_in_both_forms() {
        let named = from_header(r#"28020;source="fe01.contoso.example";reason="No; valid token.""#, 500).unwrap();
        let positional =
            from_header(r#"28020;"fe01.contoso.example";"No; valid token.";"wsse:FailedAuthentication""#, 500).unwrap();
        assert_eq!(named, positional);
        assert_eq!(named.number, Some(28020));
        assert_eq!(named.reason, "No; valid token.");
        assert_eq!(named.server.as_deref(), Some("fe01.contoso.example"));
    }

    #[test]
    fn a_fault_an_error_info_and_a_bare_status_are_one_kind_of_diagnosis() {
        let fault = diagnose(500, None, FAULT.as_bytes(), Some("fe02".to_owned()));
        assert_eq!((fault.number, fault.route, fault.meaning()), (Some(28020), Route::Fault, Meaning::TicketInvalid));
        assert_eq!(fault.to_string(), "28020 No valid security token. (said by fe02)");
        let info = diagnose(200, None, ERROR_INFO.as_bytes(), None);
        assert_eq!((info.route, info.meaning()), (Route::ErrorInfo, Meaning::StoreUnavailable));
        assert_eq!(diagnose(502, None, b"<html>", None).reason, "HTTP 502");
    }

    #[test]
    fn an_unknown_number_is_shown_as_given() {
        let unknown = from_header(r#"28999;reason="Something new""#, 500).unwrap();
        assert_eq!(unknown.meaning(), Meaning::Unknown);
        assert_eq!(unknown.to_string(), "28999 Something new");
    }

    #[test]
    fn a_reason_cannot_paint_the_terminal() {
        assert_eq!(one_line("bad\u{1b}[31m\n  word"), "bad[31m word");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in "\\PC{0,80}", tail in "[0-9]{1,12}(;[a-z]*=?\"?[a-z;\"]{0,9}){0,5}") {
            let _ = from_header(&value, 500);
            let _ = from_header(&tail, 500);
        }

        #[test]
        fn any_and_any_mutated_body_is_read_or_refused(at in 0usize..700, byte in any::<u8>(), cut in 0usize..700) {
            for body in [FAULT, ERROR_INFO] {
                let mut bytes = body.as_bytes().to_vec();
                if let Some(place) = bytes.get_mut(at) { *place = byte; }
                let _ = from_body(&bytes, 500);
                bytes.truncate(cut);
                let _ = from_body(&bytes, 500);
            }
        }
    }
}
