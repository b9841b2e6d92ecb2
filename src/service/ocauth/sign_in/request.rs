//! The message that asks for a ticket: WS-Trust 1.3 RequestSecurityToken, element by element as a working client sends it.

use super::super::names::{AUTH, SAML, SOAP, WSA, WSP, WSSE, WST, WSU};
use super::super::ticket::Entropy;
use super::super::xml::{ControlCharacter, escape};
use crate::credential::SipAddress;
use uuid::Uuid;
use zeroize::Zeroizing;

/// `header` is the content of the SOAP header, none if empty; `claimed` is the user that the request is for, where the
/// credential is not the only word on it.
pub(super) fn request(
    header: &str,
    claimed: Option<&SipAddress>,
    applies_to: &str,
    entropy: &Entropy,
) -> Result<Zeroizing<Vec<u8>>, ControlCharacter> {
    let claims = claimed.map(claims).transpose()?.unwrap_or_default();
    let applies_to = escape(applies_to)?;
    let secret = entropy.written();
    let context = Uuid::new_v4();
    let (open, close) = if header.is_empty() { ("", "") } else { ("<soap:Header>", "</soap:Header>") };
    let message = Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <soap:Envelope xmlns:soap=\"{SOAP}\" xmlns:saml=\"{SAML}\" xmlns:wst=\"{WST}\" xmlns:auth=\"{AUTH}\" \
         xmlns:wsa=\"{WSA}\" xmlns:wsp=\"{WSP}\" xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\">{open}{header}{close}<soap:Body>\
         <wst:RequestSecurityToken Context=\"{context}\">\
         <wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1</wst:TokenType>\
         <wst:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</wst:RequestType>\
         <wsp:AppliesTo><wsa:EndpointReference><wsa:Address>{applies_to}</wsa:Address></wsa:EndpointReference>\
         </wsp:AppliesTo>{claims}\
         <wst:Entropy><wst:BinarySecret>{}</wst:BinarySecret></wst:Entropy>\
         <wst:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey</wst:KeyType>\
         </wst:RequestSecurityToken></soap:Body></soap:Envelope>",
        secret.as_str()
    ));
    Ok(Zeroizing::new(message.as_bytes().to_vec()))
}

fn claims(user: &SipAddress) -> Result<String, ControlCharacter> {
    let uri = user.uri();
    Ok(format!(
        "<wst:Claims Dialect=\"urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims\">\
         <auth:ClaimType Uri=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\" Optional=\"false\">\
         <auth:Value>{}</auth:Value></auth:ClaimType></wst:Claims>",
        escape(&uri)?
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::xml::parse;
    use super::*;

    #[test]
    fn the_user_is_claimed_where_they_are_known_and_a_header_is_there_only_with_something_in_it() {
        let user: SipAddress = "alice@contoso.example".parse().unwrap();
        let text = |header: &str, claimed| {
            let message = request(header, claimed, "https://a/?b&c", &Entropy::new()).unwrap();
            String::from_utf8(message.to_vec()).unwrap()
        };
        let bare = text("", Some(&user));
        assert!(bare.contains("<auth:Value>sip:alice@contoso.example</auth:Value>") && !bare.contains("Header"));
        assert!(bare.contains("<wsa:Address>https://a/?b&amp;c</wsa:Address>"));
        let headed = text("<wsse:Security/>", None);
        assert!(
            headed.contains("<soap:Header><wsse:Security/></soap:Header><soap:Body>") && !headed.contains("Claims")
        );
        assert!(parse(&bare).is_ok() && parse(&headed).is_ok());
    }
}
