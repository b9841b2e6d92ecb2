use super::*;
use crate::service::ocauth::Settings;
use crate::tls::fixture::{Authority, Sends};
use crate::tls::{Resolve, Trust};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const HOST: &str = "web.contoso.example";
const CERTPROV: &str = "/CertProv/CertProvisioningService.svc";

/// What a path gives: the status line's end with further headers, and the body.
type Page = fn(&str) -> (String, String);

/// The pool's two sites, and every request that came, head and all.
struct Site {
    https: SocketAddr,
    http: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    authority: Authority,
}

impl Site {
    async fn start(page: Page) -> Self {
        let authority = Authority::new();
        let tls = TlsAcceptor::from(authority.server(&[HOST], Sends::Everything, None));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (https, http) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let site = Self {
            https: https.local_addr().unwrap(),
            http: http.local_addr().unwrap(),
            seen: seen.clone(),
            authority,
        };
        let also = seen.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = https.accept().await {
                if let Ok(stream) = tls.accept(tcp).await {
                    tokio::spawn(answer(stream, "https", page, seen.clone()));
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((tcp, _)) = http.accept().await {
                tokio::spawn(answer(tcp, "http", page, also.clone()));
            }
        });
        site
    }

    fn pool(&self, trust: Trust) -> Pool {
        let mut settings = Settings::new(format!("https://{HOST}{CERTPROV}"), trust);
        let lead = |port, address| Resolve { host: HOST.to_owned(), port, address };
        settings.resolve = vec![lead(443, self.https), lead(80, self.http)];
        Pool::new(settings).unwrap()
    }

    fn trusting(&self) -> Trust {
        let mut trust = Trust::only_given();
        trust.add_der("test", &self.authority.root_der()).unwrap();
        trust
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, site: &str, page: Page, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(format!("{site} {head}"));
    let (status, body) = page(&target);
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn ok(body: &str) -> (String, String) {
    ("200 OK\r\nSet-Cookie: MS-WSMAN=s3cret; path=/".to_owned(), body.to_owned())
}

fn pool_page(target: &str) -> (String, String) {
    let wsdl = |inside: &str| {
        ok(&format!(
            r#"<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/">{inside}</w:definitions>"#
        ))
    };
    match target {
        "/CertProv/CertProvisioningService.svc/mex" => wsdl(
            r#"<Policy Id="p"><Issuer><Address> https://web.contoso.example/Tickets/WebTicketService.svc </Address></Issuer></Policy>
             <w:service><w:port name="CertProvisioningServiceWebTicketProof_SHA1"><s:address location="https://web.contoso.example/x.svc/Proof"/></w:port></w:service>"#,
        ),
        "/CertProv/CertProvisioningService.svc?wsdl" => wsdl(
            r#"<w:import location="?wsdl=wsdl0"/><w:import location="https://fe01.inside.example/x.svc?wsdl"/>
             <w:import location="https://alice:s3cret@web.contoso.example/x"/><w:import location="https://web.contoso.example:8443/x"/>"#,
        ),
        "/CertProv/CertProvisioningService.svc?wsdl=wsdl0" => wsdl(
            r#"<w:portType><w:operation name="GetRootCertChains"/></w:portType>
             <x><import schemaLocation="CertProvisioningService.svc?xsd=xsd0"/></x><w:import location="?wsdl"/>"#,
        ),
        "/CertProv/CertProvisioningService.svc?xsd=xsd0" => ok(
            r#"<schema><complexType name="ErrorInfo"><element name="ErrorId"/></complexType><import schemaLocation="CertProvisioningService.svc?xsd=xsd0"/></schema>"#,
        ),
        "/Tickets/WebTicketService.svc/mex" => wsdl(
            r#"<w:service><w:port name="WebTicketServicePin"><s:address location="https://x/pin"/></w:port></w:service>"#,
        ),
        "/Tickets/WebTicketService.svc?wsdl" => {
            ("401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nWWW-Authenticate: Negotiate".to_owned(), String::new())
        }
        _ => ("404 Not Found".to_owned(), "<html>nothing</html>".to_owned()),
    }
}

#[tokio::test]
async fn both_services_are_captured_with_what_they_lead_to_on_their_host_and_no_further() {
    let site = Site::start(pool_page).await;
    let captured = capture(&site.pool(site.trusting()), 80).await.unwrap();
    let targets: Vec<String> = captured
        .documents
        .iter()
        .map(|document| {
            document
                .url
                .as_str()
                .replace("web.contoso.example/", "")
                .replace("CertProv/CertProvisioningService.svc", "C")
        })
        .collect();
    let tickets = "https://Tickets/WebTicketService.svc";
    let expected = [
        "https://C/mex",
        "https://C?wsdl",
        "https://C?singleWsdl",
        "https://C?wsdl=wsdl0",
        "https://C?xsd=xsd0",
        &format!("{tickets}/mex"),
        &format!("{tickets}?wsdl"),
        &format!("{tickets}?singleWsdl"),
        "http://C/mex",
        "http://C?wsdl",
        "http://C?singleWsdl",
        "http://C?wsdl=wsdl0",
        "http://C?xsd=xsd0",
    ];
    assert_eq!(targets, expected);
    let why: Vec<&str> = captured.not_followed.iter().map(|(_, why)| *why).collect();
    assert!(["another host", "a login in its address", "another port"].iter().all(|it| why.contains(it)), "{why:?}");

    let findings = &captured.findings;
    assert_eq!(findings.certprov_address(), Some("https://web.contoso.example/x.svc/Proof"));
    assert_eq!(findings.root_chain_operation().unwrap().name, "GetRootCertChains");
    assert_eq!((findings.pin_port().is_some(), findings.pin_policy()), (true, None));
    assert_eq!(findings.error_types[0].members, ["ErrorId"]);
    assert_eq!(captured.schemes(), ["NTLM", "Negotiate"]);
    assert_eq!((captured.servers.len(), &captured.servers[0].distrust), (1, &None));

    let seen = site.seen.lock().unwrap().join("\n").to_lowercase();
    assert!(!seen.contains("authorization") && !seen.contains("cookie"), "{seen}");
    assert!(seen.lines().filter(|line| line.contains(" http/1.1")).all(|line| line.contains(" get ")), "{seen}");
}

#[tokio::test]
async fn a_captured_folder_holds_every_answer_and_its_index_comes_last() {
    let site = Site::start(pool_page).await;
    let captured = capture(&site.pool(site.trusting()), 80).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("contoso");
    captured.write(&folder).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    for document in index["documents"].as_array().unwrap() {
        let Some(file) = document["file"].as_str() else { continue };
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(document["sha256"], crate::credential::Fingerprint::of(&bytes).to_string());
    }
    let server = &index["servers"][0];
    assert_eq!((&server["trusted"], server["certificates"].as_array().unwrap().len()), (&true.into(), 2));
    let chain = std::fs::read(folder.join(server["file"].as_str().unwrap())).unwrap();
    assert_eq!(crate::credential::Certificate::from_pem_or_der(&chain).unwrap().len(), 2);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let text = String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains("s3cret") || text.contains("alice:s3cret@"), "only what the server itself publishes");
    }
    assert!(std::fs::read_to_string(folder.join("README.txt")).unwrap().contains("no credential"));
    // What is there already is not mixed with another capture.
    assert!(matches!(captured.write(&folder), Err(WriteError::NotEmpty { .. })));
    let half = home.path().join("half");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("01-certprov-https-mex.xml"), "").unwrap();
    assert!(captured.write(&half).is_err() && !half.join("index.json").exists());
}

