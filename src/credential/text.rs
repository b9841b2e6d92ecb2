//! Names from certificates as text that is safe on a terminal line.

use std::fmt::Write as _;

use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::oid_registry as oid;
use x509_parser::x509::X509Name;

/// `text` with every character escaped that could end the line, hide or reorder it: controls, marks of writing direction,
/// characters without width.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A distinguished name for a person: the common names first, then the rest in its own order, `CN=Alice, O=Contoso`.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let (mut text, mut rest) = (Vec::new(), Vec::new());
    for attribute in name.iter_attributes() {
        let kind = attribute.attr_type();
        let value = escaped(&string(attribute.attr_value()));
        let label = label(kind).map_or_else(|| kind.to_id_string(), str::to_owned);
        let list = if *kind == oid::OID_X509_COMMON_NAME { &mut text } else { &mut rest };
        list.push(format!("{label}={value}"));
    }
    text.append(&mut rest);
    text.join(", ")
}

/// The first common name, as the certificate has it (not made safe to print).
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next().map(|attribute| string(attribute.attr_value()))
}

/// The common names and the organisational units of a name's DER, in its order.
pub(super) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, name)) = X509Name::from_der(der) else { return Vec::new() };
    let counts = |kind| kind == oid::OID_X509_COMMON_NAME || kind == oid::OID_X509_ORGANIZATIONAL_UNIT;
    let values = name.iter_attributes().filter(|attribute| counts(attribute.attr_type().clone()));
    values.map(|attribute| string(attribute.attr_value())).collect()
}

fn label(kind: &x509_parser::asn1_rs::Oid<'_>) -> Option<&'static str> {
    [
        (oid::OID_X509_COMMON_NAME, "CN"),
        (oid::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (oid::OID_X509_ORGANIZATION_NAME, "O"),
        (oid::OID_X509_LOCALITY_NAME, "L"),
        (oid::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (oid::OID_X509_COUNTRY_NAME, "C"),
        (oid::OID_DOMAIN_COMPONENT, "DC"),
        (oid::OID_PKCS9_EMAIL_ADDRESS, "E"),
        (oid::OID_X509_SERIALNUMBER, "SERIALNUMBER"),
    ]
    .into_iter()
    .find_map(|(known, label)| (known == *kind).then_some(label))
}

/// The value of any string type of X.509; bytes that are none of these become `#` and hexadecimal digits.
fn string(value: &Any<'_>) -> String {
    let bytes = value.data;
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().ok()
        }
        _ => None,
    };
    text.unwrap_or_else(|| bytes.iter().fold(String::from("#"), |text, byte| text + &format!("{byte:02x}")))
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    printable(&text)
}

/// `2026-11-22 10:00 UTC`.
pub(super) fn moment(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(printable("a\r\nb\u{1b}[2J\u{202e}c"), "a\\u{d}\\u{a}b\\u{1b}[2J\\u{202e}c");
        assert_eq!(escaped("Contoso, Ltd"), "Contoso\\, Ltd");
    }

    proptest! {
        #[test]
        fn whatever_a_name_holds_its_text_is_one_visible_line(text in any::<String>()) {
            let safe = printable(&text);
            prop_assert!(!safe.chars().any(|c| c.is_control() || is_invisible(c)));
        }
    }
}
