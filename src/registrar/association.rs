//! A security association: from the keys on, every message both ways is signed ([MS-SIPAE] 3.3).

use super::challenge::{Authentication, BadAuthentication, Challenge, Place, Scheme};
use super::keys::{Keys, ReplayWindow};
use super::message::Message;
use super::signature;
use crate::text_form::hex;
use time::{Duration, OffsetDateTime};

/// The longest that an association lasts ([MS-SIPAE] 3.2.2).
const LONGEST: Duration = Duration::hours(8);
/// So much before its end a new one is made.
const MARGIN: Duration = Duration::minutes(5);

/// Keys that both sides have, and what names them.
#[derive(Debug)]
pub struct Association {
    place: Place,
    scheme: Scheme,
    realm: String,
    targetname: String,
    opaque: Option<String>,
    version: u32,
    keys: Box<dyn Keys>,
    /// Messages signed so far.
    signed: u32,
    window: ReplayWindow,
    ends: OffsetDateTime,
}

/// Why a message's signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is none.
    #[error("it is not signed")]
    Missing,
    /// There is one, of another association.
    #[error("it is signed for `{target}`")]
    Foreign {
        /// The `targetname` that it names.
        target: String,
    },
    /// The header or a part of it cannot be read.
    #[error("its signature cannot be read: {0}")]
    Unreadable(BadAuthentication),
    /// `rspauth` is no hexadecimal number, or there is no `snum`.
    #[error("its signature is incomplete: {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// It is not that of the message and the keys.
    #[error("its signature of {bytes} bytes is wrong")]
    Wrong {
        /// How long it is: that tells the hash.
        bytes: usize,
    },
    /// It was right once.
    #[error("it came before: number {number} is used up")]
    Replayed {
        /// Its `snum`.
        number: u32,
    },
}

impl From<BadAuthentication> for SignatureFault {
    fn from(source: BadAuthentication) -> Self {
        Self::Unreadable(source)
    }
}

impl Association {
    /// Of the last challenge of a negotiation that ended well. `credential_ends` is when what it was made with ends.
    pub fn new(
        challenge: &Challenge,
        keys: Box<dyn Keys>,
        now: OffsetDateTime,
        credential_ends: Option<OffsetDateTime>,
    ) -> Self {
        let longest = now.saturating_add(LONGEST);
        let ends = credential_ends.map_or(longest, |ends| ends.min(longest)).saturating_sub(MARGIN);
        Self {
            place: challenge.place,
            scheme: challenge.scheme,
            realm: challenge.realm.clone(),
            targetname: challenge.targetname.clone(),
            opaque: challenge.opaque.clone(),
            version: challenge.version,
            keys,
            signed: 0,
            window: ReplayWindow::default(),
            ends,
        }
    }

