//! Reading a refusal from where it stands.

use super::super::http::Answer;
use super::super::profile::ErrorInfoProfile;
use super::super::xml::{BadMessage, child, descendant, parse, text};
use super::{Route, one_line};
use roxmltree::Node;

/// What was read, before it is known whom it is about and what it means.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Said {
    pub(super) number: Option<u32>,
    pub(super) reason: String,
    pub(super) server: Option<String>,
    pub(super) route: Route,
    pub(super) fault_code: Option<String>,
}

/// `28020;source="fe01";reason="No valid security token."`, or the same values by position.
pub(super) fn from_header(value: &str) -> Option<Said> {
    let mut items = split_quoted(value).into_iter();
    let number = items.next()?.trim().parse().ok()?;
    let (mut server, mut reason, mut fault, mut position) = (None, None, None, 0);
    for item in items {
        let item = item.trim();
        let named = item.split_once('=').filter(|(name, _)| !name.contains('"'));
        let place = match named {
            Some((name, _)) if name.trim().eq_ignore_ascii_case("source") => &mut server,
            Some((name, _)) if name.trim().eq_ignore_ascii_case("reason") => &mut reason,
            Some((name, _)) if name.trim().eq_ignore_ascii_case("faultcode") => &mut fault,
            Some(_) => continue,
            None => {
                position += 1;
                match position {
                    1 => &mut server,
                    2 => &mut reason,
                    3 => &mut fault,
                    _ => continue,
                }
            }
        };
        *place = Some(one_line(&unquote(named.map_or(item, |(_, value)| value))));
    }
    let server = server.filter(|server| !server.is_empty());
    let fault_code = fault.as_deref().and_then(local_part);
    Some(Said { number: Some(number), reason: reason.unwrap_or_default(), server, route: Route::Header, fault_code })
}

/// A SOAP fault, or an `ErrorInfo`; `None` for anything else.
pub(super) fn from_body(body: &str, names: &ErrorInfoProfile) -> Option<Said> {
    let document = parse(body).ok()?;
    let body = child(document.root_element(), "Body")?;
    match child(body, "Fault") {
        Some(fault) => Some(from_fault(fault)),
        None => body.children().filter(Node::is_element).find_map(|answer| error_info(answer, names)),
    }
}

/// SOAP 1.1 has `faultcode` and `faultstring`; SOAP 1.2 has `Code/Value`, the exact one in `Subcode`, and `Reason/Text`.
fn from_fault(fault: Node<'_, '_>) -> Said {
    let inner = descendant(fault, "Ms-Diagnostics-Fault");
    let number = inner.and_then(|n| child(n, "ErrorId")).and_then(|n| text(n).parse().ok());
    let reason = inner
        .and_then(|n| child(n, "Reason"))
        .or_else(|| child(fault, "faultstring"))
        .or_else(|| child(child(fault, "Reason")?, "Text"))
        .map(text)
        .filter(|reason| !reason.is_empty())
        // Live ID speaks by Detail/error/internalerror/text (confirmed).
        .or_else(|| Some(text(descendant(descendant(fault, "internalerror")?, "text")?)));
    let code = child(fault, "faultcode").or_else(|| {
        let mut code = child(fault, "Code")?;
        while let Some(exact) = child(code, "Subcode") {
            code = exact;
        }
        child(code, "Value")
    });
    let fault_code = code.map(text).as_deref().and_then(local_part);
    let reason = one_line(&reason.or_else(|| fault_code.clone()).unwrap_or_default());
    Said { number, reason, server: None, route: Route::Fault, fault_code }
}

/// The `ErrorInfo` of an answer, or its `ResponseClass="Error"` alone.
pub(in super::super) fn error_info(answer: Node<'_, '_>, names: &ErrorInfoProfile) -> Option<Said> {
    let class = answer.attribute("ResponseClass").is_some_and(|class| class.trim().eq_ignore_ascii_case("Error"));
    let info = child(answer, &names.element).or_else(|| child(answer, "ErrorInfo"));
    if info.is_none() && !class {
        return None;
    }
    let info = info.unwrap_or(answer);
    let value = |names: &[String]| {
        names.iter().find_map(|name| {
            let attribute = info.attributes().find(|a| a.name() == name).map(|a| a.value().trim().to_owned());
            attribute.or_else(|| descendant(info, name).map(text)).filter(|value| !value.is_empty())
        })
    };
    let number = value(&names.numbers).and_then(|number| number.parse().ok());
    let reason = value(&names.reasons).unwrap_or_else(|| {
        info.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect::<Vec<_>>().join(" ")
    });
    let server = value(&names.servers).map(|server| one_line(&server));
    Some(Said { number, reason: one_line(&reason), server, route: Route::ErrorInfo, fault_code: None })
}

/// All that is left to say: the status, and the title of a proxy's or web server's page.
pub(super) fn from_status(answer: &Answer) -> Said {
    let title = match answer.text().map(|text| parse(&text).map(drop)) {
        Ok(Err(BadMessage::Html { title })) if !title.is_empty() => format!(" with a web page: {title}"),
        _ => String::new(),
    };
    let reason = format!("HTTP {}{title}", answer.status);
    Said { number: None, reason, server: None, route: Route::Status, fault_code: None }
}

