//! What a signature is made over ([MS-SIPAE] 3.2.5.2; for version 2 [MS-SIP] 3.1.4.2): certain values of a message, each in
//! angle brackets, exactly as they stand there. Nothing else of a message is protected.

use super::challenge::Authentication;
use super::message::Message;
use super::name_address::NameAddress;

/// From this version on the text has `To` and the asserted identities.
const WITH_TO: u32 = 3;

/// The text of a message, for the header value that its signature stands in or will stand in. The numbers are the sender's:
/// `crand` and `cnum` of a client, `srand` and `snum` of a server. What is absent is an empty value.
pub fn text(message: &Message, value: &Authentication, version: u32) -> String {
    let of_value = |name| value.get(name).unwrap_or_default();
    let of_sender = |client, server| value.get(client).or_else(|| value.get(server)).unwrap_or_default();
    let from = message.header("From").and_then(NameAddress::read);
    let to = message.header("To").and_then(NameAddress::read);
    let cseq = message.header("CSeq").unwrap_or_default();
    let (number, method) = cseq.split_once([' ', '\t']).unwrap_or((cseq, ""));
    let mut fields = vec![
        value.scheme_name().to_owned(),
        of_sender("crand", "srand").to_owned(),
        of_sender("cnum", "snum").to_owned(),
        of_value("realm").to_owned(),
        of_value("targetname").to_owned(),
        message.header("Call-ID").unwrap_or_default().to_owned(),
        number.to_owned(),
        method.trim().to_owned(),
        uri(from.as_ref()),
        tag(from.as_ref()),
    ];
    if version >= WITH_TO {
        let (sip, tel) = identities(message);
        fields.extend([uri(to.as_ref()), tag(to.as_ref()), sip, tel]);
    } else {
        fields.push(tag(to.as_ref()));
    }
    fields.push(message.header("Expires").unwrap_or_default().to_owned());
    fields.extend(message.status().map(|status| status.to_string()));
    fields.iter().map(|field| format!("<{field}>")).collect()
}

fn uri(address: Option<&NameAddress>) -> String {
    address.map(|address| address.uri.clone()).unwrap_or_default()
}

fn tag(address: Option<&NameAddress>) -> String {
    address.and_then(|address| address.get("tag")).unwrap_or_default().to_owned()
}

