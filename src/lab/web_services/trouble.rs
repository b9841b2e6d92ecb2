//! An error with a number, and the routes by which one reaches a client.

use super::front_end::FrontEnd;
use super::soap::{self, OCS, RTC, WSSE, escape};

/// How an error is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `X-Ms-diagnostics` with values by position, as [MS-OCAUTHWS] 3.2.4.1 writes it.
    HeaderPositional,
    /// `X-Ms-diagnostics` with named values, as real servers write it.
    HeaderNamed,
    /// A SOAP 1.1 fault with `OCSDiagnosticsFault`, and the header.
    SoapFault,
    /// A SOAP 1.2 fault with `OCSDiagnosticsFault`. Inferred: WCF's own form for another binding.
    Soap12Fault,
    /// `ErrorInfo` inside a normal reply. LAB: its inside is not public.
    ErrorInfo,
}

/// An error that is not told yet.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) status: u16,
    pub(super) id: u32,
    pub(super) reason: String,
    pub(super) route: Route,
    /// DeviceId and Entity, which a reply with an `ErrorInfo` repeats.
    pub(super) device_and_entity: Option<(String, String)>,
}

impl Trouble {
    /// Status, header and body.
    pub(super) fn told(&self, by: FrontEnd) -> (u16, Option<String>, Option<String>) {
        let (id, reason) = (self.id, self.reason.as_str());
        let named = || format!("{id};source=\"{by}\";reason=\"{reason}\";faultcode=\"wsse:FailedAuthentication\"");
        match self.route {
            Route::HeaderPositional => {
                (self.status, Some(format!("{id};\"{by}\";\"{reason}\";\"wsse:FailedAuthentication\"")), None)
            }
            Route::HeaderNamed => (self.status, Some(named()), None),
            Route::SoapFault => (500, Some(named()), Some(soap::diagnostics_fault("FailedAuthentication", id, reason))),
            Route::Soap12Fault => (500, None, Some(soap12_fault(id, reason))),
            Route::ErrorInfo => (200, None, Some(self.error_info())),
        }
    }

    fn error_info(&self) -> String {
        let attributes = self
            .device_and_entity
            .as_ref()
            .map(|(device, entity)| format!(" DeviceId=\"{}\" Entity=\"{}\"", escape(device), escape(entity)));
        soap::envelope(&format!(
            "<GetAndPublishCertResponse xmlns=\"{OCS}\"{} ResponseClass=\"Error\"><ErrorInfo><ErrorId>{}</ErrorId>\
             <Reason>{}</Reason></ErrorInfo></GetAndPublishCertResponse>",
            attributes.unwrap_or_default(),
            self.id,
            escape(&self.reason),
        ))
    }
}

fn soap12_fault(id: u32, reason: &str) -> String {
    let reason = escape(reason);
    let soap12 = "http://www.w3.org/2003/05/soap-envelope";
    format!(
        "<s:Envelope xmlns:s=\"{soap12}\"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>\
         <s:Value xmlns:a=\"{WSSE}\">a:FailedAuthentication</s:Value></s:Subcode></s:Code>\
         <s:Reason><s:Text xml:lang=\"en-US\">{reason}</s:Text></s:Reason><s:Detail>\
         <OCSDiagnosticsFault xmlns=\"{RTC}\"><Ms-Diagnostics-Fault><ErrorId>{id}</ErrorId><Reason>{reason}</Reason>\
         </Ms-Diagnostics-Fault></OCSDiagnosticsFault></s:Detail></s:Fault></s:Body></s:Envelope>"
    )
}
