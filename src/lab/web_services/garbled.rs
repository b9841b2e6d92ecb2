//! What comes instead of an answer: pages, declarations and bytes that a client must not choke on.

use super::answer::Answer;
use super::faults::Body;
use bytes::Bytes;

/// Puts `body` in the place of the answer's.
pub(super) fn replace(answer: &mut Answer, body: Body) {
    match body {
        Body::Html(status) => {
            answer.status = status;
            answer.body = Bytes::from_static(PAGE.as_bytes());
            content_type(answer, "text/html; charset=utf-8");
        }
        Body::Dtd => answer.body = declared("<!DOCTYPE x SYSTEM \"http://127.0.0.1:9/x.dtd\">", &answer.body),
        Body::EntityBomb => answer.body = bomb().into(),
        Body::Utf16 => {
            let text = String::from_utf8_lossy(&answer.body).replace("encoding=\"utf-8\"", "encoding=\"utf-16\"");
            answer.body = text.into();
            content_type(answer, "text/xml; charset=utf-16");
        }
        Body::Latin1 => {
            let mut bytes = answer.body.to_vec();
            bytes.extend_from_slice(b"<!-- Gr\xfc\xdfe -->");
            answer.body = bytes.into();
            content_type(answer, "text/xml");
        }
    }
}

const PAGE: &str = "<!DOCTYPE html><html><head><title>Web Services</title></head><body><h1>The page cannot be \
                    displayed</h1><p>LAB: a page for people, where a program asked.</body></html>";

fn content_type(answer: &mut Answer, value: &str) {
    answer.headers.retain(|(name, _)| *name != "content-type");
    answer.headers.push(("content-type", value.to_owned()));
}

/// `body` with `declaration` before its root element.
fn declared(declaration: &str, body: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let root = text.find("?>").map_or(0, |at| at + 2);
    let (head, rest) = text.split_at(root);
    format!("{head}{declaration}{rest}").into()
}

/// Ten levels of ten: a few hundred bytes that say ten gigabytes.
fn bomb() -> String {
    let levels: String =
        (1..10).map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10))).collect();
    format!("<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e0 \"0123456789\">{levels}]><x>&e9;</x>")
}
