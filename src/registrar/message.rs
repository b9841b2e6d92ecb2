//! SIP messages as bytes (RFC 3261): requests, responses and headers, cut out of a stream by their `Content-Length`.
//!
//! Pure: bytes go in, messages come out. Whoever sends or answers is above it, which is why the lab's registrar uses it too.
//! The limits leave room for a certificate chain in one header line, and none for a peer that never stops.

use std::fmt;

/// Bytes that one header line may have: a TLS flight with its certificates is one, in base64.
pub const MOST_LINE: usize = 64 * 1024;
/// Bytes that a message may have, body included.
pub const MOST_MESSAGE: usize = 256 * 1024;
/// Header lines that a message may have.
pub const MOST_HEADERS: usize = 256;

const VERSION: &str = "SIP/2.0";

/// A SIP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub start: Start,
    /// Its headers, `Content-Length` left out: it is written of the body.
    pub headers: Headers,
    /// What follows the headers.
    pub body: Vec<u8>,
}

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// `REGISTER sip:contoso.example SIP/2.0`
    Request {
        /// `REGISTER`
        method: String,
        /// `sip:contoso.example`
        uri: String,
    },
    /// `SIP/2.0 401 Unauthorized`
    Response {
        /// 100 to 699.
        status: u16,
        /// `Unauthorized`; may be empty.
        reason: String,
    },
}

/// The headers of a message, in their order. Names are compared without case, and the compact forms (`f` for `From`) are
/// written out when they are read. A value never holds a line end or another control character.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

/// Why bytes are no SIP message. After it nothing more can be read of the stream: where the next message begins is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// The first line is neither a request's nor a response's.
    #[error("the line `{line}` begins no SIP message")]
    Start {
        /// The line, shortened.
        line: String,
    },
    /// A header line without a name.
    #[error("`{line}` is no header line")]
    Header {
        /// The line, shortened.
        line: String,
    },
    /// Bytes that are no UTF-8, before the body.
    #[error("its headers are not text")]
    NotText,
    /// A header line without an end in sight.
    #[error("a header line has more than {MOST_LINE} bytes")]
    LongLine,
    /// Headers without an end in sight.
    #[error("it has more than {MOST_HEADERS} header lines")]
    ManyHeaders,
    /// Headers, or headers and body, without an end in sight.
    #[error("it has more than {MOST_MESSAGE} bytes")]
    Long,
    /// The length of the body is no number, or two different ones.
    #[error("its Content-Length `{value}` is not the length of a body")]
    Length {
        /// The value, shortened.
        value: String,
    },
}

impl Message {
    /// A request without headers.
    pub fn request(method: &str, uri: &str) -> Self {
        Self::new(Start::Request { method: one_line(method), uri: one_line(uri) })
    }

    /// A response without headers.
    pub fn response(status: u16, reason: &str) -> Self {
        Self::new(Start::Response { status, reason: one_line(reason) })
    }

    fn new(start: Start) -> Self {
        Self { start, headers: Headers::default(), body: Vec::new() }
    }

    /// The same message with one header more, below those it has.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The status, if it is a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The method, if it is a request.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Number and method of `CSeq`.
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once([' ', '\t'])?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// As it goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n{}Content-Length: {}\r\n\r\n", self.start, self.headers, self.body.len());
        bytes.reserve(self.body.len());
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Headers {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header, in their order, a line each.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All of them: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds a header at the end. Control characters in the value become blanks.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push((one_line(name), one_line(value)));
    }

    /// Takes all headers of a name away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, uri } => write!(f, "{method} {uri} {VERSION}"),
            Self::Response { status, reason } => write!(f, "{VERSION} {status} {reason}"),
        }
    }
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| write!(f, "{name}: {value}\r\n"))
    }
}

/// Cuts messages out of a stream.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Before here no header ends: a slow peer is not searched from the start each time.
    searched: usize,
}

impl Framer {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what arrived, in any pieces.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the stream may end here: nothing but line ends is left over.
    pub fn is_between_messages(&self) -> bool {
        self.buffer.iter().all(|b| matches!(b, b'\r' | b'\n'))
    }