#[tokio::test]
async fn a_pool_that_this_computer_does_not_trust_is_captured_and_marked() {
    let site = Site::start(pool_page).await;
    let mut other = Trust::only_given();
    other.add_der("test", &Authority::new().root_der()).unwrap();
    let captured = capture(&site.pool(other), 80).await.unwrap();
    assert!(captured.got() > 5);
    let server = &captured.servers[0];
    assert!(server.distrust.is_some() && server.presented.len() == 2 && server.tls.is_ok());
}

#[tokio::test]
async fn links_without_end_come_to_an_end() {
    fn deeper(target: &str) -> (String, String) {
        let links: String = (0..9).map(|n| format!("<import location=\"{target}{n}\"/>")).collect();
        ok(&format!("<x>{links}</x>"))
    }
    let site = Site::start(deeper).await;
    let captured = capture(&site.pool(site.trusting()), 80).await.unwrap();
    assert_eq!(captured.documents.len(), MOST_DOCUMENTS);
    assert!(captured.not_followed.iter().any(|(_, why)| *why == "enough documents"));
}

#[tokio::test]
async fn a_chain_of_links_is_followed_a_few_steps() {
    fn one_more(target: &str) -> (String, String) {
        ok(&format!("<x><import location=\"{target}x\"/></x>"))
    }
    let site = Site::start(one_more).await;
    let captured = capture(&site.pool(site.trusting()), 80).await.unwrap();
    assert_eq!(captured.documents.len(), 9 * (DEEPEST + 1));
    assert!(captured.not_followed.iter().all(|(_, why)| *why == "too deep"));
}

#[tokio::test]
async fn a_server_that_is_not_there_gives_no_capture() {
    let site = Site::start(pool_page).await;
    let mut settings = Settings::new(format!("https://{HOST}{CERTPROV}"), site.trusting());
    // Bound and not listening: nobody else gets the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    settings.resolve = [443, 80].map(|port| Resolve { host: HOST.to_owned(), port, address }).to_vec();
    let error = capture(&Pool::new(settings).unwrap(), 80).await.unwrap_err();
    assert!(error.is_temporary() && error.asked == 9, "{error}");
}
