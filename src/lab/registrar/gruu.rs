//! The globally routable address of one endpoint ([MS-SIPRE]; the form is confirmed by published traces).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// `sip:USER;opaque=user:epid:…;gruu`: the instance's UUID in GUID order and two zero bytes, base64 for URLs.
pub(super) fn gruu(user: &str, instance: Uuid) -> String {
    let opaque = URL_SAFE_NO_PAD.encode([&instance.to_bytes_le()[..], &[0, 0]].concat());
    format!("{user};opaque=user:epid:{opaque};gruu")
}

/// The UUID of a Contact's `+sip.instance="<urn:uuid:…>"`.
pub(super) fn instance(contact: &str) -> Option<Uuid> {
    let lower = contact.to_ascii_lowercase();
    let at = lower.find("<urn:uuid:")? + "<urn:uuid:".len();
    Uuid::try_parse(contact.get(at..at + 36)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_an_endpoint_is_the_one_of_a_published_trace() {
        let contact = r#"<sip:192.0.2.50:50111>;+sip.instance="<urn:uuid:34D859DB-6585-5F91-A3B4-DE853C15347D>""#;
        let gruu = gruu("sip:user@cosmo.local", instance(contact).unwrap());
        assert_eq!(gruu, "sip:user@cosmo.local;opaque=user:epid:21nYNIVlkV-jtN6FPBU0fQAA;gruu");
        assert_eq!(instance("<sip:192.0.2.50>"), None);
        assert_eq!(instance("<sip:x>;+sip.instance=\"<urn:uuid:34\u{e9}\""), None);
    }
}