    /// Whether a new one has to be made before anything else is sent.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        now >= self.ends
    }

    /// What messages are signed with.
    pub fn method(&self) -> &'static str {
        self.keys.method()
    }

    /// Puts the header in that completes the negotiation; from version 4 on that message is signed already.
    pub fn complete(&mut self, message: &mut Message, data: Option<&[u8]>, random: [u8; 4]) {
        let mut value = self.value();
        if let Some(data) = data {
            value = value.with_data(data);
        }
        value = value.with_bare("version", self.version);
        if self.version > 3 {
            value = self.signed(message, value, random);
        }
        message.headers.push(self.place.credentials_header(), &value.to_string());
    }

    /// Signs a message.
    pub fn sign(&mut self, message: &mut Message, random: [u8; 4]) {
        let value = self.signed(message, self.value(), random);
        message.headers.push(self.place.credentials_header(), &value.to_string());
    }

    /// Whether the server has signed this message, for this association and for the first time. Nothing of a message that
    /// fails counts, and the connection that it came over is not to be used any more ([MS-SIP] 3.1.5.2).
    pub fn verify(&mut self, message: &Message) -> Result<(), SignatureFault> {
        let value = self.find(message)?;
        let signature = value.get("rspauth").ok_or(SignatureFault::Missing)?;
        let signature = unhex(signature).ok_or(SignatureFault::Incomplete { what: "rspauth is not hexadecimal" })?;
        let number = value.number("snum")?.ok_or(SignatureFault::Incomplete { what: "it has no snum" })?;
        let text = signature::text(message, &value, self.version);
        if !self.keys.verify(&text, &signature) {
            return Err(SignatureFault::Wrong { bytes: signature.len() });
        }
        if self.window.take(number) { Ok(()) } else { Err(SignatureFault::Replayed { number }) }
    }

    /// The value that names this association. Servers were seen to use the other place's header than the client did.
    fn find(&self, message: &Message) -> Result<Authentication, SignatureFault> {
        let mut foreign = None;
        for place in [Place::Server, Place::Proxy] {
            for value in Authentication::read_all(&message.headers, place.info_header())? {
                if value.scheme() != Some(self.scheme) {
                    continue;
                }
                let same = |name, own: &String| value.get(name) == Some(own.as_str());
                if same("realm", &self.realm) && same("targetname", &self.targetname) {
                    return Ok(value);
                }
                foreign = value.get("targetname").map(str::to_owned);
            }
        }
        Err(foreign.map_or(SignatureFault::Missing, |target| SignatureFault::Foreign { target }))
    }

    fn value(&self) -> Authentication {
        let mut value = Authentication::new(self.scheme.name()).with("qop", "auth");
        if let Some(opaque) = &self.opaque {
            value = value.with("opaque", opaque);
        }
        value.with("realm", &self.realm).with("targetname", &self.targetname)
    }

    fn signed(&mut self, message: &Message, value: Authentication, random: [u8; 4]) -> Authentication {
        self.signed = self.signed.saturating_add(1);
        let value = value.with("crand", &hex(&random)).with("cnum", &self.signed.to_string());
        let signature = self.keys.sign(&signature::text(message, &value, self.version));
        value.with("response", &hex(&signature))
    }
}

/// What a client sends before there are keys: the last challenge, answered with data.
pub fn negotiating(challenge: &Challenge, data: &[u8]) -> Authentication {
    let mut value = Authentication::new(challenge.scheme.name()).with("qop", "auth");
    if let Some(opaque) = &challenge.opaque {
        value = value.with("opaque", opaque);
    }
    let value = value.with("realm", &challenge.realm).with("targetname", &challenge.targetname);
    value.with_data(data).with_bare("version", challenge.version)
}

