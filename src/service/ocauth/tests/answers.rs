//! What a pool may answer, and what it is called.

use super::super::peer::messages::{certprov_metadata, web_ticket_metadata};
use super::super::peer::wire::{Then, Wire};
use super::*;

fn pool_at(wire: &Wire) -> Pool {
    let mut settings = Settings::new(CERTPROV, wire.trust());
    settings.resolve = wire.resolve();
    settings.refused = RefusedCredentials::new();
    Pool::new(settings).unwrap()
}

/// What a survey makes of these bytes in the place of metadata.
async fn surveyed(bytes: impl Into<Vec<u8>>, then: Then) -> Result<Survey, ServiceError> {
    let bytes = bytes.into();
    let wire = Wire::start(move |_| (bytes.clone(), then)).await;
    pool_at(&wire).enrolment().survey().await
}

async fn bad(bytes: impl Into<Vec<u8>>, then: Then) -> BadMessage {
    match surveyed(bytes, then).await.unwrap_err() {
        ServiceError::BadAnswer { source, .. } => source,
        other => panic!("{other}"),
    }
}

fn ok(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_that_is_none_is_named() {
    let page = "<!DOCTYPE html><html><head><title>Sign in to the guest network</title>";
    let html = BadMessage::Html { title: "Sign in to the guest network".to_owned() };
    assert_eq!(bad(ok("text/html; charset=iso-8859-1", page), Then::Close).await, html);
    assert_eq!(bad(ok("text/xml", ""), Then::Close).await, BadMessage::Empty);
    let latin = BadMessage::Charset { charset: "iso-8859-1".to_owned() };
    assert_eq!(bad(ok("text/xml; charset=\"iso-8859-1\"", "<a/>"), Then::Close).await, latin);
    let bomb = "<!DOCTYPE a [<!ENTITY b 'cc'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
    assert_eq!(bad(ok("text/xml", bomb), Then::Close).await, BadMessage::Dtd);
    let deep = "<a>".repeat(10_000);
    assert!(matches!(bad(ok("text/xml", &deep), Then::Close).await, BadMessage::NotXml(_)));
    let packed = ok("text/xml\r\nContent-Encoding: gzip", "<a/>");
    assert_eq!(bad(packed, Then::Close).await, BadMessage::Encoded { encoding: "gzip".to_owned() });
}

#[tokio::test]
async fn an_answer_without_end_is_left_after_a_mebibyte() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "400\r\n".to_owned() + &" ".repeat(1024) + "\r\n"
    );
    let (head, chunk) = endless.split_at(endless.find("400").unwrap());
    let bytes = format!("{head}{}", chunk.repeat(1100));
    assert_eq!(bad(bytes, Then::Stay).await, BadMessage::TooLong);
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned() + &" ".repeat(1_100_000);
    assert_eq!(bad(announced, Then::Stay).await, BadMessage::TooLong);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_worth_another_try() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<a/>",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n<a/>",
    ] {
        for then in [Then::Close, Then::Cut] {
            let error = surveyed(cut, then).await.unwrap_err();
            assert!(
                matches!(&error, ServiceError::BadAnswer { source: BadMessage::Truncated { .. }, .. }),
                "{error:?}"
            );
            assert_eq!(error.class(), ErrorClass::Temporary);
        }
    }
}

#[tokio::test]
async fn a_redirection_is_not_followed_and_names_where_it_leads() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: https://portal.example/login?from=x\r\nContent-Length: 0\r\n\r\n";
    let error = surveyed(moved, Then::Stay).await.unwrap_err();
    let said = "web.contoso.example redirects to portal.example instead of answering (metadata, HTTP 302)";
    assert_eq!(error.to_string(), said);
    let error = publish_error(Publishing::Redirect).await;
    assert!(matches!(&error, ServiceError::Redirected { step: Step::Publish, .. }), "{error}");
    assert!(!error.outcome_unknown(), "a redirection publishes nothing");
}

