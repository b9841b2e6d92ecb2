//! What the service says when it refuses: three routes, one [`Diagnosis`].
//!
//! - the header `X-Ms-diagnostics`, in the form of [MS-OCAUTHWS] 3.2.4.1 (positional) and in the form that is seen
//!   (named parameters);
//! - a SOAP fault, 1.1 or 1.2, with `OCSDiagnosticsFault` inside or without ([MS-OCAUTHWS] 2.2.4.1);
//! - `ErrorInfo` inside an ordinary answer of CertProv; its inside is not public, so its names are data ([`Profile`]).

mod reading;

pub(super) use reading::{Said, error_info};

use super::commands;
use super::http::Answer;
use super::profile::Profile;
use crate::credential::SipAddress;
use std::fmt;

/// Longest reason kept, characters.
const MAX_REASON: usize = 300;

/// Headers by which an administrator finds the request in the servers' logs (observed), as they are shown.
const CORRELATION: [&str; 3] = ["X-MS-Correlation-Id", "client-request-id", "request-id"];

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
    /// The fault's code without its prefix: `FailedAuthentication`.
    pub fault_code: Option<String>,
    /// What the servers' logs know the request by.
    pub correlation: Vec<Correlation>,
    /// The user it is about, for commands.
    pub user: Option<SipAddress>,
    pub(crate) meaning: Meaning,
}

/// An id in the servers' logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The header that said it: `X-MS-Correlation-Id`, `client-request-id` or `request-id`.
    pub header: &'static str,
    /// As given, one line.
    pub id: String,
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

/// What a known error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// 28000: the account has no SIP address.
    NotSipEnabled,
    /// 28001: Windows authentication failed inside the server.
    InternalWindowsAuth,
    /// 28020, 28032, LAB 99007, and security faults without a number: the ticket is missing, invalid or expired.
    TicketInvalid,
    /// 28055: an OAuth token is invalid.
    OauthInvalid,
    /// The credential belongs to another SIP address (a trust fault without a number).
    OtherSipAddress,
    /// LAB 99001: wrong number or PIN.
    PinWrong,
    /// LAB 99002: the PIN is locked.
    PinLocked,
    /// LAB 99003: the signing request is malformed.
    RequestMalformed,
    /// LAB 99004: the key is too short or too long.
    KeySize,
    /// LAB 99005: the certificate was asked for another user than the ticket's.
    EntityMismatch,
    /// LAB 99006, and any text "store … unavailable": the home pool's store cannot be reached.
    StoreUnavailable,
    /// Not known.
    #[serde(skip)]
    Unknown,
}

impl Diagnosis {
    /// What an answer says about its failure: header first, then body, else the bare status.
    pub(super) fn of(answer: &Answer, profile: &Profile, user: Option<&SipAddress>) -> Self {
        let said = answer.headers("x-ms-diagnostics").find_map(|value| reading::from_header(&value));
        let said = said.or_else(|| reading::from_body(&answer.text().ok()?, profile.error_info()));
        Self::new(said.unwrap_or_else(|| reading::from_status(answer)), answer, profile, user)
    }

    /// What the body of an answer says, if it is a refusal.
    pub(super) fn of_body(answer: &Answer, profile: &Profile, user: Option<&SipAddress>) -> Option<Self> {
        let said = reading::from_body(&answer.text().ok()?, profile.error_info())?;
        Some(Self::new(said, answer, profile, user))
    }

    pub(super) fn new(said: Said, answer: &Answer, profile: &Profile, user: Option<&SipAddress>) -> Self {
        let meaning = Meaning::of(&said, profile);
        let correlation = CORRELATION.into_iter().filter_map(|header| {
            let id = answer.headers(header).next().map(|id| one_line(&id)).filter(|id| !id.is_empty())?;
            Some(Correlation { header, id })
        });
        Self {
            number: said.number,
            reason: said.reason,
            server: said.server.or_else(|| answer.server()),
            route: said.route,
            status: answer.status,
            fault_code: said.fault_code,
            correlation: correlation.collect(),
            user: user.cloned(),
            meaning,
        }
    }

