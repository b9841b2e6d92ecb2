//! A request as it was read, and what goes back.

use super::front_end::FrontEnd;
use super::record::Request;
use super::soap;
use super::trouble::{Route, Trouble};
use bytes::Bytes;
use hyper::Method;
use time::OffsetDateTime;
use time::macros::format_description;

/// The load balancer's cookie.
pub(super) const AFFINITY: &str = "LabAffinity";

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
}

/// One request, read whole.
pub(super) struct Call {
    pub(super) scheme: Scheme,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) host: String,
    pub(super) action: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) body: String,
}

impl Call {
    /// The SOAPAction without its quotes.
    pub(super) fn action(&self) -> Option<&str> {
        self.action.as_deref().map(|action| action.trim_matches('"'))
    }

    /// The value of the load balancer's cookie.
    pub(super) fn affinity(&self) -> Option<&str> {
        let mut cookies = self.cookie.as_deref()?.split(';');
        cookies.find_map(|cookie| cookie.trim().strip_prefix(AFFINITY)?.strip_prefix('='))
    }
}

/// What goes back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) delay: Option<std::time::Duration>,
    /// The connection is cut after so many bytes of the answer.
    pub(super) cut: Option<u64>,
    trouble: Option<Box<Trouble>>,
}

impl Answer {
    pub(super) fn xml(status: u16, body: String) -> Self {
        let kind = ("content-type", "text/xml; charset=utf-8".to_owned());
        Self { headers: vec![kind], body: body.into(), ..Self::empty(status) }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: None, cut: None, trouble: None }
    }

    /// Tells what is wrong, in the name of this server.
    pub(super) fn told(self, by: FrontEnd) -> Self {
        let Some(trouble) = &self.trouble else { return self };
        let (status, header, body) = trouble.told(by);
        let answer = body.map_or_else(|| Self::empty(status), |body| Self::xml(status, body));
        match header {
            Some(header) => answer.with("x-ms-diagnostics", header),
            None => answer,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// `answer`, with the true reason in the record.
pub(super) fn refuse(entry: &mut Request, why: &str, answer: Answer) -> Answer {
    entry.refusal = Some(why.to_owned());
    answer
}

/// What WCF says about a message that it cannot read.
pub(super) fn malformed(entry: &mut Request, why: &str) -> Answer {
    let fault = soap::plain_fault(soap::SOAP, "Client", "The message could not be processed.");
    refuse(entry, why, Answer::xml(500, fault))
}

/// An error that goes by its own route.
pub(super) fn troubled(trouble: Trouble) -> Answer {
    Answer { trouble: Some(trouble.into()), ..Answer::empty(500) }
}

/// A SOAP fault with diagnostics, in the body and in the header.
pub(super) fn faulted(id: u32, reason: &str) -> Answer {
    let route = Route::SoapFault;
    troubled(Trouble { status: 500, id, reason: reason.to_owned(), route, device_and_entity: None })
}

/// Diagnostics in the header alone, as Windows authentication has them ([MS-OCAUTHWS] 3.2.4.1).
pub(super) fn diagnosed(status: u16, id: u32, reason: &str) -> Answer {
    let route = Route::HeaderNamed;
    troubled(Trouble { status, id, reason: reason.to_owned(), route, device_and_entity: None })
}

/// The form of the `Date` header.
pub(in crate::lab) fn http_date(time: OffsetDateTime) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time.to_offset(time::UtcOffset::UTC).format(&format).expect("a UTC time can be written")
}