#[tokio::test]
async fn old_and_odd_servers_are_read() {
    let metadata = |line: &str| match line.contains("CertProv") {
        true => certprov_metadata(HOST, HOST),
        false => web_ticket_metadata(HOST),
    };
    let chunked = |body: &str| {
        let (a, b) = body.split_at(300);
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:x};x=y\r\n{b}\r\n0\r\n\r\n", a.len(), b.len())
    };
    let length = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    type Spell = Box<dyn Fn(&str) -> (Vec<u8>, Then) + Send + Sync>;
    let spellings: Vec<Spell> = vec![
        Box::new(move |body| (format!("HTTP/1.1 200 OK\r\n{}", chunked(body)).into(), Then::Stay)),
        Box::new(move |body| {
            (format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{}", length(body)).into(), Then::Stay)
        }),
        Box::new(move |body| (format!("HTTP/1.0 200 OK\r\n{}", length(body)).into(), Then::Close)),
        // Without a length, and without the alert that would tell the end from a cut.
        Box::new(|body| (format!("HTTP/1.0 200 OK\r\n\r\n{body}").into(), Then::Cut)),
        Box::new(move |body| (format!("HTTP/1.1 200 OK\r\nConnection: Close\r\n{}", length(body)).into(), Then::Close)),
        Box::new(move |body| (format!("HTTP/1.1 200 OK\r\n{}", length(&format!("\u{feff}{body}"))).into(), Then::Stay)),
        Box::new(|body| {
            let utf16: Vec<u8> = [0xfeff].into_iter().chain(body.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", utf16.len());
            ([head.into_bytes(), utf16].concat(), Then::Stay)
        }),
    ];
    for (n, spell) in spellings.into_iter().enumerate() {
        let wire = Wire::start(move |line| spell(&metadata(line))).await;
        let survey = pool_at(&wire).enrolment().survey().await;
        assert_eq!(survey.unwrap_or_else(|error| panic!("{n}: {error:?}")).sign_in_ports.len(), 3, "{n}");
    }
}

#[tokio::test]
async fn a_request_says_what_a_client_of_the_time_says() {
    let peer = Wire::start(|line| match line.starts_with("GET") {
        true if line.contains("CertProv") => (ok("text/xml", &certprov_metadata(HOST, HOST)).into(), Then::Stay),
        true => (ok("text/xml", &web_ticket_metadata(HOST)).into(), Then::Stay),
        false => ("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".into(), Then::Stay),
    })
    .await;
    pool_at(&peer).enrolment().sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap_err();
    let heads = peer.heads.lock().unwrap();
    assert!(heads[0].starts_with("GET /CertProv/CertProvisioningService.svc/mex HTTP/1.1\r\n"), "{}", heads[0]);
    let post = heads[2].to_ascii_lowercase();
    for line in [
        "host: web.contoso.example",
        "content-type: text/xml; charset=utf-8",
        "soapaction: \"http://docs.oasis-open.org/ws-sx/ws-trust/200512/rst/issue\"",
    ] {
        assert!(post.contains(&format!("\r\n{line}\r\n")), "{post}");
    }
}

#[tokio::test]
async fn errors_inside_an_ordinary_answer_are_decoded_with_their_class() {
    let busy = publish_error(Publishing::ErrorInfo(99006)).await;
    assert_eq!((busy.class(), busy.outcome_unknown()), (ErrorClass::Temporary, false));
    assert_eq!(busy.diagnosis().unwrap().number, Some(99006));
    assert_eq!(publish_error(Publishing::ErrorInfo(99004)).await.class(), ErrorClass::Failed);
    assert_eq!(publish_error(Publishing::ErrorInfo(99005)).await.class(), ErrorClass::NeedsPerson);
    let strange = publish_error(Publishing::Fault(28999)).await;
    assert_eq!(strange.to_string(), "the service refused (publishing): 28999 said no");
}

#[tokio::test]
async fn an_error_that_is_told_by_the_header_alone_is_decoded_in_both_forms_with_the_ids_of_the_logs() {
    for value in [
        "28032;\"fe01.contoso.example\";\"The web ticket is invalid.\";\"wsse:FailedAuthentication\"",
        "28032;source=\"fe01.contoso.example\";reason=\"The web ticket is invalid.\"",
    ] {
        let publishing = Publishing::HeaderOnly(value);
        let headers = &[("client-request-id", "c-1"), ("X-MS-Correlation-Id", "x-2")];
        let peer = Peer::start(Service { publishing, headers, ..Service::default() }).await;
        let error = enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err();
        assert!(error.ticket_refused());
        let said = error.diagnosis().unwrap();
        let expected = "28032 The web ticket is invalid. (said by fe01.contoso.example; X-MS-Correlation-Id x-2; \
                        client-request-id c-1)";
        assert_eq!((said.to_string().as_str(), said.status, said.user.as_ref()), (expected, 500, Some(&alice())));
    }
}

#[tokio::test]
async fn a_server_that_takes_one_request_for_each_connection_is_served() {
    let peer = Peer::start(Service { one_answer_each: true, ..Service::default() }).await;
    let (_, cost) = enrol(&pool(&peer, |_| {}), &ntlm(PASSWORD)).await.unwrap();
    assert_eq!((cost.requests, cost.connections), (6, 4), "the handshake and what follows it keep theirs");
}
