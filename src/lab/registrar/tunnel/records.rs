//! Records of the tunnelled handshake.

const HANDSHAKE: u8 = 22;
/// The longest fragment (RFC 2246 section 6.2.1).
const LONGEST: usize = 1 << 14;

/// The handshake messages at the front in one record. Clients of the era take no ServerHelloDone that is alone in a record;
/// where a record ends is no part of what a handshake's hash covers. What follows a ChangeCipherSpec is encrypted and stays.
pub(super) fn joined(records: &[u8]) -> Vec<u8> {
    let mut version = None;
    let mut flight = Vec::new();
    let mut rest = records;
    while let [HANDSHAKE, major, minor, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let same = *version.get_or_insert([*major, *minor]) == [*major, *minor];
        let Some(message) = body.get(..length).filter(|message| same && flight.len() + message.len() <= LONGEST) else {
            break;
        };
        flight.extend_from_slice(message);
        rest = &body[length..];
    }
    let Some([major, minor]) = version.filter(|_| !flight.is_empty()) else { return records.to_vec() };
    let [high, low] = (flight.len() as u16).to_be_bytes();
    [&[HANDSHAKE, major, minor, high, low][..], &flight, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_messages_of_a_flight_come_in_one_record() {
        let flight = [22, 3, 1, 0, 2, 0xa, 0xb, 22, 3, 1, 0, 1, 0xc, 22, 3, 1, 0, 1, 0xd];
        assert_eq!(joined(&flight), [22, 3, 1, 0, 4, 0xa, 0xb, 0xc, 0xd]);
    }

    #[test]
    fn what_is_encrypted_stays_as_it_is() {
        let last = [20, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0xa, 22, 3, 1, 0, 1, 0xb];
        assert_eq!(joined(&last), last);
        assert!(joined(&[]).is_empty());
    }

    #[test]
    fn a_flight_that_is_too_long_for_one_record_fills_it_and_goes_on() {
        let message = [&[22, 3, 1, 0x30, 0][..], &[7; 0x3000]].concat();
        let twice = [message.clone(), message.clone()].concat();
        assert_eq!(joined(&twice), twice);
    }

    proptest! {
        #[test]
        fn any_bytes_are_joined_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(joined(&[&[22, 3, 1, 0][..], &bytes].concat()).len() <= bytes.len() + 4);
        }
    }
}
