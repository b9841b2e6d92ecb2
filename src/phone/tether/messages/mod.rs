//! Messages of the Tether Device Protocol: CBOR with integer keys (docs/tether-protocol.md, sections 5 to 8).
//!
//! The same types serve the host and the lab's phone. Names of fields are the page's names; keys are on the fields.

mod answer;
pub mod code;
mod opening;
mod operation;

pub use answer::*;
pub use opening::*;
pub use operation::Operation;

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder};

use std::collections::BTreeSet;

/// The protocol version described by the page.
pub const VERSION: u8 = 1;

/// An operation as it arrived: one that this version knows, or another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Known.
    Known(Operation),
    /// The number of an operation of another version.
    Unknown(u64),
}

/// How one operation ended, with the answer still in CBOR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the CBOR map that answers it.
    Done(Vec<u8>),
    /// Not done; this and all later operations of the request changed nothing.
    Failed(u16, Problem),
}

impl Outcome {
    /// Done, with this answer.
    pub fn done(answer: &impl Encode<()>) -> Self {
        Self::Done(encode(answer))
    }

    /// Not done, with this error number and words.
    pub fn failed(code: u16, text: impl Into<String>) -> Self {
        Self::Failed(code, Problem { text: text.into(), tries_left: None, pending: None })
    }
}

/// CBOR of `value`.
pub fn encode(value: &impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory does not fail")
}

/// One value and nothing after it.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, minicbor::decode::Error> {
    no_key_twice(bytes)?;
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() != bytes.len() {
        return Err(minicbor::decode::Error::message("bytes after the message"));
    }
    Ok(value)
}

/// The most operations in a request.
pub const MAX_OPERATIONS: usize = 16;

/// A request: its operations, in order.
pub fn encode_request(operations: &[Operation]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    encoder.map(1).and_then(|e| e.u8(0)).and_then(|e| e.encode(operations)).expect("writing to memory does not fail");
    encoder.into_writer()
}

/// Reads a request. An operation of another version is kept as its number.
pub fn decode_request(bytes: &[u8]) -> Result<Vec<Arrived>, minicbor::decode::Error> {
    let operations = list_under_zero(bytes, |decoder| {
        let start = decoder.position();
        match decoder.decode::<Operation>() {
            Ok(operation) => Ok(Arrived::Known(operation)),
            Err(error) if error.is_unknown_variant() => {
                decoder.set_position(start);
                pair(decoder)?;
                let number = decoder.u64()?;
                decoder.skip()?;
                Ok(Arrived::Unknown(number))
            }
            Err(error) => Err(error),
        }
    })?;
    if operations.is_empty() || operations.len() > MAX_OPERATIONS {
        return Err(minicbor::decode::Error::message("a request has 1 to 16 operations"));
    }
    Ok(operations)
}

/// An answer: how each operation ended, up to the first that failed.
pub fn encode_answer(outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let head = encoder.map(1).and_then(|e| e.u8(0)).and_then(|e| e.array(outcomes.len() as u64));
    head.expect("writing to memory does not fail");
    for outcome in outcomes {
        let (number, map) = match outcome {
            Outcome::Done(map) => (0, map.clone()),
            Outcome::Failed(number, problem) => (*number, encode(problem)),
        };
        let mut encoder = Encoder::new(&mut bytes);
        encoder.array(2).and_then(|e| e.u16(number)).expect("writing to memory does not fail");
        bytes.extend(map);
    }
    bytes
}

/// Reads an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<Vec<Outcome>, minicbor::decode::Error> {
    list_under_zero(bytes, |decoder| {
        pair(decoder)?;
        let number = decoder.u16()?;
        if number == 0 {
            let start = decoder.position();
            decoder.skip()?;
            let map = bytes.get(start..decoder.position()).unwrap_or_default();
            Ok(Outcome::Done(map.to_vec()))
        } else {
            Ok(Outcome::Failed(number, decoder.decode()?))
        }
    })
}

/// `{ 0: [ item, … ], … }`: the items; other keys are left for later versions.
fn list_under_zero<'b, T>(
    bytes: &'b [u8],
    mut item: impl FnMut(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
) -> Result<Vec<T>, minicbor::decode::Error> {
    no_key_twice(bytes)?;
    let mut decoder = Decoder::new(bytes);
    let keys = decoder.map()?.ok_or_else(indefinite)?;
    let mut items = None;
    for _ in 0..keys {
        if decoder.u64()? != 0 {
            decoder.skip()?;
            continue;
        }
        let count = decoder.array()?.ok_or_else(indefinite)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(item(&mut decoder)?);
        }
        items = Some(list);
    }
    if decoder.position() != bytes.len() {
        return Err(minicbor::decode::Error::message("bytes after the message"));
    }
    items.ok_or_else(|| minicbor::decode::Error::missing_value(0))
}

/// How deep items may lie in each other.
const MAX_DEPTH: u8 = 16;

/// Two receivers might read a map with a key twice in two ways.
fn no_key_twice(bytes: &[u8]) -> Result<(), minicbor::decode::Error> {
    walk(&mut Decoder::new(bytes), bytes, MAX_DEPTH)
}