/// Either case; the specification says base64, and real servers never do (observed).
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::super::challenge::REALM;
    use super::super::keys::TlsDskKeys;
    use super::super::keys::tests::agreed;
    use super::super::signature::tests::{request, response};
    use super::*;
    use crate::tls::tunnel::SignatureHash;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    fn challenge(version: u32) -> Challenge {
        Challenge {
            place: Place::Server,
            scheme: Scheme::TlsDsk,
            realm: REALM.into(),
            targetname: "fe01.contoso.example".into(),
            version,
            opaque: Some("5F2F9C11".into()),
            sts_uri: None,
            data: None,
        }
    }

    fn keys(material: [u8; 128]) -> Box<dyn Keys> {
        Box::new(TlsDskKeys::of(&agreed(material, SignatureHash::Sha256)))
    }

    /// Both sides: what the client signs with, the server verifies with.
    fn sides(version: u32) -> (Association, Box<dyn Keys>) {
        let mut material = [1; 128];
        material[96..].fill(2);
        let mut turned = [2; 128];
        turned[96..].fill(1);
        (Association::new(&challenge(version), keys(material), NOW, None), keys(turned))
    }

    fn answered(keys: &dyn Keys, number: &str, header: &str) -> Message {
        let (message, value) = response();
        let mut info = Authentication::new("TLS-DSK").with("snum", number);
        for name in ["srand", "targetname", "realm"] {
            info = info.with(name, value.get(name).unwrap());
        }
        let rspauth = hex(&keys.sign(&signature::text(&message, &info, 4))).to_uppercase();
        message.with(header, &info.with("rspauth", &rspauth).to_string())
    }

    #[test]
    fn the_completing_message_is_signed_from_version_four_on_and_all_later_ones_are() {
        for (version, completing, later) in [(4, Some("1"), "2"), (3, None, "1")] {
            let (mut association, mut server) = sides(version);
            let (mut first, _) = request();
            association.complete(&mut first, None, [0xab; 4]);
            let value = Authentication::read(first.header("Authorization").unwrap()).unwrap().remove(0);
            assert_eq!((value.get("cnum"), value.version()), (completing, Ok(version)));
            assert_eq!((value.get("opaque"), value.data()), (Some("5F2F9C11"), Ok(None)));
            let (mut second, _) = request();
            association.sign(&mut second, [0xcd; 4]);
            let value = Authentication::read(second.header("Authorization").unwrap()).unwrap().remove(0);
            assert_eq!(
                (value.get("cnum"), value.get("crand"), value.get("version")),
                (Some(later), Some("cdcdcdcd"), None)
            );
            let signature = unhex(value.get("response").unwrap()).unwrap();
            assert!(server.verify(&signature::text(&second, &value, version), &signature));
        }
    }

    #[test]
    fn a_right_answer_counts_once_in_either_header_and_in_either_case() {
        let (mut association, server) = sides(4);
        for (number, header) in [("1", "Authentication-Info"), ("2", "Proxy-Authentication-Info")] {
            let answer = answered(&*server, number, header);
            assert_eq!(association.verify(&answer), Ok(()));
            let again = SignatureFault::Replayed { number: number.parse().unwrap() };
            assert_eq!(association.verify(&answer), Err(again));
        }
    }

    #[test]
    fn what_is_changed_unsigned_or_of_another_association_does_not_count() {
        let (mut association, server) = sides(4);
        let right = answered(&*server, "1", "Authentication-Info");
        let mut other = right.clone();
        other.headers.remove("Expires");
        other.headers.push("Expires", "6000");
        assert_eq!(association.verify(&other), Err(SignatureFault::Wrong { bytes: 32 }));
        let with = |change: &dyn Fn(String) -> String| {
            let mut message = right.clone();
            let value = message.header("Authentication-Info").unwrap().to_owned();
            message.headers.remove("Authentication-Info");
            message.with("Authentication-Info", &change(value))
        };
        let mut verify = |change: &dyn Fn(String) -> String| association.verify(&with(change)).unwrap_err().to_string();
        assert_eq!(verify(&|value| value.replace("TLS-DSK", "NTLM")), "it is not signed");
        assert_eq!(verify(&|value| value.replace("rspauth", "other")), "it is not signed");
        assert_eq!(verify(&|value| value.replace("fe01", "fe02")), "it is signed for `fe02.contoso.example`");
        assert_eq!(
            verify(&|value| value.replace("rspauth=\"", "rspauth=\"z")),
            "its signature is incomplete: rspauth is not hexadecimal"
        );
        assert_eq!(verify(&|value| value.replace("snum", "num")), "its signature is incomplete: it has no snum");
        assert_eq!(verify(&|value| value.replace("snum=\"1\"", "snum=\"2\"")), "its signature of 32 bytes is wrong");
        assert_eq!(verify(&|value| value + ", snum=\"1\""), "its signature cannot be read: it has `snum` twice");
        assert_eq!(association.verify(&right), Ok(()), "what was wrong used no number up");
    }

    #[test]
    fn it_ends_before_its_certificate_and_after_eight_hours_at_the_latest() {
        let of = |ends| Association::new(&challenge(4), keys([0; 128]), NOW, ends);
        let (long, short) = (of(None), of(Some(NOW + Duration::hours(1))));
        assert!(!long.is_over(NOW + Duration::minutes(474)) && long.is_over(NOW + Duration::minutes(475)));
        assert!(!short.is_over(NOW + Duration::minutes(54)) && short.is_over(NOW + Duration::minutes(55)));
    }

    #[test]
    fn a_challenge_is_answered_with_what_it_said() {
        let value = negotiating(&challenge(4), b"\x16\x03\x01").to_string();
        assert_eq!(
            value,
            "TLS-DSK qop=\"auth\", opaque=\"5F2F9C11\", realm=\"SIP Communications Service\", \
             targetname=\"fe01.contoso.example\", gssapi-data=\"FgMB\", version=4"
        );
    }
}
