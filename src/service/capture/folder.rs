//! A capture as a folder of files. The index is written last: without it a folder is not complete.

use super::{Capture, Findings};
use crate::credential::{Certificate, Fingerprint, Thumbprint, pem};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// The version of the index.
const SCHEMA: u8 = 1;

/// Why a capture could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is something in the folder.
    #[error("the folder {} is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot write {}", path.display())]
    NotWritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotEmpty { .. } => "name a new or an empty folder with --to",
            Self::NotWritable { .. } => "check that this user may write there and that there is room",
        }
    }
}

#[derive(Serialize)]
struct Index<'a> {
    schema: u8,
    made_by: &'static str,
    certprov_url: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    began: OffsetDateTime,
    servers: Vec<ServerEntry<'a>>,
    documents: Vec<DocumentEntry<'a>>,
    not_followed: Vec<NotFollowed<'a>>,
    sign_in_schemes: Vec<String>,
    findings: &'a Findings,
}

#[derive(Serialize)]
struct ServerEntry<'a> {
    host: &'a str,
    port: u16,
    trusted: bool,
    distrust: Option<&'a str>,
    tls: Option<&'a str>,
    error: Option<String>,
    file: Option<String>,
    certificates: Vec<CertificateEntry>,
}

#[derive(Serialize)]
struct CertificateEntry {
    subject: String,
    issuer: String,
    sha256: Fingerprint,
    sha1: Thumbprint,
}

#[derive(Serialize)]
struct DocumentEntry<'a> {
    url: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    status: Option<u16>,
    headers: &'a [(String, String)],
    file: Option<String>,
    bytes: Option<usize>,
    sha256: Option<Fingerprint>,
    error: Option<String>,
}

#[derive(Serialize)]
struct NotFollowed<'a> {
    url: &'a str,
    why: &'a str,
}

impl Capture {
    /// Whether `folder` may be written to: it is not there, or empty.
    pub fn may_write(folder: &Path) -> Result<(), WriteError> {
        match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(WriteError::NotWritable { path: folder.to_owned(), source }),
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(WriteError::NotEmpty { path: folder.to_owned() }),
            },
        }
    }

    /// Writes all of it into a new or empty folder.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        Self::may_write(folder)?;
        let failed = |path: &Path, source| WriteError::NotWritable { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            let mut file = std::fs::File::create_new(&path).map_err(|source| failed(&path, source))?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| failed(&path, source))
        };
        let mut servers = Vec::new();
        for server in &self.servers {
            let file =
                (!server.presented.is_empty()).then(|| format!("chain-{}-{}.pem", plain(&server.host), server.port));
            if let Some(file) = &file {
                write(file, server.presented.iter().map(|der| pem(der)).collect::<String>().as_bytes())?;
            }
            servers.push(ServerEntry {
                host: &server.host,
                port: server.port,
                trusted: server.tls.is_ok() && server.distrust.is_none(),
                distrust: server.distrust.as_deref(),
                tls: server.tls.as_deref().ok(),
                error: server.tls.as_ref().err().map(with_causes),
                file,
                certificates: server.presented.iter().filter_map(|der| entry(der)).collect(),
            });
        }
        let mut documents = Vec::new();
        for (number, document) in self.documents.iter().enumerate() {
            let answer = document.answer.as_ref().ok();
            let file = answer.filter(|answer| !answer.body.is_empty()).map(|_| {
                let url = &document.url;
                let what = url.path().rsplit_once(".svc").map_or(url.path(), |(_, rest)| rest);
                let service = if url.path().contains("WebTicket") { "webticket" } else { "certprov" };
                let words = format!("{service}-{}-{what}{}", url.scheme(), url.query().unwrap_or_default());
                format!("{:02}-{}.xml", number + 1, plain(&words))
            });
            if let (Some(file), Some(answer)) = (&file, answer) {
                write(file, &answer.body)?;
            }
            documents.push(DocumentEntry {
                url: document.url.as_str(),
                at: document.at,
                status: answer.map(|answer| answer.status),
                headers: answer.map(|answer| answer.headers.as_slice()).unwrap_or_default(),
                file,
                bytes: answer.map(|answer| answer.body.len()),
                sha256: answer.map(|answer| Fingerprint::of(&answer.body)),
                error: document.answer.as_ref().err().map(with_causes),
            });
        }
        write("README.txt", self.readme().as_bytes())?;
        let index = Index {
            schema: SCHEMA,
            made_by: concat!("tethercert ", env!("CARGO_PKG_VERSION")),
            certprov_url: self.certprov_url.as_str(),
            began: self.began,
            servers,
            documents,
            not_followed: self.not_followed.iter().map(|(url, why)| NotFollowed { url: url.as_str(), why }).collect(),
            sign_in_schemes: self.schemes(),
            findings: &self.findings,
        };
        let mut text = serde_json::to_vec_pretty(&index).expect("text, numbers and times of this millennium");
        text.push(b'\n');
        write("index.json.part", &text)?;
        let (part, whole) = (folder.join("index.json.part"), folder.join("index.json"));
        std::fs::rename(part, &whole).map_err(|source| failed(&whole, source))
    }

    fn readme(&self) -> String {
        format!(
            "What the Web Services of {host} say about themselves to anybody\n\
             \n\
             Made by tethercert {version} with `tethercert pool capture`. It holds the metadata (MEX, WSDL, XSD) of certificate\n\
             provisioning and of the web ticket service, and the certificates that the servers present. Every file came by an\n\
             anonymous GET: no credential was sent, and none is in here; cookies are left out.\n\
             \n\
             It does name servers, domains and certification authorities. Look through it before you give it away.\n\
             \n\
             index.json lists every request with status, headers, SHA-256 and time, and is written last: a folder\n\
             without it is not complete.\n\
             \n\
             Where to send it: as one archive to the maintainers of tethercert, or to whoever asked you for it. It shows what\n\
             no public page says: the ports and policies for the PIN, the download of root chains, the types of errors.\n",
            host = self.certprov_url.host_str().unwrap_or_default(),
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

fn with_causes<E: std::error::Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}

fn entry(der: &[u8]) -> Option<CertificateEntry> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(CertificateEntry {
        subject: certificate.subject().to_owned(),
        issuer: certificate.issuer().to_owned(),
        sha256: certificate.fingerprint(),
        sha1: Thumbprint::sha1_of(der),
    })
}

/// A name that every file system takes.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let mut name: String = text.chars().map(plain).take(60).collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    name.trim_matches('-').to_owned()
}
