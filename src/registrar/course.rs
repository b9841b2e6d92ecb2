//! How a registration went: step by step, and what it showed.

use super::challenge::Scheme;
use super::connection::Server;
use super::error::{RegistrarError, Stage};
use super::message::Message;
use crate::tls::{Negotiated, ServerChain};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;

/// From here on a difference of clocks is worth saying, seconds: certificates are judged by them.
pub const SKEW_WORTH_SAYING: i64 = 60;

/// A step that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub stage: Stage,
    /// At which server.
    pub server: Server,
    /// How long it took.
    pub took: Duration,
    /// What it showed, for a person.
    pub said: String,
}

/// Hears of each step as it is passed.
pub type Watch<'a> = &'a mut (dyn FnMut(&Passed) + Send);

/// What a registration showed, as far as it got.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The server that was spoken to last: the user's home, if it went well.
    pub server: Option<Server>,
    /// Where it was led to, each from the one before.
    pub redirects: Vec<Server>,
    /// `Server:` as given: `RTC/6.0`.
    pub kind: Option<String>,
    /// The schemes that are offered.
    pub offered: Vec<String>,
    /// Where certificates are to be had, by the registrar's word.
    pub sts_uri: Option<String>,
    /// What the registrar calls itself.
    pub targetname: Option<String>,
    /// By what the sign-in went.
    pub scheme: Option<Scheme>,
    /// In which version.
    pub version: Option<u32>,
    /// The connection's TLS.
    pub outer: Option<Negotiated>,
    /// The server's certificates on the connection.
    pub chain: Option<ServerChain>,
    /// The TLS inside the headers.
    pub inner: Option<Negotiated>,
    /// What messages are signed with.
    pub method: Option<&'static str>,
    /// How long the registration lasts.
    pub expires: Option<Duration>,
    /// After how long in silence the registrar wants a keep-alive.
    pub keep_alive: Option<Duration>,
    /// The GRUU that was given.
    pub gruu: Option<String>,
    /// Whether that is the one of user and device.
    pub gruu_fits: Option<bool>,
    /// The registrar's clock less this computer's, seconds.
    pub clock_offset_seconds: Option<i64>,
}

impl Facts {
    /// The product behind `Server:`. 4.0 and 7.0 are inferred of those around them.
    pub fn product(&self) -> Option<&'static str> {
        let version = self.kind.as_deref()?.strip_prefix("RTC/")?;
        match version.split(['.', ' ']).next()? {
            "3" => Some("Office Communications Server 2007 R2"),
            "4" => Some("Lync Server 2010"),
            "5" => Some("Lync Server 2013"),
            "6" => Some("Skype for Business Server 2015"),
            "7" => Some("Skype for Business Server 2019"),
            _ => None,
        }
    }

    /// What is to be said about the clocks, if anything is.
    pub fn skew(&self) -> Option<String> {
        let offset = self.clock_offset_seconds.filter(|offset| offset.abs() > SKEW_WORTH_SAYING)?;
        let way = if offset > 0 { "ahead of" } else { "behind" };
        Some(format!("its clock is {} s {way} this computer's", offset.abs()))
    }

    /// What every message may show.
    pub(super) fn hear(&mut self, message: &Message, now: OffsetDateTime) {
        let said = |name| message.header(name).map(|value| value.chars().take(200).collect::<String>());
        self.kind = said("Server").or_else(|| self.kind.take());
        let date = message.header("Date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        self.clock_offset_seconds = date.map(|date| (date - now).whole_seconds()).or(self.clock_offset_seconds);
        self.keep_alive = message.headers.all("ms-keep-alive").find_map(keep_alive).or(self.keep_alive);
    }
}

/// The time of `UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300`.
fn keep_alive(value: &str) -> Option<Duration> {
    let seconds = value.split(';').find_map(|item| {
        let (name, value) = item.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(u64::from(seconds))).filter(|time| !time.is_zero())
}

/// A registration that failed: where, why, and what went well before.
#[derive(Debug)]
pub struct Failure {
    /// The step that it stopped at.
    pub stage: Stage,
    /// The server that it stopped at.
    pub server: Server,
    /// How long that step had taken.
    pub after: Duration,
    /// Why.
    pub error: RegistrarError,
    /// The steps before, of this call.
    pub passed: Vec<Passed>,
    /// What was known by then.
    pub facts: Facts,
}

/// Notes the steps of one call.
pub(super) struct Course<'a> {
    pub(super) facts: Facts,
    pub(super) passed: Vec<Passed>,
    stage: Stage,
    server: Server,
    began: Instant,
    watch: Watch<'a>,
}

impl<'a> Course<'a> {
    pub(super) fn new(server: &Server, facts: Facts, watch: Watch<'a>) -> Self {
        let (server, began) = (server.clone(), Instant::now());
        Self { facts, passed: Vec::new(), stage: Stage::Connect, server, began, watch }
    }

    pub(super) fn begin(&mut self, stage: Stage, server: &Server) {
        (self.stage, self.began) = (stage, Instant::now());
        if self.server != *server {
            self.server = server.clone();
        }
        self.facts.server = Some(self.server.clone());
    }

    pub(super) fn pass(&mut self, said: String) {
        let passed = Passed { stage: self.stage, server: self.server.clone(), took: self.began.elapsed(), said };
        (self.watch)(&passed);
        self.passed.push(passed);
    }

    pub(super) fn failed(self, error: RegistrarError) -> Box<Failure> {
        let Self { facts, passed, stage, server, began, watch: _ } = self;
        Box::new(Failure { stage, server, after: began.elapsed(), error, passed, facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_message_shows_product_clock_and_keep_alive() {
        let mut facts = Facts::default();
        let message = Message::response(200, "OK")
            .with("Server", "RTC/6.0")
            .with("Date", "Sun, 22 Nov 2026 10:01:40 GMT")
            .with("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300");
        facts.hear(&message, datetime!(2026-11-22 10:00 UTC));
        assert_eq!(facts.product(), Some("Skype for Business Server 2015"));
        assert_eq!(facts.skew().as_deref(), Some("its clock is 100 s ahead of this computer's"));
        assert_eq!(facts.keep_alive, Some(Duration::from_secs(300)));
        facts.hear(&Message::response(200, "OK").with("Date", "yesterday"), datetime!(2026-11-22 10:00 UTC));
        assert_eq!((facts.clock_offset_seconds, facts.kind.as_deref()), (Some(100), Some("RTC/6.0")));
        facts.clock_offset_seconds = Some(-60);
        assert_eq!(facts.skew(), None);
    }

    #[test]
    fn an_unknown_product_is_not_guessed() {
        let product = |kind: &str| Facts { kind: Some(kind.into()), ..Facts::default() }.product();
        assert_eq!(
            (product("RTC/9.0"), product("Kamailio"), product("RTC/5.0")),
            (None, None, Some("Lync Server 2013"))
        );
    }
}