    /// What it means, as far as that is known.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// What the technician does next, with a command for the administrator where there is one.
    pub fn next_step(&self) -> String {
        let with = |words: &str, command: fn(&SipAddress) -> String| match &self.user {
            Some(user) => format!("{words}: {}", command(user)),
            None => words.to_owned(),
        };
        match self.meaning {
            Meaning::NotSipEnabled => {
                with("have the administrator enable the user for Lync or Skype for Business", commands::enable_user)
            }
            Meaning::InternalWindowsAuth => {
                "have the administrator look at the server's event log, then repeat".to_owned()
            }
            Meaning::TicketInvalid => {
                "repeat: a new ticket is fetched; if it stays, compare the servers' clocks".to_owned()
            }
            Meaning::OauthInvalid => "sign in with NTLM or a PIN: this program uses no OAuth".to_owned(),
            Meaning::OtherSipAddress | Meaning::EntityMismatch => {
                with("check that --user is the SIP address of the account that signs in", commands::show_user)
            }
            Meaning::PinWrong => with(
                "check number and PIN with the user, for further wrong tries lock the PIN; the administrator sees its state with",
                commands::pin_state,
            ),
            Meaning::PinLocked => with("have the administrator unlock the user's PIN", commands::unlock_pin),
            Meaning::RequestMalformed => "have the phone make a new signing request".to_owned(),
            Meaning::KeySize => format!(
                "choose another key size, or have the administrator change the allowed key sizes: {}",
                commands::allow_key_sizes(2048, 16384)
            ),
            Meaning::StoreUnavailable => with(
                "wait half a minute and repeat; if it stays, the administrator checks the user's home pool and its database",
                commands::show_user,
            ),
            Meaning::Unknown => {
                "give number, reason, server and ids to the administrator: the server's event log has the rest"
                    .to_owned()
            }
        }
    }
}

impl Meaning {
    /// By the number, where it is public (confirmed or observed) or in the profile, else by the words.
    fn of(said: &Said, profile: &Profile) -> Self {
        let reason = said.reason.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().all(|word| reason.contains(word));
        let code = said.fault_code.as_deref().unwrap_or_default();
        let security =
            ["FailedAuthentication", "FailedCheck", "InvalidSecurity", "InvalidSecurityToken", "MessageExpired"];
        match said.number {
            Some(28000) => Self::NotSipEnabled,
            Some(28001) => Self::InternalWindowsAuth,
            Some(28020 | 28032) => Self::TicketInvalid,
            Some(28055) => Self::OauthInvalid,
            Some(number) if let Some(meaning) = profile.meaning(number) => meaning,
            _ if has(&["store", "unavailable"]) => Self::StoreUnavailable,
            _ if has(&["does not match the sip uri"]) => Self::OtherSipAddress,
            _ if has(&["ticket", "expired"]) || has(&["ticket", "invalid"]) => Self::TicketInvalid,
            None if security.contains(&code) => Self::TicketInvalid,
            Some(_) | None => Self::Unknown,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{number} {}", self.reason)?,
            None => write!(f, "{}", self.reason)?,
        }
        let mut details: Vec<String> = self.server.iter().map(|server| format!("said by {server}")).collect();
        details.extend(self.correlation.iter().map(|it| format!("{} {}", it.header, it.id)));
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join("; ")) }
    }
}

/// The words of a refusal in a body, if it is one.
pub(super) fn reason_of(body: &str) -> Option<String> {
    Some(reading::from_body(body, Profile::lab().error_info())?.reason)
}

