//! OpenSSL as the server's side: TLS 1.0 with CBC ciphers and RSA key exchange, as front ends of the era had it.

use super::{Agreed, Closed, LABEL, records};
use crate::lab::pki::ServerIdentity;
use crate::lab::web_services::{LabTls, tls};
use openssl::error::ErrorStack;
use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslOptions, SslSessionCacheMode, SslStream, SslVerifyMode,
    SslVersion,
};
use std::io::{self, Read, Write};

#[derive(Clone)]
pub(super) struct Kit(SslContext);

pub(in crate::lab::registrar) enum Server {
    Shaking(MidHandshakeSslStream<Pipe>),
    Shaken(SslStream<Pipe>),
    Broken,
}

/// Where the engine reads and writes: what came and what is to go.
#[derive(Debug, Default)]
pub(in crate::lab::registrar) struct Pipe {
    came: Vec<u8>,
    goes: Vec<u8>,
}

impl Kit {
    pub(super) fn new(pool: LabTls, identity: &ServerIdentity) -> io::Result<Self> {
        // Where rustls stands beside it, it is there for whoever has no TLS 1.2 or none of its ciphers.
        let newest = match pool {
            LabTls::Modern => SslVersion::TLS1_2,
            LabTls::OnlyTls10 => SslVersion::TLS1,
        };
        let context = || -> Result<SslContext, ErrorStack> {
            let mut context = tls::old::context(newest, &identity.presented, &identity.key)?;
            context.set_options(SslOptions::NO_TICKET);
            context.set_session_cache_mode(SslSessionCacheMode::OFF);
            // Any certificate, since the store and not a chain says whose it is; that its key has signed is always checked.
            context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
            Ok(context.build())
        };
        context().map(Self).map_err(io::Error::other)
    }

    pub(super) fn server(&self) -> Result<Server, Closed> {
        let ssl = Ssl::new(&self.0).map_err(|error| Closed::Refused(error.to_string()))?;
        Server::of(ssl.accept(Pipe::default()))
    }
}

impl Server {
    fn of(handshake: Result<SslStream<Pipe>, HandshakeError<Pipe>>) -> Result<Self, Closed> {
        match handshake {
            Ok(stream) => Ok(Self::Shaken(stream)),
            Err(HandshakeError::WouldBlock(on)) => Ok(Self::Shaking(on)),
            Err(HandshakeError::Failure(failed)) => Err(Closed::Refused(failed.error().to_string())),
            Err(HandshakeError::SetupFailure(error)) => Err(Closed::Refused(error.to_string())),
        }
    }

    pub(super) fn step(&mut self, records: &[u8]) -> Result<Vec<u8>, Closed> {
        let Self::Shaking(mut on) = std::mem::replace(self, Self::Broken) else {
            return Err(Closed::Refused("records after the end of the handshake".to_owned()));
        };
        on.get_mut().came.extend_from_slice(records);
        *self = Self::of(on.handshake())?;
        let pipe = match self {
            Self::Shaking(on) => on.get_mut(),
            Self::Shaken(stream) => stream.get_mut(),
            Self::Broken => return Ok(Vec::new()),
        };
        Ok(records::joined(&std::mem::take(&mut pipe.goes)))
    }

    pub(super) fn finished(&self) -> Option<Agreed> {
        let Self::Shaken(stream) = self else { return None };
        let ssl = stream.ssl();
        let mut material = [0; 128];
        ssl.export_keying_material(&mut material, LABEL, None).ok()?;
        let suite = ssl.current_cipher()?.standard_name()?.to_owned();
        let version = match ssl.version2()? {
            SslVersion::TLS1 => "TLS 1.0",
            SslVersion::TLS1_1 => "TLS 1.1",
            _ => "TLS 1.2",
        };
        Some(Agreed::new(material, version, suite, ssl.peer_certificate()?.to_der().ok()?))
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.came.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.came.len());
        buffer[..length].copy_from_slice(&self.came[..length]);
        self.came.drain(..length);
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.goes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
