//! Where the lab's servers listen: on this computer alone, by IPv4 and, where there is any, by IPv6.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::net::TcpListener;

/// A port of 127.0.0.1, any where it is 0, and the same of ::1 where this computer has it.
pub(in crate::lab) async fn listeners(port: u16) -> io::Result<(TcpListener, Option<TcpListener>)> {
    if port != 0 {
        let taken = |error: io::Error| io::Error::new(error.kind(), format!("port {port} of 127.0.0.1: {error}"));
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)?;
        return Ok((v4, TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok()));
    }
    for _ in 0..16 {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr()?.port())).await {
            Ok(v6) => return Ok((v4, Some(v6))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(_) => return Ok((v4, None)),
        }
    }
    Ok((TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, None))
}
