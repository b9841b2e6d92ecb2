//! What the peer answers.

use super::super::signed_text::{SignatureMethod, signed_info, timestamp};
use super::messages::{
    certificate, certprov_metadata, error_info, fault, publish_answer, ticket_answer, web_ticket_metadata,
};
use super::windows::{self, Connection, Step};
use super::{HOST, PASSWORD, PIN};
use aws_lc_rs::signature;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What happens to a request to publish.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Publishing {
    Issue,
    IssueForAnotherKey,
    ErrorInfo(u32),
    Fault(u32),
    HeaderOnly(&'static str),
    Redirect,
    HangUp,
    Garbage,
    BadGateway,
    Endless,
}

/// The service's behaviour.
pub(in super::super) struct Service {
    pub(in super::super) ticket_host: &'static str,
    pub(in super::super) schemes: &'static [&'static str],
    pub(in super::super) publishing: Publishing,
    pub(in super::super) expires: &'static str,
    pub(in super::super) named: &'static str,
    pub(in super::super) pin_offered: bool,
    /// Closes the connection instead of answering the request with this number, from 1.
    pub(in super::super) hang_up_at: Option<usize>,
    pub(in super::super) spnego: Spnego,
    /// What tears handshakes apart, and how many of them.
    pub(in super::super) tears: (Tear, AtomicUsize),
    /// Closes every connection after one answer, except in a handshake.
    pub(in super::super) one_answer_each: bool,
    /// The certificate that is accepted for a ticket.
    pub(in super::super) certificate: Option<Vec<u8>>,
    /// Further headers of every answer.
    pub(in super::super) headers: &'static [(&'static str, &'static str)],
}

impl Default for Service {
    fn default() -> Self {
        Self {
            ticket_host: HOST,
            schemes: &["Negotiate", "NTLM"],
            publishing: Publishing::Issue,
            expires: "2090-11-22T18:00:00.000Z",
            named: "alice@contoso.example",
            pin_offered: true,
            hang_up_at: None,
            spnego: Spnego::Taken,
            tears: (Tear::HangUp, AtomicUsize::new(0)),
            one_answer_each: false,
            certificate: None,
            headers: &[],
        }
    }
}

/// What happens to SPNEGO tokens.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Spnego {
    Taken,
    /// By a plain 401.
    Refused,
    /// By a bare NTLM challenge.
    AnsweredBare,
}

/// What tears a handshake apart.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Tear {
    /// The challenge's answer closes the connection, and says so.
    Close,
    /// The connection is closed instead of judging.
    HangUp,
    /// Another server judges.
    AnotherServer,
    /// The judgement is a new challenge.
    ChallengeAgain,
}

pub(super) type Reply = Result<Response<Full<Bytes>>, &'static str>;

impl Service {
    pub(super) fn answer(&self, connection: &mut Connection, head: &hyper::http::request::Parts, body: &[u8]) -> Reply {
        let body = std::str::from_utf8(body).unwrap();
        let path = head.uri.path();
        if path.ends_with("CertProvisioningService.svc/mex") {
            return reply(200, &[("Set-Cookie", "pin=fe01; path=/")], certprov_metadata(HOST, self.ticket_host));
        }
        if path.ends_with("WebTicketService.svc/mex") {
            let all = web_ticket_metadata(self.ticket_host);
            return reply(200, &[], if self.pin_offered { all } else { all.replace("WebTicketServicePin", "Other") });
        }
        if path.ends_with("/pin") {
            if !body.contains(&format!(">{PIN}<")) || !body.contains("<wsse:Username>12065551219<") {
                return reply(500, &[], fault(99001));
            }
            return reply(200, &[], ticket_answer(self.named, self.expires));
        }
        if path.ends_with("/cert") {
            return match self.certificate.as_deref().is_some_and(|certificate| endorses(body, certificate)) {
                true => reply(200, &[], ticket_answer(self.named, self.expires)),
                false => reply(500, &[], fault(28020)),
            };
        }
        if path.ends_with("WebTicketService.svc") {
            return self.windows(connection, head);
        }
        self.publish(body)
    }

