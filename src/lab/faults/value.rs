//! What may stand behind a fault's `=`.

use super::super::web_services::Kind;
use std::time::Duration;

/// How often "always" is.
const ALWAYS: u32 = u32::MAX;

/// What value a fault takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// How often; always where nothing is said.
    Times,
    /// How often, or how likely in percent; always where nothing is said.
    TimesOrPercent,
    /// Seconds, either sign.
    Seconds,
    /// A number, with a default.
    Number(i64),
    /// A number that has to be said.
    Counted,
    /// A kind of request.
    Request,
    /// A kind of request, and how often.
    RequestTimes,
    /// A kind of request, and milliseconds.
    RequestMilliseconds,
    /// A kind of request, the number of a byte, and how often.
    RequestByte,
    /// A kind of request, and an HTTP status.
    RequestStatus,
    /// One of these words.
    Word(&'static [&'static str], &'static str),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Value {
    text: Option<String>,
    kind: Option<Kind>,
    number: Option<i64>,
    percent: bool,
    times: Option<u32>,
}

/// The words for kinds of requests.
const KINDS: [(&str, Kind); 8] = [
    ("metadata", Kind::Metadata),
    ("ticket", Kind::Ticket),
    ("publish", Kind::Publish),
    ("chains", Kind::RootChains),
    ("ntlm", Kind::NtlmTicket),
    ("pin", Kind::PinTicket),
    ("cert", Kind::CertificateTicket),
    ("wsdl", Kind::Wsdl),
];

impl Takes {
    /// For people.
    pub(super) const fn shape(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Times => "[=N]",
            Self::TimesOrPercent => "[=N|P%]",
            Self::Seconds => "=SECONDS",
            Self::Number(_) => "[=N]",
            Self::Counted => "=N",
            Self::Request => "=REQUEST",
            Self::RequestTimes => "=REQUEST[:N]",
            Self::RequestMilliseconds => "=REQUEST:MS",
            Self::RequestByte => "=REQUEST:BYTE[:N]",
            Self::RequestStatus => "=REQUEST[:STATUS]",
            Self::Word(_, shape) => shape,
        }
    }

    /// `None`: the text does not fit.
    pub(super) fn read(self, text: Option<&str>) -> Option<Value> {
        let mut value = Value { text: text.map(str::to_owned), ..Value::default() };
        match (self, text) {
            (Self::Nothing, None) | (Self::Times | Self::TimesOrPercent, None) => {}
            (Self::Nothing, Some(_)) => return None,
            (Self::Times, Some(text)) => value.times = Some(text.parse().ok()?),
            (Self::TimesOrPercent, Some(text)) => match text.strip_suffix('%') {
                None => value.times = Some(text.parse().ok()?),
                Some(percent) => {
                    value.number = Some(percent.parse().ok().filter(|percent| (0..=100).contains(percent))?);
                    value.percent = true;
                }
            },
            (Self::Number(default), None) => value.number = Some(default),
            (Self::Seconds, Some(text)) => value.number = Some(text.parse().ok()?),
            (Self::Number(_) | Self::Counted, Some(text)) => {
                value.number = Some(text.parse().ok().filter(|number| *number >= 0)?);
            }
            (Self::Word(words, _), Some(text)) => drop(words.iter().find(|word| **word == text)?),
            (_, Some(text)) => self.request(text, &mut value)?,
            (_, None) => return None,
        }
        Some(value)
    }

    /// `REQUEST`, `REQUEST:NUMBER` or `REQUEST:NUMBER:TIMES`.
    fn request(self, text: &str, value: &mut Value) -> Option<()> {
        let mut parts = text.split(':');
        let kind = parts.next()?;
        value.kind = Some(KINDS.iter().find(|(word, _)| *word == kind)?.1);
        let number = |part: Option<&str>| part.map(|part| part.parse::<u32>()).transpose().ok();
        let first = number(parts.next())?;
        let second = number(parts.next())?;
        match self {
            Self::Request if first.is_none() => {}
            Self::RequestTimes => value.times = first,
            Self::RequestMilliseconds => value.number = Some(first?.into()),
            Self::RequestByte => (value.number, value.times) = (Some(first?.into()), second),
            Self::RequestStatus => value.number = first.filter(|status| (200..=599).contains(status)).map(i64::from),
            _ => return None,
        }
        let fits = match self {
            Self::RequestByte => true,
            Self::RequestStatus => second.is_none() && value.number.is_some() == first.is_some(),
            _ => second.is_none(),
        };
        (fits && parts.next().is_none()).then_some(())
    }
}

impl Value {
    /// As it was written.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// How often; always where nothing was said.
    pub(super) fn times(&self) -> u32 {
        self.times.unwrap_or(ALWAYS)
    }

    /// The likelihood, where one was given.
    pub(super) fn percent(&self) -> Option<u8> {
        self.number.filter(|_| self.percent).and_then(|percent| percent.try_into().ok())
    }

    /// The kind of request: for a fault that takes one.
    pub(super) fn kind(&self) -> Kind {
        self.kind.expect("a fault of a kind of request was read with one")
    }

    /// The number, 0 where none was said.
    pub(super) fn number(&self) -> i64 {
        self.number.unwrap_or(0)
    }

    /// The number as a count.
    pub(super) fn count(&self) -> u64 {
        self.number().unsigned_abs()
    }

    pub(super) fn milliseconds(&self) -> Duration {
        Duration::from_millis(self.count())
    }

    /// The number as an HTTP status.
    pub(super) fn status(&self, default: u16) -> u16 {
        self.number.and_then(|status| status.try_into().ok()).unwrap_or(default)
    }

    /// The word: for a fault that takes one.
    pub(super) fn word(&self) -> &str {
        self.text().unwrap_or_default()
    }
}
