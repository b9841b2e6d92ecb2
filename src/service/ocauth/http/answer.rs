//! An answer, read whole and within limits.

use super::super::diagnostics::one_line;
use super::super::xml::{BadMessage, MAX_MESSAGE, text_of};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, TRANSFER_ENCODING};
use hyper::{Response, Version};
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// An answer, whole.
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The server's clock less ours, seconds.
    pub(in super::super) clock_offset: Option<i64>,
    /// The server takes no further request on this connection.
    pub(super) closing: bool,
}

impl Answer {
    pub(super) async fn read(response: Response<Incoming>) -> Result<Self, BadMessage> {
        let (head, mut incoming) = response.into_parts();
        let announced = head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                // A body without length ends with the connection, however that ends; XML tells whether it is whole.
                Err(_) if !announced => break,
                Err(error) => return Err(BadMessage::Truncated { problem: one_line(&full_text(&error)) }),
            }
            if body.len() > MAX_MESSAGE {
                return Err(BadMessage::TooLong);
            }
        }
        let now = OffsetDateTime::now_utc();
        let date = head.headers.get(DATE).and_then(|value| OffsetDateTime::parse(value.to_str().ok()?, &Rfc2822).ok());
        let says = |word: &str| {
            let values = head.headers.get_all(CONNECTION);
            let has = |value: &str| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word));
            values.iter().any(|value| value.to_str().is_ok_and(has))
        };
        let closing = says("close") || (head.version == Version::HTTP_10 && !says("keep-alive"));
        let clock_offset = date.map(|date| (date - now).whole_seconds());
        Ok(Self { status: head.status.as_u16(), headers: head.headers, body, clock_offset, closing })
    }

    /// The values of a header; what is not text is made so.
    pub(in super::super) fn headers(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The server that answered, by its own word.
    pub(in super::super) fn server(&self) -> Option<String> {
        self.headers("x-ms-server-fqdn").next().map(|server| one_line(&server)).filter(|server| !server.is_empty())
    }

    /// The body as text.
    pub(in super::super) fn text(&self) -> Result<Cow<'_, str>, BadMessage> {
        let plain = |encoding: &str| encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
        if let Some(encoding) = self.headers(CONTENT_ENCODING.as_str()).find(|encoding| !plain(encoding.trim())) {
            return Err(BadMessage::Encoded { encoding: one_line(&encoding) });
        }
        let kind = self.headers(CONTENT_TYPE.as_str()).next().unwrap_or_default();
        // A web page is told by what it is; in which charset does not matter.
        if kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
            return Ok(String::from_utf8_lossy(&self.body));
        }
        let charset = kind.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then_some(value)
        });
        text_of(&self.body, charset)
    }

    #[cfg(test)]
    pub(in super::super) fn example(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let named = headers.iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, hyper::header::HeaderValue::from_str(value).unwrap())
        });
        let body = body.as_bytes().to_vec();
        Self { status, headers: named.collect(), body, clock_offset: None, closing: false }
    }
}

/// An error with what is under it.
fn full_text(error: &hyper::Error) -> String {
    let below = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{below}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        let date = OffsetDateTime::parse("Sun, 22 Nov 2026 21:09:28 GMT", &Rfc2822).unwrap();
        assert_eq!(date, time::macros::datetime!(2026-11-22 21:09:28 UTC));
    }

    #[test]
    fn the_charset_of_a_web_page_does_not_hide_that_it_is_one_and_a_compressed_body_is_named() {
        let page = Answer::example(200, &[("content-type", "text/html; charset=\"iso-8859-1\"")], "<html>");
        assert!(matches!(page.text().as_deref(), Ok("<html>")));
        let latin = Answer::example(200, &[("content-type", "text/xml; Charset=ISO-8859-1")], "<a/>");
        assert_eq!(latin.text(), Err(BadMessage::Charset { charset: "ISO-8859-1".to_owned() }));
        let packed = Answer::example(200, &[("content-encoding", "gzip")], "<a/>");
        assert_eq!(packed.text(), Err(BadMessage::Encoded { encoding: "gzip".to_owned() }));
    }
}
