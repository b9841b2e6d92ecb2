//! Certificates in a PKCS#7 without signers (RFC 5652 SignedData, "certs-only"), as `.p7b` and `.p7c` files have them.
//!
//! Only DER; the indefinite lengths of BER are not read. Nothing in such a file is signed: it is a bag.

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// OID 1.2.840.113549.1.7.2, signedData, its content octets.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// The certificates in order, or `None` if this is no PKCS#7 SignedData.
pub(crate) fn certificates(der: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let outer = element(&mut &*der).filter(|outer| outer.tag() == Tag::Sequence)?;
    let mut inside = outer.data;
    element(&mut inside).filter(|oid| oid.tag() == Tag::Oid && oid.data == SIGNED_DATA)?;
    let mut content = element(&mut inside).filter(is_zero)?.data;
    let mut signed = element(&mut content).filter(|signed| signed.tag() == Tag::Sequence)?.data;
    let mut found = Vec::new();
    while let Some(field) = element(&mut signed) {
        if !is_zero(&field) {
            continue;
        }
        let mut rest = field.data;
        while !rest.is_empty() {
            let start = rest;
            let certificate = element(&mut rest)?;
            if certificate.tag() == Tag::Sequence {
                found.push(CertificateDer::from(start.get(..start.len() - rest.len())?.to_vec()));
            }
        }
    }
    Some(found)
}

/// The next element of `input`, which moves behind it.
fn element<'a>(input: &mut &'a [u8]) -> Option<Any<'a>> {
    let (rest, element) = Any::from_der(input).ok()?;
    *input = rest;
    Some(element)
}

fn is_zero(element: &Any<'_>) -> bool {
    element.class() == Class::ContextSpecific && element.tag().0 == 0
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Authority, certs_only};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_certificate_is_taken_as_it_is() {
        let authority = Authority::new();
        let both = [authority.intermediate_der(), authority.root_der()];
        let found = certificates(&certs_only(&both)).unwrap();
        assert_eq!(found.iter().map(|c| c.to_vec()).collect::<Vec<_>>(), both);
        assert_eq!(certificates(&authority.root_der()), None);
    }

    proptest! {
        #[test]
        fn any_and_any_mutated_bag_is_read_or_refused(at in 0usize..60, byte in any::<u8>(), cut in 0usize..60) {
            let mut bytes = certs_only(&[vec![0x30, 0x00], vec![0x30, 0x02, 0x05, 0x00]]);
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _ = certificates(&bytes);
            bytes.truncate(cut);
            let _ = certificates(&bytes);
        }
    }
}