fn walk(decoder: &mut Decoder<'_>, bytes: &[u8], depth: u8) -> Result<(), minicbor::decode::Error> {
    let depth = depth.checked_sub(1).ok_or_else(|| minicbor::decode::Error::message("items lie too deep"))?;
    match decoder.datatype()? {
        Type::Array => {
            for _ in 0..decoder.array()?.ok_or_else(indefinite)? {
                walk(decoder, bytes, depth)?;
            }
            Ok(())
        }
        Type::Map => {
            let mut keys = BTreeSet::new();
            for _ in 0..decoder.map()?.ok_or_else(indefinite)? {
                let start = decoder.position();
                let number = decoder.probe().u64().ok();
                walk(decoder, bytes, depth)?;
                // Zero in two bytes is the same key as zero in one.
                let other = bytes.get(start..decoder.position()).filter(|_| number.is_none());
                if !keys.insert((number, other)) {
                    return Err(minicbor::decode::Error::message("a map has a key twice"));
                }
                walk(decoder, bytes, depth)?;
            }
            Ok(())
        }
        Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef => Err(indefinite()),
        Type::Tag => {
            decoder.tag()?;
            walk(decoder, bytes, depth)
        }
        _ => decoder.skip(),
    }
}

fn pair(decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
    match decoder.array()? {
        Some(2) => Ok(()),
        _ => Err(minicbor::decode::Error::message("an array of two is expected")),
    }
}

fn indefinite() -> minicbor::decode::Error {
    minicbor::decode::Error::message("lengths are definite in this protocol")
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::bytes::ByteArray;
    use proptest::prelude::*;

    #[test]
    fn an_operation_is_its_number_and_a_map() {
        assert_eq!(encode(&Operation::State {}), [0x82, 0x01, 0xa0]);
        assert_eq!(encode(&Operation::Attention { seconds: 5 }), [0x82, 0x07, 0xa1, 0x00, 0x05]);
    }

    #[test]
    fn an_operation_of_a_later_version_is_kept_as_its_number_and_the_others_are_read() {
        let request = [0xa1, 0x00, 0x82, 0x82, 0x18, 0xc8, 0xa1, 0x05, 0x61, 0x78, 0x82, 0x01, 0xa0];
        let arrived = decode_request(&request).unwrap();
        assert_eq!(arrived, [Arrived::Unknown(200), Arrived::Known(Operation::State {})]);
    }

    #[test]
    fn keys_of_a_later_version_are_left_alone() {
        let bytes = [0xa3, 0x00, 0x01, 0x01, 0x19, 0x10, 0x00, 0x18, 0x63, 0x80];
        assert_eq!(decode(&bytes).ok(), Some(HelloAnswer { version: 1, max_body_bytes: 4096 }));
    }

    #[test]
    fn an_answer_reads_back_in_order() {
        let outcomes = [
            Outcome::done(&KeyMade { key: [7; 32].into(), took_ms: 3100 }),
            Outcome::failed(code::NO_SPACE, "no room"),
        ];
        assert_eq!(decode_answer(&encode_answer(&outcomes)).unwrap(), outcomes);
    }

    #[test]
    fn a_key_twice_is_refused_however_deep_it_lies_and_however_it_is_written() {
        let twice: [&[u8]; 4] = [
            &[0xa2, 0, 0x81, 0x82, 1, 0xa0, 0, 0x81, 0x82, 1, 0xa0],
            &[0xa1, 0, 0x81, 0x82, 7, 0xa2, 0, 5, 0, 6],
            &[0xa1, 0, 0x81, 0x82, 0x18, 200, 0x81, 0xa2, 1, 0, 1, 0],
            &[0xa2, 0, 0x81, 0x82, 1, 0xa0, 5, 0xa2, 1, 0, 0x18, 1, 0],
        ];
        for request in twice {
            assert!(decode_request(request).is_err(), "{request:02x?}");
        }
        assert!(decode_request(&[0xa1, 0, 0x81, 0x82, 0x18, 200, 0x01]).is_ok(), "parameters of an unknown operation");
        let deep = [vec![0xa1, 0, 0x81, 0x82, 0x18, 200], vec![0x81; 60_000], vec![0]].concat();
        assert!(decode_request(&deep).is_err());
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_request(&bytes);
            let _ = decode_answer(&bytes);
            let _ = decode::<OpenAnswer>(&bytes);
            let _ = decode::<State>(&bytes);
            let _ = decode::<AnchorPage>(&bytes);
        }

        #[test]
        fn a_request_with_one_byte_changed_is_read_or_refused(at in 0usize..200, to in any::<u8>()) {
            let id = ByteArray::from([9; 16]);
            let mut bytes = encode_request(&[
                Operation::Begin { id, user: "alice@contoso.example".into(), replaces: Some([3; 32].into()) },
                Operation::MakeKey { id, kind: 1 },
                Operation::SigningRequest { id, common_name: "alice@contoso.example".into(), hash: 0 },
            ]);
            let length = bytes.len();
            bytes[at % length] = to;
            let _ = decode_request(&bytes);
        }
    }
}
