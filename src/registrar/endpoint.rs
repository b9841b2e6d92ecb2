//! Who registers: a user at a device, and the REGISTER that says so ([MS-SIP] 3.1, [MS-SIPAE] 3.3.5.2).
//!
//! An endpoint is known by three things that belong together: `epid` in From, the UUID in `+sip.instance`, and the GRUU that
//! the registrar makes of that UUID.

use super::message::Message;
use super::name_address::NameAddress;
use crate::credential::SipAddress;
use crate::text_form::hex;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::net::SocketAddr;
use uuid::Uuid;

/// What clients of Microsoft hash with an `epid` to have a UUID (confirmed for Communicator 2007 R2).
const NAMESPACE: Uuid = Uuid::from_u128(0xfcacfb03_8a73_46ef_91b1_e5ebeeaba4fe);

/// The name under which a client says that it is this program. Servers decide about client versions by it.
const AGENT: &str = concat!("tethercert/", env!("CARGO_PKG_VERSION"));

/// What clients of the era put in (confirmed); a registrar may go by it.
const METHODS: &str = "INVITE, MESSAGE, INFO, SUBSCRIBE, OPTIONS, BYE, CANCEL, NOTIFY, ACK, REFER, BENOTIFY";

/// A user at a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The user.
    pub user: SipAddress,
    /// The device: the UUID that its certificate was published for.
    pub device: Uuid,
    /// The same in short, lower-case hexadecimal.
    pub epid: String,
    /// What it calls itself.
    pub agent: String,
}

/// One registration: what all of its REGISTERs share.
#[derive(Debug)]
pub(super) struct Dialogue {
    call_id: String,
    from_tag: String,
    ms_opaque: String,
    sequence: u32,
}

/// How long a REGISTER wants the registration to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// As long as the registrar likes.
    Usual,
    /// It ends.
    Over,
}

impl Endpoint {
    /// A device that is known by its UUID: a phone's. Its `epid` is made of that, since nobody can reckon back to it.
    pub fn of_device(user: SipAddress, device: Uuid) -> Self {
        let epid = hex(&device.as_bytes()[10..]);
        Self { user, device, epid, agent: AGENT.to_owned() }
    }

    /// A device that is known by its `epid`, as clients on computers are.
    pub fn of_epid(user: SipAddress, epid: &str) -> Self {
        Self { user, device: device_of(epid), epid: epid.to_owned(), agent: AGENT.to_owned() }
    }