    /// The next whole message; `None` until the rest of it has arrived. Line ends before a message are keep-alives, and
    /// skipped (RFC 3261, section 7.5).
    pub fn next_message(&mut self) -> Result<Option<Message>, BadMessage> {
        let blank = self.buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if blank > 0 {
            self.buffer.drain(..blank);
            self.searched = 0;
        }
        let Some((head, body)) = self.end_of_head() else {
            return self.within_limits().map(|()| None);
        };
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(|_| BadMessage::NotText)?;
        let (start, mut headers) = read_head(text)?;
        let length = content_length(&headers)?;
        let end = body.checked_add(length).filter(|end| *end <= MOST_MESSAGE).ok_or(BadMessage::Long)?;
        let Some(content) = self.buffer.get(body..end) else { return Ok(None) };
        let content = content.to_vec();
        headers.remove("Content-Length");
        self.buffer.drain(..end);
        self.searched = 0;
        Ok(Some(Message { start, headers, body: content }))
    }

    /// Where the last header line ends, and where the body begins.
    fn end_of_head(&mut self) -> Option<(usize, usize)> {
        let mut at = self.searched;
        while let Some(found) = self.buffer[at..].iter().position(|b| *b == b'\n') {
            let line_end = at + found;
            let rest = &self.buffer[line_end + 1..];
            if rest.first() == Some(&b'\n') {
                return Some((line_end + 1, line_end + 2));
            }
            if rest.starts_with(b"\r\n") {
                return Some((line_end + 1, line_end + 3));
            }
            if rest.len() < 2 {
                // The empty line may be on its way.
                self.searched = line_end;
                return None;
            }
            at = line_end + 1;
        }
        self.searched = at;
        None
    }

    fn within_limits(&self) -> Result<(), BadMessage> {
        if self.buffer.len() > MOST_MESSAGE {
            return Err(BadMessage::Long);
        }
        let line = self.buffer.rsplit(|b| *b == b'\n').next().map_or(0, <[u8]>::len);
        if line > MOST_LINE { Err(BadMessage::LongLine) } else { Ok(()) }
    }
}

fn read_head(text: &str) -> Result<(Start, Headers), BadMessage> {
    let mut lines = text.lines();
    let start = read_start(lines.next().unwrap_or_default())?;
    let mut headers = Headers::default();
    for line in lines {
        if line.len() > MOST_LINE {
            return Err(BadMessage::LongLine);
        }
        // A folded line goes on with the one before (RFC 3261, section 7.3.1).
        if line.starts_with([' ', '\t'])
            && let Some((_, value)) = headers.0.last_mut()
        {
            if value.len() + line.len() > MOST_LINE {
                return Err(BadMessage::LongLine);
            }
            value.push(' ');
            value.push_str(&one_line(line.trim()));
            continue;
        }
        let bad = || BadMessage::Header { line: shortened(line) };
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name = name.trim_end();
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(bad());
        }
        if headers.0.len() == MOST_HEADERS {
            return Err(BadMessage::ManyHeaders);
        }
        headers.push(written_out(name), value.trim());
    }
    Ok((start, headers))
}

fn read_start(line: &str) -> Result<Start, BadMessage> {
    let bad = || BadMessage::Start { line: shortened(line) };
    if line.len() > MOST_LINE {
        return Err(BadMessage::LongLine);
    }
    let line = line.trim_end();
    let (first, rest) = line.split_once(' ').ok_or_else(bad)?;
    if first.eq_ignore_ascii_case(VERSION) {
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let digits = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
        let status = status.parse().ok().filter(|status| digits && (100..700).contains(status)).ok_or_else(bad)?;
        return Ok(Start::Response { status, reason: one_line(reason.trim()) });
    }
    let (uri, version) = rest.rsplit_once(' ').ok_or_else(bad)?;
    let whole =
        !first.is_empty() && first.chars().all(is_token) && !uri.is_empty() && !uri.contains(char::is_whitespace);
    if !whole || !version.eq_ignore_ascii_case(VERSION) {
        return Err(bad());
    }
    Ok(Start::Request { method: first.to_owned(), uri: one_line(uri) })
}

