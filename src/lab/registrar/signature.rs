//! What is signed of a SIP message, and with what ([MS-SIPAE] section 3.2.5.2; [MS-SIP] section 3.1.4.2).
//!
//! Written from the specification for the lab alone: the program's client has code of its own, so that a mistake of one is
//! not the other's too.

use aws_lc_rs::{constant_time, hmac};
use std::fmt::Write;

/// The hash of the HMAC: by the cipher suite of the tunnelled handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// Suites that end in `_SHA`.
    Sha1,
    /// Suites that end in `_SHA256`.
    Sha256,
    /// Suites that end in `_SHA384`.
    Sha384,
}

impl Hash {
    /// By the end of the suite's name. For the AEAD suites this is the hash of their PRF, as Schannel reports it (inferred, and
    /// seen in the length of published signatures for SHA-384).
    pub(super) fn of_suite(name: &str) -> Self {
        match name.rsplit('_').next() {
            Some("SHA384") => Self::Sha384,
            Some("SHA256") => Self::Sha256,
            _ => Self::Sha1,
        }
    }

    pub(super) fn sign(self, key: &[u8], text: &str) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text.as_bytes()).as_ref().to_vec()
    }
}

/// The values that are signed, each as it stands in the message.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'a> {
    pub(super) scheme: &'a str,
    /// `crand` of a request, `srand` of an answer.
    pub(super) random: &'a str,
    /// `cnum` of a request, `snum` of an answer.
    pub(super) number: &'a str,
    pub(super) realm: &'a str,
    pub(super) target: &'a str,
    pub(super) call_id: &'a str,
    pub(super) sequence: &'a str,
    pub(super) method: &'a str,
    pub(super) from: Party<'a>,
    pub(super) to: Party<'a>,
    /// P-Asserted-Identity, the SIP and the tel URI.
    pub(super) asserted: (&'a str, &'a str),
    pub(super) expires: &'a str,
    /// Of an answer.
    pub(super) status: Option<u16>,
}

/// URI and tag of a From or To.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Party<'a> {
    pub(super) uri: &'a str,
    pub(super) tag: &'a str,
    pub(super) epid: &'a str,
}

impl Fields<'_> {
    /// The text that is signed, for protocol versions 3 and 4.
    pub(super) fn text(&self) -> String {
        let (sip, tel) = self.asserted;
        let fields = [
            self.scheme,
            self.random,
            self.number,
            self.realm,
            self.target,
            self.call_id,
            self.sequence,
            self.method,
            self.from.uri,
            self.from.tag,
            self.to.uri,
            self.to.tag,
            sip,
            tel,
            self.expires,
        ];
        let mut text: String = fields.iter().flat_map(|field| ["<", field, ">"]).collect();
        if let Some(status) = self.status {
            let _ = write!(text, "<{status}>");
        }
        text
    }
}

impl<'a> Party<'a> {
    /// Reads a header value: `"Ken" <sip:ken@contoso.example>;tag=1;epid=2`, or without brackets.
    pub(super) fn read(value: &'a str) -> Self {
        let (uri, parameters) = match bracketed(value) {
            Some(split) => split,
            None => value.split_once(';').unwrap_or((value, "")),
        };
        let parameter = |name: &str| {
            let mut all = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
            let found = all.find(|(own, _)| own.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim()).unwrap_or_default()
        };
        Self { uri: uri.trim(), tag: parameter("tag"), epid: parameter("epid") }
    }
}

/// The SIP and the tel URI among P-Asserted-Identity values (RFC 3325 section 9.1: at most one of each).
pub(super) fn asserted<'a>(values: impl Iterator<Item = &'a str>) -> (&'a str, &'a str) {
    let (mut sip, mut tel) = ("", "");
    for value in values {
        let mut rest = value;
        while let Some((uri, behind)) = bracketed(rest) {
            match uri.get(..4).map(str::to_ascii_lowercase).as_deref() {
                Some("tel:") => tel = uri,
                _ => sip = uri,
            }
            rest = behind;
        }
        if rest == value {
            match value.trim().get(..4).map(str::to_ascii_lowercase).as_deref() {
                Some("tel:") => tel = value.trim(),
                _ => sip = value.trim(),
            }
        }
    }
    (sip, tel)
}

/// What is between the first angle brackets outside of quotes, and what is behind them.
fn bracketed(value: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return value[at + 1..].split_once('>'),
            _ => {}
        }
    }
    None
}

