//! The root-chain download over plain http: what a phone fetches before it trusts anything.
//!
//! That it exists and speaks PKCS#7 is confirmed, its messages are not public: LAB. Nobody vouches for what it says.

use super::answer::{Answer, Call, malformed, refuse};
use super::faults::ChainsFault;
use super::record::Request;
use super::service::Service;
use super::soap::{self, OCS, SOAP, WSSE, at, base64};
use crate::lab::pki;

impl Service {
    pub(super) fn root_chains(&self, call: &Call, entry: &mut Request) -> Answer {
        let fault = self.faults().chains;
        if fault == ChainsFault::Disabled {
            return refuse(entry, "the download is switched off", Answer::empty(404));
        }
        let Some(document) = soap::parse(&call.body) else { return malformed(entry, "not a SOAP envelope") };
        if call.action() != Some(&format!("{OCS}GetRootCertChains")) {
            return malformed(entry, "the SOAPAction is not GetRootCertChains");
        }
        if at(document.root_element(), &[(SOAP, "Body"), (OCS, "GetRootCertChains")]).is_none() {
            return malformed(entry, "no GetRootCertChains");
        }
        let chain = match fault {
            ChainsFault::OtherRoot => self.pki.strangers_chain(),
            _ => self.server_chain(),
        };
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let token = match fault {
            ChainsFault::Garbage => b"LAB: no PKCS#7".to_vec(),
            _ => pki::certificates_only_pkcs7(&chain),
        };
        let padding = match fault {
            ChainsFault::Huge => " ".repeat(8 << 20),
            _ => String::new(),
        };
        Answer::xml(
            200,
            soap::envelope(&format!(
                "<GetRootCertChainsResponse xmlns=\"{OCS}\" ResponseClass=\"Success\"><wsse:BinarySecurityToken \
                 xmlns:wsse=\"{WSSE}\" ValueType=\"{WSSE}#PKCS7\" EncodingType=\"{WSSE}#Base64Binary\">{}{padding}\
                 </wsse:BinarySecurityToken></GetRootCertChainsResponse>",
                base64(&token)
            )),
        )
    }
}