/// No `Content-Length` is no body: SIP over a stream has to have one, and of an answer that has none nothing else is sure.
fn content_length(headers: &Headers) -> Result<usize, BadMessage> {
    let mut length = None;
    for value in headers.all("Content-Length") {
        let bad = || BadMessage::Length { value: shortened(value) };
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let number: usize = value.parse().ok().filter(|_| digits).ok_or_else(bad)?;
        if length.is_some_and(|length| length != number) {
            return Err(bad());
        }
        length = Some(number);
    }
    Ok(length.unwrap_or(0))
}

/// The compact forms of RFC 3261, section 7.3.3, and of the extensions that have one.
fn written_out(name: &str) -> &str {
    match name.to_ascii_lowercase().as_str() {
        "c" => "Content-Type",
        "e" => "Content-Encoding",
        "f" => "From",
        "i" => "Call-ID",
        "k" => "Supported",
        "l" => "Content-Length",
        "m" => "Contact",
        "o" => "Event",
        "r" => "Refer-To",
        "s" => "Subject",
        "t" => "To",
        "u" => "Allow-Events",
        "v" => "Via",
        "x" => "Session-Expires",
        _ => name,
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c)
}

/// Without control characters, so that nothing ends a line or paints a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What an error shows of a line.
fn shortened(line: &str) -> String {
    one_line(line).chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHALLENGE: &str = "SIP/2.0 401 Unauthorized\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
        WWW-Authenticate: NTLM realm=\"SIP Communications Service\", targetname=\"fe01.contoso.example\", version=4\r\n\
        WWW-Authenticate: TLS-DSK realm=\"SIP Communications Service\", version=4\r\n\
        f: <sip:kenmyer@contoso.example>;tag=1c2d3e4f5a\r\nCSeq: 1 REGISTER\r\nl: 0\r\n\r\n";

    fn read(bytes: &[u8]) -> Result<Option<Message>, BadMessage> {
        let mut framer = Framer::new();
        framer.feed(bytes);
        framer.next_message()
    }

    #[test]
    fn a_challenge_is_read_with_each_of_its_lines_and_compact_names_written_out() {
        let message = read(CHALLENGE.as_bytes()).unwrap().unwrap();
        assert_eq!(message.status(), Some(401));
        assert_eq!(message.headers.all("www-authenticate").count(), 2);
        assert_eq!(message.header("From"), Some("<sip:kenmyer@contoso.example>;tag=1c2d3e4f5a"));
        assert_eq!(message.cseq(), Some((1, "REGISTER")));
        assert_eq!(message.header("Content-Length"), None);
    }

    #[test]
    fn messages_arrive_in_any_pieces_with_keep_alives_between_them() {
        let two =
            [b"\r\n\r\n", CHALLENGE.as_bytes(), b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc\r\n"]
                .concat();
        for size in [1, 2, 3, 7, 1000] {
            let mut framer = Framer::new();
            let mut found = Vec::new();
            for piece in two.chunks(size) {
                framer.feed(piece);
                while let Some(message) = framer.next_message().unwrap() {
                    found.push(message);
                }
            }
            assert!(framer.is_between_messages());
            assert_eq!(found.len(), 2, "pieces of {size}");
            assert_eq!((found[1].method(), found[1].body.as_slice()), (Some("OPTIONS"), b"abc".as_slice()));
        }
    }

    #[test]
    fn a_folded_line_and_bare_line_feeds_are_read() {
        let message =
            read(b"REGISTER sip:a SIP/2.0\nSubject: one\n  two\n\tthree\nCSeq: 7\tREGISTER\n\n").unwrap().unwrap();
        assert_eq!(message.header("subject"), Some("one two three"));
        assert_eq!(message.cseq(), Some((7, "REGISTER")));
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_line_that_is_wrong() {
        for (bytes, said) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "the line `HTTP/1.1 200 OK` begins no SIP message"),
            ("SIP/2.0 20 OK\r\n\r\n", "the line `SIP/2.0 20 OK` begins no SIP message"),
            ("SIP/2.0 +20 OK\r\n\r\n", "the line `SIP/2.0 +20 OK` begins no SIP message"),
            ("REGISTER sip:a b SIP/2.0\r\n\r\n", "the line `REGISTER sip:a b SIP/2.0` begins no SIP message"),
            ("SIP/2.0 200 OK\r\nno header\r\n\r\n", "`no header` is no header line"),
            ("SIP/2.0 200 OK\r\n folded: first\r\n\r\n", "` folded: first` is no header line"),
            ("SIP/2.0 200 OK\r\nl: -1\r\n\r\n", "its Content-Length `-1` is not the length of a body"),
            ("SIP/2.0 200 OK\r\nl: 1\r\nl: 2\r\n\r\n", "its Content-Length `2` is not the length of a body"),
            ("SIP/2.0 200 OK\r\nl: 300000\r\n\r\n", "it has more than 262144 bytes"),
            ("SIP/2.0 200 OK\r\nl: 18446744073709551615\r\n\r\n", "it has more than 262144 bytes"),
        ] {
            assert_eq!(read(bytes.as_bytes()).unwrap_err().to_string(), said);
        }
        assert_eq!(read(b"SIP/2.0 200 \xff\r\n\r\n"), Err(BadMessage::NotText));
    }

    #[test]
    fn a_certificate_chain_fits_a_header_and_what_never_ends_is_cut_off() {
        let long = "a".repeat(48 * 1024);
        let message = Message::request("REGISTER", "sip:a").with("Authorization", &long);
        assert_eq!(read(&message.to_bytes()).unwrap().unwrap().header("authorization"), Some(long.as_str()));
        let endless = format!("SIP/2.0 200 OK\r\nX: {}", "a".repeat(MOST_LINE));
        assert_eq!(read(endless.as_bytes()), Err(BadMessage::LongLine));
        assert_eq!(read(format!("{endless}\r\n\r\n").as_bytes()), Err(BadMessage::LongLine));
        let many = format!("SIP/2.0 200 OK\r\n{}\r\n", "X: a\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(read(many.as_bytes()), Err(BadMessage::ManyHeaders));
        let mut lines = "SIP/2.0 200 OK\r\n".to_owned();
        while lines.len() <= MOST_MESSAGE {
            lines.push_str("X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
        }
        assert_eq!(read(lines.as_bytes()), Err(BadMessage::Long));
    }

    #[test]
    fn no_value_can_end_its_line() {
        let message = Message::response(403, "no\r\nEvil: 1").with("Reason", "a\r\nEvil: 2");
        let read = read(&message.to_bytes()).unwrap().unwrap();
        assert_eq!(read.header("Evil"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_mutated_challenge_is_read_or_refused(at in 0..CHALLENGE.len(), byte in any::<u8>(), cut in 0..CHALLENGE.len()) {
            let mut bytes = CHALLENGE.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = read(&bytes);
            bytes.truncate(cut);
            let _ = read(&bytes);
        }

        #[test]
        fn what_is_written_reads_back(
            method in "[A-Z]{1,10}",
            values in proptest::collection::vec(("[A-Z][A-Za-z-]{2,12}", "[!-~]([ -~]{0,60}[!-~])?"), 0..12),
            body in proptest::collection::vec(any::<u8>(), 0..100),
            size in 1usize..50,
        ) {
            let mut message = Message::request(&method, "sip:contoso.example");
            for (name, value) in &values {
                message = message.with(name, value);
            }
            message.headers.remove("Content-Length");
            message.body = body;
            let mut framer = Framer::new();
            let mut found = None;
            for piece in message.to_bytes().chunks(size) {
                framer.feed(piece);
                found = found.or(framer.next_message().unwrap());
            }
            prop_assert_eq!(found, Some(message));
        }
    }
}