    /// The GRUU that the registrar should give it.
    pub fn gruu(&self) -> String {
        let mut bytes = self.device.to_bytes_le().to_vec();
        bytes.extend([0, 0]);
        format!("{};opaque=user:epid:{};gruu", self.user.uri(), BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The GRUU that an answer gives this endpoint, if it gives it one.
    pub fn gruu_in(&self, answer: &Message) -> Option<String> {
        let instance = format!("<urn:uuid:{}>", self.device);
        let contacts = answer.headers.all("Contact").flat_map(NameAddress::read_all);
        contacts
            .filter(|contact| contact.get("+sip.instance").is_some_and(|it| it.eq_ignore_ascii_case(&instance)))
            .find_map(|contact| contact.get("gruu").map(str::to_owned))
    }

    /// A REGISTER without credentials. `local` is where the answer comes to; a server goes by the connection.
    pub(super) fn register(
        &self,
        dialogue: &mut Dialogue,
        local: SocketAddr,
        branch: [u8; 10],
        lasting: Lasting,
    ) -> Message {
        dialogue.sequence = dialogue.sequence.saturating_add(1);
        let Self { user, device, epid, agent } = self;
        let Dialogue { call_id, from_tag, ms_opaque, sequence } = dialogue;
        let uri = user.uri();
        let mut message = Message::request("REGISTER", &format!("sip:{}", user.domain()))
            .with("Via", &format!("SIP/2.0/TLS {local};branch=z9hG4bK{}", hex(&branch)))
            .with("From", &NameAddress::new(&uri).with("tag", from_tag).with("epid", epid).to_string())
            .with("To", &NameAddress::new(&uri).to_string())
            .with("Max-Forwards", "70")
            .with("CSeq", &format!("{sequence} REGISTER"))
            .with("User-Agent", agent)
            .with("Call-ID", call_id)
            .with(
                "Contact",
                &format!(
                    "<sip:{local};transport=tls;ms-opaque={ms_opaque}>;methods=\"{METHODS}\";proxy=replace;\
                     +sip.instance=\"<urn:uuid:{device}>\""
                ),
            )
            .with("Supported", "gruu-10, adhoclist, msrtc-event-categories, com.microsoft.msrtc.presence")
            .with("Event", "registration")
            .with("Allow-Events", "presence")
            .with("ms-keep-alive", "UAC;hop-hop=yes");
        // Only the end is said: how long a registration lasts is the registrar's to say.
        if lasting == Lasting::Over {
            message = message.with("Expires", "0");
        }
        message
    }
}

impl Dialogue {
    pub(super) fn new(random: [u8; 26]) -> Self {
        let (call_id, rest) = random.split_at(16);
        Self { call_id: hex(call_id), from_tag: hex(&rest[..5]), ms_opaque: hex(&rest[5..]), sequence: 0 }
    }

    /// Whether a message is an answer to the newest request.
    pub(super) fn is_answered_by(&self, message: &Message) -> bool {
        message.status().is_some()
            && message.header("Call-ID") == Some(self.call_id.as_str())
            && message.cseq().is_some_and(|(number, method)| number == self.sequence && method == "REGISTER")
    }
}

/// The UUID of an `epid`: version 5, over bytes in the order in which Windows keeps them.
fn device_of(epid: &str) -> Uuid {
    let text = [NAMESPACE.to_bytes_le().as_slice(), epid.as_bytes()].concat();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_sha1_bytes(*Uuid::from_bytes_le(first).as_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ken(epid: &str) -> Endpoint {
        Endpoint::of_epid("kenmyer@contoso.example".parse().unwrap(), epid)
    }

    #[test]
    fn the_uuid_of_an_epid_is_the_one_of_real_clients() {
        for (epid, device) in [
            ("01010101", "4b1682a8-f968-5701-83fc-7c6741dc6697"),
            ("c8ca638a15", "34d859db-6585-5f91-a3b4-de853c15347d"),
            ("0123456789ab", "8ca50061-9276-524f-a9b4-14011a2c5105"),
        ] {
            assert_eq!(ken(epid).device.to_string(), device);
        }
    }

    #[test]
    fn the_gruu_is_the_one_of_a_real_registration_and_is_found_in_its_answer() {
        let ken = ken("c8ca638a15");
        assert_eq!(ken.gruu(), "sip:kenmyer@contoso.example;opaque=user:epid:21nYNIVlkV-jtN6FPBU0fQAA;gruu");
        let answer = Message::response(200, "OK")
            .with("Contact", "<sip:192.0.2.7:5061>;expires=600;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000000>\";gruu=\"sip:other\"")
            .with("Contact", &format!(
                "<sip:192.0.2.50:50111;transport=tls>;expires=600;+sip.instance=\"<urn:uuid:34D859DB-6585-5F91-A3B4-DE853C15347D>\";gruu=\"{}\"",
                ken.gruu()
            ));
        assert_eq!(ken.gruu_in(&answer), Some(ken.gruu()));
        assert_eq!(ken.gruu_in(&Message::response(200, "OK")), None);
    }

    #[test]
    fn all_requests_of_a_registration_share_what_names_it_and_count_up() {
        let (ken, mut dialogue) = (ken("c8ca638a15"), Dialogue::new([0xab; 26]));
        let local = "192.0.2.50:50111".parse().unwrap();
        let first = ken.register(&mut dialogue, local, [1; 10], Lasting::Usual);
        let last = ken.register(&mut dialogue, local, [2; 10], Lasting::Over);
        for name in ["From", "To", "Call-ID", "Contact"] {
            assert_eq!(first.header(name), last.header(name), "{name}");
        }
        assert_eq!((first.cseq(), last.cseq()), (Some((1, "REGISTER")), Some((2, "REGISTER"))));
        assert_ne!(first.header("Via"), last.header("Via"));
        assert_eq!((first.header("Expires"), last.header("Expires")), (None, Some("0")));
        let from = "<sip:kenmyer@contoso.example>;tag=ababababab;epid=c8ca638a15";
        assert_eq!(first.header("From"), Some(from));
        let answer = |cseq| Message::response(200, "OK").with("Call-ID", &"ab".repeat(16)).with("CSeq", cseq);
        assert!(dialogue.is_answered_by(&answer("2 REGISTER")) && !dialogue.is_answered_by(&answer("1 REGISTER")));
        assert!(!dialogue.is_answered_by(&Message::response(200, "OK").with("CSeq", "2 REGISTER")));
    }

    #[test]
    fn a_phone_has_an_epid_of_its_uuid() {
        let device = "34d859db-6585-5f91-a3b4-de853c15347d".parse().unwrap();
        let phone = Endpoint::of_device("kenmyer@contoso.example".parse().unwrap(), device);
        assert_eq!((phone.epid.as_str(), phone.device), ("de853c15347d", device));
    }
}
