//! The query of a phone and the answers to it, as packets (RFC 2131, RFC 2132).

use super::options::{UC_CLIENT, VLAN_CLIENT};
use dhcproto::v4::borrowed;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Encodable as _, Encoder};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Where DHCP servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where they answer.
pub const CLIENT_PORT: u16 = 68;
/// Relays of the time drop what is shorter (RFC 951).
const SHORTEST: usize = 300;

/// What is asked for, in the name of which kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Options 43 and 120, as `MS-UC-Client`.
    Servers,
    /// Option 43 with the VLAN, as `CPE-OCPHONE`.
    Vlan,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// The address that it has.
    pub address: Ipv4Addr,
    /// The address of its interface.
    pub mac: [u8; 6],
}

/// What an answer has in it that anybody could want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which query it answers.
    pub transaction: u32,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Every option that came, whole: parts of one are put together (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Query {
    /// Option 60.
    pub const fn vendor_class(self) -> &'static str {
        match self {
            Self::Servers => UC_CLIENT,
            Self::Vlan => VLAN_CLIENT,
        }
    }

    /// Option 55.
    pub const fn wants(self) -> &'static [u8] {
        match self {
            Self::Servers => &[43, 120],
            Self::Vlan => &[43],
        }
    }

    /// The DHCPINFORM.
    pub fn bytes(self, transaction: u32, asker: Asker) -> Vec<u8> {
        let mut message = Message::default();
        message.set_opcode(Opcode::BootRequest).set_xid(transaction).set_ciaddr(asker.address).set_chaddr(&asker.mac);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(MessageType::Inform));
        options.insert(DhcpOption::ClientIdentifier([&[1], &asker.mac[..]].concat()));
        options.insert(DhcpOption::ClassIdentifier(self.vendor_class().into()));
        options.insert(DhcpOption::ParameterRequestList(self.wants().iter().map(|&code| code.into()).collect()));
        let mut bytes = Vec::with_capacity(SHORTEST);
        message.encode(&mut Encoder::new(&mut bytes)).expect("a query is shorter than a packet may be");
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }
}

impl Reply {
    /// Reads a DHCPACK; nothing where it is something else.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let message = borrowed::Message::new(packet).ok()?;
        if message.opcode() != Opcode::BootReply {
            return None;
        }
        let mut options = BTreeMap::new();
        take(message.opts(), &mut options);
        // Where options did not fit, the rest is in the fields for a file and a server's name (option 52).
        let overload = options.get(&52).and_then(|value| value.first().copied()).unwrap_or(0);
        for (bit, field) in [(1, 108..236), (2, 44..108)] {
            if overload & bit != 0 {
                take(borrowed::DhcpOptionIterator::new(packet.get(field)?), &mut options);
            }
        }
        if options.get(&u8::from(OptionCode::MessageType))? != &[u8::from(MessageType::Ack)] {
            return None;
        }
        let server = options.get(&54).and_then(|value| <[u8; 4]>::try_from(value.as_slice()).ok()).map(Ipv4Addr::from);
        Some(Self { transaction: message.xid(), server, options })
    }
}

/// Parts of one option belong together wherever they are (RFC 3396).
fn take(these: borrowed::DhcpOptionIterator<'_>, options: &mut BTreeMap<u8, Vec<u8>>) {
    for option in these {
        options.entry(option.code().into()).or_default().extend_from_slice(option.data());
    }
}

/// The contents of an IPv4 packet, if it is UDP to this port: what a socket sees that listens beside the system's client.
#[cfg(any(target_os = "linux", test))]
pub(super) fn udp_payload(packet: &[u8], port: u16) -> Option<(Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != 17 || fragment != 0 {
        return None;
    }
    let sender: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let udp = packet.get(header..)?;
    let to = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    (to == port).then_some(())?;
    Some((sender.into(), udp.get(8..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKER: Asker = Asker { address: Ipv4Addr::new(192, 0, 2, 7), mac: [0, 4, 0xf2, 0xaa, 0xbb, 0xcc] };

    /// An answer with these options, in these parts.
    fn answer(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; 236];
        packet[0] = 2;
        packet[4..8].copy_from_slice(&7u32.to_be_bytes());
        packet.extend([0x63, 0x82, 0x53, 0x63]);
        for (code, value) in parts {
            packet.extend([*code, u8::try_from(value.len()).unwrap()]);
            packet.extend(*value);
        }
        packet.push(255);
        packet
    }

    #[test]
    fn a_query_has_the_options_of_a_phone() {
        let query = Query::Servers.bytes(7, ASKER);
        assert_eq!((query[0], &query[4..8], &query[12..16]), (1, &7u32.to_be_bytes()[..], &[192, 0, 2, 7][..]));
        assert_eq!(query[28..34], ASKER.mac);
        let phones: [&[u8]; 4] = [
            b"\x35\x01\x08",
            b"\x3d\x07\x01\x00\x04\xf2\xaa\xbb\xcc",
            b"\x3c\x0c\x4d\x53\x2d\x55\x43\x2d\x43\x6c\x69\x65\x6e\x74",
            b"\x37\x02\x2b\x78",
        ];
        for option in phones {
            assert!(query[240..].windows(option.len()).any(|it| it == option), "{option:x?}");
        }
        assert_eq!(query[240..].iter().rposition(|&byte| byte == 255), Some(phones.concat().len()));
        assert_eq!(query.len(), 300);
        let vlan = Query::Vlan.bytes(7, ASKER);
        assert!(vlan.windows(13).any(|it| it == b"\x3c\x0bCPE-OCPHONE"));
    }

    #[test]
    fn an_option_in_several_parts_is_put_together_wherever_they_are() {
        let mut packet = answer(&[(53, &[5]), (43, b"ab"), (54, &[192, 0, 2, 1]), (43, b"cd"), (43, b"e"), (52, &[3])]);
        packet[108..112].copy_from_slice(b"\x2b\x02fg");
        packet[112] = 255;
        packet[44..48].copy_from_slice(b"\x78\x01\x00\xff");
        let reply = Reply::read(&packet).unwrap();
        assert_eq!(reply.options[&43], b"abcdefg");
        assert_eq!(reply.options[&120], [0]);
        assert_eq!((reply.transaction, reply.server), (7, Some(Ipv4Addr::new(192, 0, 2, 1))));
    }

    #[test]
    fn only_an_acknowledgement_is_an_answer() {
        assert!(Reply::read(&answer(&[(53, &[5])])).is_some());
        assert!(Reply::read(&answer(&[(53, &[6])])).is_none());
        assert!(Reply::read(&answer(&[])).is_none());
        assert!(Reply::read(&Query::Servers.bytes(7, ASKER)).is_none());
    }

    fn ip_packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 7];
        packet.extend([0, 67, 0, 68]);
        packet.extend(u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn udp_to_the_port_is_found_in_what_passes_by() {
        let packet = ip_packet(b"hello");
        assert_eq!(udp_payload(&packet, 68), Some((Ipv4Addr::new(192, 0, 2, 1), &b"hello"[..])));
        assert_eq!(udp_payload(&packet, 67), None);
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_passed_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = (Reply::read(&bytes), udp_payload(&bytes, 68), udp_payload(&ip_packet(&bytes), 68));
            let mut packet = answer(&[(53, &[5])]);
            packet.pop();
            packet.extend(tail);
            let _ = Reply::read(&packet);
        }

        #[test]
        fn one_wrong_byte_in_a_header_never_panics(at in 0usize..33, byte: u8) {
            let mut packet = ip_packet(b"hello");
            packet[at] = byte;
            let _ = udp_payload(&packet, 68);
        }
    }
}