/// The SIP and the telephone URI that the message asserts. A preferred identity stands in for an asserted one, as clients of
/// the era have it (observed).
fn identities(message: &Message) -> (String, String) {
    let all = |name| -> Vec<NameAddress> { message.headers.all(name).flat_map(NameAddress::read_all).collect() };
    let mut asserted = all("P-Asserted-Identity");
    if asserted.is_empty() {
        asserted = all("P-Preferred-Identity");
    }
    let of = |schemes: &[&str]| {
        let has = |address: &&NameAddress| {
            let scheme = address.uri.split_once(':').map_or("", |(scheme, _)| scheme);
            schemes.iter().any(|wanted| scheme.eq_ignore_ascii_case(wanted))
        };
        asserted.iter().find(has).map(|address| address.uri.clone()).unwrap_or_default()
    };
    (of(&["sip", "sips"]), of(&["tel"]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::registrar::challenge::REALM;
    use crate::registrar::message::Framer;

    /// The request of the vectors, and its header value without a signature.
    pub(in super::super) fn request() -> (Message, Authentication) {
        let message = Message::request("REGISTER", "sip:contoso.example")
            .with("From", "<sip:kenmyer@contoso.example>;tag=1c2d3e4f5a;epid=c8ca638a15")
            .with("To", "<sip:kenmyer@contoso.example>")
            .with("Call-ID", "5a3f0c1d2e4b4a6c8d7e9f0011223344")
            .with("CSeq", "5 REGISTER")
            .with("Contact", "<sip:192.0.2.50:50111;transport=tls>;expires=77");
        let value = Authentication::new("TLS-DSK")
            .with("qop", "auth")
            .with("opaque", "5F2F9C11")
            .with("realm", REALM)
            .with("targetname", "fe01.contoso.example")
            .with("crand", "0000abcd")
            .with("cnum", "1");
        (message, value)
    }

    /// The response of the vectors, and its header value without a signature: in another order, as order does not matter.
    pub(in super::super) fn response() -> (Message, Authentication) {
        let message = Message::response(200, "OK")
            .with("From", "\"Ken Myer\"<sip:kenmyer@contoso.example>;tag=1c2d3e4f5a;epid=c8ca638a15")
            .with("To", "<sip:kenmyer@contoso.example>;tag=9F8E7D6C5B4A39281706F5E4D3C2B1A0")
            .with("Call-ID", "5a3f0c1d2e4b4a6c8d7e9f0011223344")
            .with("CSeq", "5 REGISTER")
            .with("Expires", "600");
        let value = Authentication::new("TLS-DSK")
            .with("snum", "1")
            .with("srand", "1A2B3C4D")
            .with("targetname", "fe01.contoso.example")
            .with("realm", REALM)
            .with_bare("version", 4);
        (message, value)
    }

    pub(in super::super) const REQUEST: &str = "<TLS-DSK><0000abcd><1><SIP Communications Service><fe01.contoso.example>\
        <5a3f0c1d2e4b4a6c8d7e9f0011223344><5><REGISTER><sip:kenmyer@contoso.example><1c2d3e4f5a>\
        <sip:kenmyer@contoso.example><><><><>";

    pub(in super::super) const RESPONSE: &str = "<TLS-DSK><1A2B3C4D><1><SIP Communications Service><fe01.contoso.example>\
        <5a3f0c1d2e4b4a6c8d7e9f0011223344><5><REGISTER><sip:kenmyer@contoso.example><1c2d3e4f5a>\
        <sip:kenmyer@contoso.example><9F8E7D6C5B4A39281706F5E4D3C2B1A0><><><600><200>";

    #[test]
    fn request_and_response_have_the_texts_of_the_vectors_in_versions_three_and_four() {
        assert_eq!((REQUEST.len(), RESPONSE.len()), (197, 237));
        for version in [3, 4] {
            let ((message, value), (answer, info)) = (request(), response());
            assert_eq!(text(&message, &value, version), REQUEST);
            assert_eq!(text(&answer, &info, version), RESPONSE);
        }
    }

    /// As real clients and servers of 2009 wrote them; the signatures are checked where NTLM is.
    #[test]
    fn the_texts_of_a_real_sign_in_are_rebuilt_from_its_messages() {
        let shared = "From: <sip:user@cosmo.local>;tag=3e49177a52;epid=c8ca638a15\r\n\
            Call-ID: 4037df9284354df39065195bd57a4b14\r\nCSeq: 3 REGISTER\r\n";
        let value = "NTLM qop=\"auth\", opaque=\"BCDC0C9D\", realm=\"SIP Communications Service\", \
            targetname=\"cosmo-ocs-r2.cosmo.local\", version=4";
        let read = |bytes: String| {
            let mut framer = Framer::new();
            framer.feed(bytes.as_bytes());
            framer.next_message().unwrap().unwrap()
        };
        let of = |message: &Message, name: &str| {
            let value = Authentication::read(message.header(name).unwrap()).unwrap().remove(0);
            text(message, &value, 4)
        };
        let asked = read(format!(
            "REGISTER sip:cosmo.local SIP/2.0\r\n{shared}To: <sip:user@cosmo.local>\r\n\
             Proxy-Authorization: {value}, crand=\"13317733\", cnum=\"1\"\r\n\r\n"
        ));
        assert_eq!(
            of(&asked, "Proxy-Authorization"),
            "<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14>\
             <3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><><><><>"
        );
        let answered = read(format!(
            "SIP/2.0 200 OK\r\n{shared}To: <sip:user@cosmo.local>;tag=5E61CCD925D17E043D9A74835A88F664\r\nExpires: 7200\r\n\
             Authentication-Info: {value}, srand=\"9616454F\", snum=\"1\"\r\n\r\n"
        ));
        assert_eq!(
            of(&answered, "Authentication-Info"),
            "<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14>\
             <3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664>\
             <><><7200><200>"
        );
    }

    #[test]
    fn version_two_has_neither_the_uri_of_to_nor_identities() {
        let (message, value) = response();
        let of_two = text(&message, &value, 2);
        let end = "<1c2d3e4f5a><9F8E7D6C5B4A39281706F5E4D3C2B1A0><600><200>";
        assert!(of_two.ends_with(end), "{of_two}");
    }

    #[test]
    fn asserted_identities_are_told_apart_by_scheme_and_preferred_ones_stand_in() {
        let (message, value) = request();
        let identities = |name| {
            let message = message.clone().with(name, "\"Ken, M.\" <sip:ken@a.example>, <tel:+12065551219>");
            text(&message, &value, 4)
        };
        assert!(identities("P-Asserted-Identity").ends_with("<><sip:ken@a.example><tel:+12065551219><>"));
        assert!(identities("P-Preferred-Identity").ends_with("<><sip:ken@a.example><tel:+12065551219><>"));
        let both = message.clone().with("P-Preferred-Identity", "<tel:+1>").with("P-Asserted-Identity", "<sip:a@b>");
        assert!(text(&both, &value, 4).ends_with("<><sip:a@b><><>"));
    }

    #[test]
    fn uris_are_taken_as_they_stand_with_gruu_and_without_brackets() {
        let (mut message, value) = request();
        message.headers.remove("From");
        message.headers.push("From", "sip:kenmyer@contoso.example;tag=x");
        message.headers.remove("To");
        message.headers.push("To", "<sip:kenmyer@contoso.example;opaque=user:epid:A;gruu>");
        let text = text(&message, &value, 4);
        assert!(
            text.contains("<sip:kenmyer@contoso.example><x><sip:kenmyer@contoso.example;opaque=user:epid:A;gruu><>")
        );
    }

    #[test]
    fn a_message_without_anything_has_a_text_of_empty_values() {
        let text = text(&Message::response(200, ""), &Authentication::new("TLS-DSK"), 4);
        assert_eq!(text, format!("<TLS-DSK>{}<200>", "<>".repeat(14)));
    }
}