    fn windows(&self, connection: &mut Connection, head: &hyper::http::request::Parts) -> Reply {
        if connection.signed_in {
            return reply(200, &[], ticket_answer(self.named, self.expires));
        }
        let schemes: Vec<_> = self.schemes.iter().map(|scheme| ("WWW-Authenticate", *scheme)).collect();
        let Some(value) = head.headers.get("authorization") else { return reply(401, &schemes, String::new()) };
        let (scheme, token) = value.to_str().unwrap().split_once(' ').unwrap();
        let token = STANDARD.decode(token).unwrap();
        if scheme == "Basic" {
            return match token == format!("CONTOSO\\alice:{PASSWORD}").as_bytes() {
                true => reply(200, &[], ticket_answer(self.named, self.expires)),
                false => reply(401, &schemes, String::new()),
            };
        }
        let bare = token.starts_with(b"NTLMSSP\0");
        if !bare && self.spnego == Spnego::Refused {
            return reply(401, &schemes, String::new());
        }
        let in_handshake = connection.handshake.is_some();
        let tears = |which: Tear| {
            let (tear, times) = &self.tears;
            let one_less = |n: usize| n.checked_sub(1);
            *tear == which && times.fetch_update(SeqCst, SeqCst, one_less).is_ok()
        };
        if in_handshake && tears(Tear::HangUp) {
            return Err("hang up");
        }
        if in_handshake && tears(Tear::AnotherServer) {
            let headers = [schemes.as_slice(), &[("X-MS-Server-Fqdn", "fe02.contoso.example")]].concat();
            return reply(401, &headers, String::new());
        }
        if in_handshake && tears(Tear::ChallengeAgain) {
            connection.handshake = None;
            let begin = windows::ntlm_negotiate();
            let Ok(Step::Challenge(challenge)) = connection.accept(&begin) else { panic!("no challenge") };
            let value = format!("{scheme} {}", STANDARD.encode(challenge));
            return reply(401, &[("WWW-Authenticate", &value)], String::new());
        }
        let token = if !bare && self.spnego == Spnego::AnsweredBare { windows::ntlm_negotiate() } else { token };
        match connection.accept(&token) {
            Ok(Step::Challenge(challenge)) => {
                let value = format!("{scheme} {}", STANDARD.encode(challenge));
                let mut headers =
                    vec![("WWW-Authenticate", value.as_str()), ("X-MS-Server-Fqdn", "fe01.contoso.example")];
                if tears(Tear::Close) {
                    headers.push(("Connection", "close"));
                }
                reply(401, &headers, String::new())
            }
            Ok(Step::Done(last)) => {
                let value = format!("{scheme} {}", STANDARD.encode(&last));
                let headers = [("WWW-Authenticate", value.as_str())];
                reply(200, if last.is_empty() { &[] } else { &headers }, ticket_answer(self.named, self.expires))
            }
            Err(()) => {
                connection.handshake = None;
                reply(401, &schemes, String::new())
            }
        }
    }

    fn publish(&self, body: &str) -> Reply {
        let request = body.split_once("Base64Binary\">").unwrap().1.split_once('<').unwrap().0;
        let request = STANDARD.decode(request.replace("\r\n", "")).unwrap();
        match self.publishing {
            Publishing::Issue => {
                let headers = [("X-MS-Server-Fqdn", "fe02.contoso.example")];
                reply(200, &headers, publish_answer(&certificate(Some(&request))))
            }
            Publishing::IssueForAnotherKey => reply(200, &[], publish_answer(&certificate(None))),
            Publishing::ErrorInfo(number) => reply(200, &[], error_info(number)),
            Publishing::HeaderOnly(value) => reply(500, &[("x-ms-DIAGNOSTICS", value)], String::new()),
            Publishing::Redirect => reply(302, &[("Location", "https://portal.example/login?x=1")], String::new()),
            Publishing::Fault(number) => reply(500, &[], fault(number)),
            Publishing::HangUp => Err("hang up"),
            Publishing::Garbage => reply(200, &[], "<html>".to_owned()),
            Publishing::Endless => reply(200, &[], " ".repeat(2 << 20)),
            Publishing::BadGateway => reply(502, &[], "<html>".to_owned()),
        }
    }
}

/// Whether the message is endorsed by the certificate's key, now.
fn endorses(message: &str, certificate: &[u8]) -> bool {
    let document = roxmltree::Document::parse(message).unwrap();
    let text = |name: &str| {
        let node = document.descendants().find(|node| node.tag_name().name() == name).unwrap();
        node.text().unwrap().to_owned()
    };
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let timestamp = timestamp(&text("Created"), &text("Expires"));
    let signed = signed_info(&timestamp, SignatureMethod::RsaSha256);
    let algorithm = &signature::RSA_PKCS1_2048_8192_SHA256;
    let key = signature::UnparsedPublicKey::new(algorithm, &parsed.public_key().subject_public_key.data);
    let right = key.verify(signed.as_bytes(), &STANDARD.decode(text("SignatureValue")).unwrap()).is_ok();
    right
        && message.contains(&signed)
        && message.contains(&timestamp)
        && text("BinarySecurityToken") == STANDARD.encode(certificate)
        && message.contains("<auth:Value>sip:alice@contoso.example<")
}

fn reply(status: u16, headers: &[(&str, &str)], body: String) -> Reply {
    let mut response = Response::builder().status(status).header("Content-Type", "text/xml; charset=utf-8");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    // An hour ahead of any computer that runs this.
    let date = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let date = date.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
    Ok(response.header("Date", date).body(Full::new(Bytes::from(body))).unwrap())
}