/// Fit for a terminal line.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::reading::tests::{ERROR_INFO, FAULT};
    use super::*;

    fn diagnose(answer: &Answer) -> Diagnosis {
        Diagnosis::of(answer, &Profile::lab(), Some(&"alice@contoso.example".parse().unwrap()))
    }

    #[test]
    fn a_fault_an_error_info_and_a_bare_status_are_one_kind_of_diagnosis() {
        let fault = diagnose(&Answer::example(500, &[("X-MS-Server-Fqdn", "fe02")], FAULT));
        assert_eq!((fault.number, fault.route, fault.meaning()), (Some(28020), Route::Fault, Meaning::TicketInvalid));
        assert_eq!(fault.to_string(), "28020 No valid security token. (said by fe02)");
        assert_eq!(fault.fault_code.as_deref(), Some("FailedAuthentication"));
        let info = diagnose(&Answer::example(200, &[], ERROR_INFO));
        assert_eq!((info.route, info.meaning()), (Route::ErrorInfo, Meaning::StoreUnavailable));
        assert_eq!(diagnose(&Answer::example(502, &[], "")).reason, "HTTP 502");
        let page = "<!DOCTYPE html><html><head><TITLE> 502 - Web server\n down </TITLE></head></html>";
        assert_eq!(
            diagnose(&Answer::example(502, &[], page)).reason,
            "HTTP 502 with a web page: 502 - Web server down"
        );
    }

    #[test]
    fn the_header_is_believed_before_the_body_and_the_ids_of_the_servers_logs_are_kept() {
        let headers = [
            ("X-Ms-Diagnostics", "28000;source=\"fe01\";reason=\"User is not SIP enabled.\""),
            ("x-ms-correlation-id", "abc-1"),
            ("request-id", "def"),
        ];
        let said = diagnose(&Answer::example(403, &headers, FAULT));
        let expected = "28000 User is not SIP enabled. (said by fe01; X-MS-Correlation-Id abc-1; request-id def)";
        assert_eq!(said.to_string(), expected);
        assert_eq!((said.route, said.status), (Route::Header, 403));
        let command = "Enable-CsUser -Identity \"alice@contoso.example\" -RegistrarPool <pool> -SipAddress \
                       \"sip:alice@contoso.example\"";
        assert!(said.next_step().ends_with(command), "{}", said.next_step());
    }

    #[test]
    fn an_unknown_number_is_shown_as_given() {
        let unknown = diagnose(&Answer::example(500, &[("x-ms-diagnostics", "28999;reason=\"Something new\"")], ""));
        assert_eq!(unknown.meaning(), Meaning::Unknown);
        assert_eq!(unknown.to_string(), "28999 Something new");
    }

    #[test]
    fn what_is_said_without_a_known_number_is_taken_by_its_words() {
        for (reason, meaning) in [
            ("The user's data store is currently unavailable", Meaning::StoreUnavailable),
            ("The web ticket has expired.", Meaning::TicketInvalid),
            ("The SIP URI in the claim type requirements does not match the SIP URI of x", Meaning::OtherSipAddress),
            ("PIN", Meaning::Unknown),
        ] {
            let header = format!("4711;reason=\"{reason}\"");
            let said = diagnose(&Answer::example(500, &[("x-ms-diagnostics", &header)], ""));
            assert_eq!(said.meaning(), meaning, "{reason}");
        }
    }

    #[test]
    fn a_locked_pin_and_a_refused_key_size_come_with_a_command_to_paste() {
        let step = |number: u32| {
            let header = format!("{number};reason=\"no\"");
            diagnose(&Answer::example(500, &[("x-ms-diagnostics", &header)], "")).next_step()
        };
        assert!(step(99002).ends_with("Unlock-CsClientPin -Identity \"sip:alice@contoso.example\""));
        assert!(step(99001).ends_with("Get-CsClientPinInfo -Identity \"sip:alice@contoso.example\""));
        assert!(step(99004).contains("Set-CsWebServiceConfiguration -Identity Global -MinCSRKeySize 2048"));
    }

    #[test]
    fn a_reason_cannot_paint_the_terminal() {
        assert_eq!(one_line("bad\u{1b}[31m\n  word"), "bad[31m word");
    }
}