/// `FailedAuthentication` of `wsse:FailedAuthentication`.
fn local_part(code: &str) -> Option<String> {
    let local = code.rsplit(':').next().unwrap_or_default();
    Some(one_line(local)).filter(|local| !local.is_empty())
}

/// Splits at `;` outside quotes.
fn split_quoted(value: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |c| {
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
            c == ';' && !quoted
        })
        .collect()
}

fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest)).unwrap_or(value);
    inner.replace("\\\"", "\"")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::profile::Profile;
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) const FAULT: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
        <faultcode>a:FailedAuthentication</faultcode><faultstring xml:lang="en-US">No valid security token.</faultstring>
        <detail><OCSDiagnosticsFault xmlns="urn:component:Microsoft.Rtc.WebAuthentication.2010"><Ms-Diagnostics-Fault>
        <ErrorId>28020</ErrorId><Reason>No valid security token.</Reason></Ms-Diagnostics-Fault></OCSDiagnosticsFault>
        </detail></s:Fault></s:Body></s:Envelope>"#;

    pub(in super::super) const ERROR_INFO: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
        <GetAndPublishCertResponse xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" ResponseClass="Error">
        <ErrorInfo><ErrorId>99006</ErrorId><Reason>The data store is unavailable.</Reason></ErrorInfo>
        </GetAndPublishCertResponse></s:Body></s:Envelope>"#;

    fn body(text: &str) -> Option<Said> {
        from_body(text, Profile::lab().error_info())
    }

    #[test]
    fn the_header_is_read_in_both_forms() {
        let named = r#"28020;source="fe01.contoso.example";reason="No; valid \"token\".";faultcode="wsse:FailedAuthentication""#;
        let named = from_header(named).unwrap();
        let positional = r#"28020;"fe01.contoso.example";"No; valid \"token\".";"wsse:FailedAuthentication""#;
        assert_eq!(named, from_header(positional).unwrap());
        assert_eq!(named.number, Some(28020));
        assert_eq!(named.reason, "No; valid \"token\".");
        assert_eq!(named.server.as_deref(), Some("fe01.contoso.example"));
        assert_eq!(named.fault_code.as_deref(), Some("FailedAuthentication"));
    }

    #[test]
    fn a_fault_of_soap_1_2_is_read_like_one_of_1_1() {
        let fault = r#"<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault>
            <e:Code><e:Value>e:Sender</e:Value><e:Subcode><e:Value xmlns:a="urn:x">a:InvalidSecurity</e:Value></e:Subcode></e:Code>
            <e:Reason><e:Text xml:lang="en">An error occurred when verifying security.</e:Text></e:Reason></e:Fault></e:Body>
            </e:Envelope>"#;
        let said = body(fault).unwrap();
        assert_eq!(said.reason, "An error occurred when verifying security.");
        assert_eq!((said.number, said.fault_code.as_deref()), (None, Some("InvalidSecurity")));
    }

    #[test]
    fn an_error_info_of_other_names_attributes_or_bare_words_is_read() {
        for inside in [
            "<ErrorInfo><ResponseCode>99006</ResponseCode><MessageText>gone</MessageText></ErrorInfo>",
            "<ErrorInfo ErrorCode=\"99006\" Message=\"gone\"/>",
            "<x:ErrorInfo xmlns:x=\"urn:x\"><x:Error><x:Id> 99006 </x:Id><x:Reason>gone</x:Reason></x:Error></x:ErrorInfo>",
        ] {
            let answer = format!("<Envelope><Body><R ResponseClass='Error'>{inside}</R></Body></Envelope>");
            let said = body(&answer).unwrap();
            assert_eq!((said.number, said.reason.as_str()), (Some(99006), "gone"), "{inside}");
        }
        let bare = body("<Envelope><Body><R><ErrorInfo>it is\n gone</ErrorInfo></R></Body></Envelope>").unwrap();
        assert_eq!((bare.number, bare.reason.as_str()), (None, "it is gone"));
        assert!(body("<Envelope><Body><R ResponseClass='Success'/></Body></Envelope>").is_none());
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in "\\PC{0,80}", tail in "[0-9]{1,12}(;[a-z]*=?\"?[a-z;\\\\\"]{0,9}){0,5}") {
            let _ = from_header(&value);
            let _ = from_header(&tail);
        }

        #[test]
        fn any_and_any_mutated_body_is_read_or_refused(at in 0usize..700, byte in any::<u8>(), cut in 0usize..700) {
            for text in [FAULT, ERROR_INFO] {
                let mut bytes = text.as_bytes().to_vec();
                if let Some(place) = bytes.get_mut(at) { *place = byte; }
                let _ = body(&String::from_utf8_lossy(&bytes));
                bytes.truncate(cut);
                let _ = body(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}