/// Upper-case hexadecimal, as servers write it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Whether hexadecimal of either case says these bytes; in constant time for what is of the right length.
pub(super) fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    let pairs = text.as_bytes().chunks(2);
    let given: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|it| it.len() == 2)?, 16).ok())
        .collect();
    given.is_some_and(|given| constant_time::verify_slices_are_equal(&given, bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The request of the reference vectors: what a REGISTER of Ken's is signed by.
    fn request() -> Fields<'static> {
        let ken = "<sip:kenmyer@contoso.example>;tag=1c2d3e4f5a;epid=c8ca638a15";
        Fields {
            scheme: "TLS-DSK",
            random: "0000abcd",
            number: "1",
            realm: "SIP Communications Service",
            target: "fe01.contoso.example",
            call_id: "5a3f0c1d2e4b4a6c8d7e9f0011223344",
            sequence: "5",
            method: "REGISTER",
            from: Party::read(ken),
            to: Party::read("<sip:kenmyer@contoso.example>"),
            ..Fields::default()
        }
    }

    fn answer() -> Fields<'static> {
        Fields {
            random: "1A2B3C4D",
            to: Party::read("<sip:kenmyer@contoso.example>;tag=9F8E7D6C5B4A39281706F5E4D3C2B1A0"),
            expires: "600",
            status: Some(200),
            ..request()
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_signed_text_of_a_request_and_of_its_answer_is_the_published_one() {
        assert_eq!(
            request().text(),
            "<TLS-DSK><0000abcd><1><SIP Communications Service><fe01.contoso.example><5a3f0c1d2e4b4a6c8d7e9f0011223344>\
             <5><REGISTER><sip:kenmyer@contoso.example><1c2d3e4f5a><sip:kenmyer@contoso.example><><><><>"
        );
        assert_eq!(request().text().len(), 197);
        assert_eq!(
            answer().text(),
            "<TLS-DSK><1A2B3C4D><1><SIP Communications Service><fe01.contoso.example><5a3f0c1d2e4b4a6c8d7e9f0011223344>\
             <5><REGISTER><sip:kenmyer@contoso.example><1c2d3e4f5a><sip:kenmyer@contoso.example>\
             <9F8E7D6C5B4A39281706F5E4D3C2B1A0><><><600><200>"
        );
        assert_eq!(answer().text().len(), 237);
    }

    #[test]
    fn every_hash_signs_the_vectors_as_two_other_libraries_did() {
        // The keys follow from one master secret by the PRF of TLS 1.0, of TLS 1.2 with SHA-256, and with SHA-384.
        let vectors = [
            (
                Hash::Sha1,
                "8d56bdf4498cf0ed4542cbbad85b6fef6387449ed68e539712afa7bee6f1966e",
                "06c188da82bf3484e4935a5aeb575e1b0ce6f002",
                "edf3871fed72cc8789dffeaf960cba247bc7cf48a0c923ff36ba9852364b1ecf",
                "b073be9fc4ce8d4dd9a18e57ddf26e84fd9bd02c",
            ),
            (
                Hash::Sha256,
                "8f070e439c501711910ae56deecfa90cf71d676ebc760fecb2b2e2a2f2909ded",
                "3194693c2e41c16cd58fd94f8a2ce89829aae027077f8345cdc0af033f538581",
                "da6e2de8b55c6be15f93d29d655239672781c4e5dff36107d1122316d3e3428d",
                "e5997ad8de2052ec3f77b149b26f665aa0dec8489c236c990bfbb2bb2bb79005",
            ),
            (
                Hash::Sha384,
                "803398ae8d27698650eb0c6bbaf2aa2179807850db2da5e70d0ef4cb6e3e90a3",
                "2e3b5f0b4d76c4cadfb9f4e1c784f7e40a633270d2942fd4d518357d15f96861b26ed9f79d53a1d1eb0c0d416542496e",
                "bfa90677dff725cccd73cbff62b148169b7f635f558135f14e86e2ad67eddb69",
                "ec6022e4c39aed4e439231c6a2772d6e377ed3b5875c973d604e81bd08736abc5842d7d9ee869370571eaf0f4cd89939",
            ),
        ];
        for (hash, client, request_signature, server, answer_signature) in vectors {
            let signature = hash.sign(&bytes(client), &request().text());
            assert!(is_hex_of(request_signature, &signature), "{hash:?}");
            assert!(is_hex_of(&request_signature.to_uppercase(), &signature), "{hash:?}");
            assert_eq!(hex(&hash.sign(&bytes(server), &answer().text())), answer_signature.to_uppercase());
        }
    }

    #[test]
    fn the_hash_is_the_one_that_the_cipher_suite_names() {
        for (suite, hash) in [
            ("TLS_RSA_WITH_AES_128_CBC_SHA", Hash::Sha1),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Hash::Sha256),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Hash::Sha256),
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Hash::Sha384),
        ] {
            assert_eq!(Hash::of_suite(suite), hash);
        }
    }

    #[test]
    fn a_party_is_read_with_and_without_brackets_and_names() {
        let plain = Party { uri: "sip:a@b", tag: "1", epid: "2" };
        for written in [
            "<sip:a@b>;tag=1;epid=2",
            "sip:a@b;tag=1;epid=2",
            "\"A; <sip:x@y>\" <sip:a@b> ; TAG=1;epid=2",
            r#""A \" <" <sip:a@b>;epid=2;tag=1"#,
        ] {
            assert_eq!(Party::read(written), plain, "{written}");
        }
        assert_eq!(Party::read("<sip:a@b;opaque=x;gruu>").uri, "sip:a@b;opaque=x;gruu");
    }

    #[test]
    fn asserted_identities_are_told_apart_by_their_kind() {
        let both = "\"Ken\" <sip:k@c.example>, <tel:+1206>";
        assert_eq!(asserted([both].into_iter()), ("sip:k@c.example", "tel:+1206"));
        assert_eq!(asserted(["<tel:+1>", "sip:k@c"].into_iter()), ("sip:k@c", "tel:+1"));
        assert_eq!(asserted([].into_iter()), ("", ""));
    }

    #[test]
    fn what_is_no_hexadecimal_is_no_signature() {
        for wrong in ["", "0", "0g", "01 ", "012", "0\u{e9}"] {
            assert!(!is_hex_of(wrong, &[1]), "{wrong}");
        }
        assert!(is_hex_of("0aB1", &[0x0a, 0xb1]));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(value in "[ -~\u{e4}]{0,60}") {
            Party::read(&value);
            asserted([value.as_str()].into_iter());
            is_hex_of(&value, &[1, 2]);
        }
    }
}
