//! The certificates that a phone would need, as files.

use super::super::bench::{Bench, BusArgs, PoolArgs};
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::screen::{Screen, Tone};
use super::super::text::{date, dotted};
use super::{CertificateLine, OutcomeLine, collect, download, named_root, standing};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use tethercert::credential::{Certificate, ServerChain, Thumbprint};
use tethercert::service::ocauth::Collected;
use tethercert::service::server_trust::{Compared, Met};

/// What the list of the files is called.
const INDEX: &str = "index.txt";

/// Write the certificates that a phone would need as PEM files
///
/// Roots go to DIR/anchors, intermediates to DIR/intermediates, a list of them to DIR/index.txt. What nothing vouches for has
/// `unauthenticated` in its file's name. Asks nothing and writes over nothing: an index that is there already is refused.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    /// Folder to write to; made where it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    bus: BusArgs,
}

/// A certificate to write.
struct Needed {
    certificate: Certificate,
    kind: Kind,
    from: String,
    authenticated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Anchor,
    Intermediate,
}

#[derive(Serialize)]
struct FileLine<'a> {
    file: &'a Path,
    kind: Kind,
    authenticated: bool,
    from: &'a str,
    certificate: CertificateLine,
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let index = args.to.join(INDEX);
    if index.exists() {
        return Err(CliError::refused(
            format!("{} is there already, and nothing is written over", index.display()),
            "name another folder with --to",
        ));
    }
    let bench = Bench::to_list(&args.bus, screen).await?;
    let (chosen, collected) = collect(&bench, &args.pool).await?;
    for server in collected.servers().filter(|server| !matches!(server.met, Met::Trusted(_))) {
        let (tone, text, next) = standing(server);
        screen.toned(tone, "server", &text);
        if let Some(next) = next {
            screen.line("", &format!("next: {next}"));
        }
    }
    let agrees = [named_root(&collected, screen), download(&collected, screen)] == [true, true];
    let needed = needed(&collected);
    let mut list = format!("Certificates for phones of {}, by tethercert {}\n", chosen.url, env!("CARGO_PKG_VERSION"));
    for it in &needed {
        let file = write(&args.to, it).map_err(|(path, source)| CliError::NotWritten { path, source })?;
        let marked = if it.authenticated { "" } else { "UNAUTHENTICATED: compare its thumbprint before use" };
        screen.json(
            "file",
            &FileLine {
                file: &file,
                kind: it.kind,
                authenticated: it.authenticated,
                from: &it.from,
                certificate: CertificateLine::of(&it.certificate, None),
            },
        );
        let tone = if it.authenticated { Tone::Good } else { Tone::Unsure };
        screen.toned(tone, "file", &dotted(&[file.display().to_string(), it.from.clone(), marked.to_owned()]));
        list.push_str(&entry(&args.to, &file, it));
    }
    if !needed.is_empty() {
        create(&index, &list).map_err(|source| CliError::NotWritten { path: index.clone(), source })?;
        screen.line("index", &index.display().to_string());
    }
    let (outcome, exit) = match (&collected.web.met, agrees) {
        (_, false) => ("contradiction", Exit::Failed),
        (Met::Unreachable(error), true) if error.is_temporary() => ("unreachable", Exit::Temporary),
        (Met::Unreachable(_), true) => ("unreachable", Exit::Failed),
        (Met::Trusted(_) | Met::Distrusted { .. }, true) => ("fetched", Exit::Done),
    };
    screen.json("outcome", &OutcomeLine { outcome, exit_code: exit.code() });
    Ok(exit)
}

/// Every CA certificate that was collected, once each, anchors first. Of a download that contradicts: none.
fn needed(collected: &Collected) -> Vec<Needed> {
    let trusts = |certificate: &Certificate| sure(collected, certificate);
    let mut all: Vec<(Certificate, String)> = Vec::new();
    for server in collected.servers() {
        for (certificate, by) in server.certificates(&collected.given) {
            all.push((certificate, dotted(&[server.address(), super::got(by).to_owned()])));
        }
    }
    if let Some(chains) = collected.download.got().filter(|chains| chains.contradiction().is_none()) {
        let held = chains.bag.roots.iter().chain(&chains.bag.intermediates);
        all.extend(held.map(|it| (it.clone(), format!("root-chain download {}", chains.url))));
    }
    let roots: Vec<Certificate> =
        all.iter().map(|(it, _)| it).filter(|it| it.is_self_signed() && trusts(it)).cloned().collect();
    let known: Vec<Certificate> = all.iter().map(|(it, _)| it.clone()).collect();
    let mut needed: Vec<Needed> = Vec::new();
    for (certificate, from) in all {
        let may_issue = certificate.is_ca() || (certificate.is_self_signed() && certificate.version() == 1);
        if !may_issue || needed.iter().any(|it| it.certificate == certificate) {
            continue;
        }
        let (kind, authenticated) = match certificate.is_self_signed() {
            true => (Kind::Anchor, roots.contains(&certificate)),
            false => {
                let chain =
                    ServerChain { names: Vec::new(), presented: vec![certificate.clone()], known: known.clone() };
                (Kind::Intermediate, chain.leads_to(&roots, &[]).is_some())
            }
        };
        needed.push(Needed { certificate, kind, from, authenticated });
    }
    needed.sort_by_key(|it| it.kind == Kind::Intermediate);
    needed
}

/// Whether a root is one that this computer trusts, or that the operator's thumbprint names.
fn sure(collected: &Collected, root: &Certificate) -> bool {
    let anchor = collected.servers().any(|it| it.completed().last().is_some_and(|der| der == root.der()));
    let named = matches!(&collected.named_root, Compared::Agrees { root: named, .. } if **named == *root);
    anchor || named || collected.download.got().is_some_and(|chains| chains.confirms(root))
}

/// Writes one file, or finds the same there already.
fn write(to: &Path, needed: &Needed) -> Result<PathBuf, (PathBuf, io::Error)> {
    let folder = to.join(match needed.kind {
        Kind::Anchor => "anchors",
        Kind::Intermediate => "intermediates",
    });
    std::fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))?;
    let sha256 = needed.certificate.fingerprint().to_string();
    let mark = if needed.authenticated { "" } else { ".unauthenticated" };
    let name = format!("{}-{}{mark}.pem", readable(&needed.certificate.label()), sha256.get(..12).unwrap_or_default());
    let path = folder.join(name);
    let pem = needed.certificate.to_pem();
    match create(&path, &pem) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match std::fs::read(&path) {
            Ok(there) if there == pem.as_bytes() => Ok(path),
            Ok(_) => Err((path, error)),
            Err(error) => Err((path, error)),
        },
        Err(error) => Err((path, error)),
        Ok(()) => Ok(path),
    }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// A certificate's name as part of a file's: small letters, digits and dashes.
fn readable(label: &str) -> String {
    let mut name = String::new();
    for c in label.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name: String = name.chars().take(48).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "certificate".to_owned() } else { name.to_owned() }
}

fn entry(to: &Path, file: &Path, needed: &Needed) -> String {
    let certificate = &needed.certificate;
    let file = file.strip_prefix(to).unwrap_or(file);
    let standing = match needed.authenticated {
        true => "trusted: it is, or leads to, a root that this computer trusts or that was named by its thumbprint",
        false => "UNAUTHENTICATED: nothing vouches for it; compare its thumbprint before use",
    };
    format!(
        "\n{}\n  {}\n  subject {}\n  issuer  {}\n  SHA-1   {}\n  SHA-256 {}\n  dates   {} to {}\n  from    {}\n",
        file.display(),
        standing,
        certificate.subject(),
        certificate.issuer(),
        certificate.sha1_thumbprint(),
        Thumbprint::Sha256(certificate.fingerprint()),
        date(certificate.not_before()),
        date(certificate.not_after()),
        needed.from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_no_folder_and_no_hidden_file() {
        assert_eq!(readable("Contoso Root CA (LAB)"), "contoso-root-ca-lab");
        assert_eq!(readable("../../etc/passwd"), "etc-passwd");
        assert_eq!(readable("…"), "certificate");
        assert_eq!(readable(&"x".repeat(300)).len(), 48);
    }
}
