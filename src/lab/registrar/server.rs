//! The listeners and their connections: TLS, one task for each connection, messages in order.

use super::service::{Conversation, Service};
use super::{Options, OwnNames, Registrar};
use crate::lab::listeners::listeners;
use crate::lab::web_services::FrontEnd;
use crate::registrar::message::Framer;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(super) async fn start(options: Options) -> io::Result<Registrar> {
    let (main, main_v6) = listeners(options.port).await?;
    let (home, home_v6) = listeners(0).await?;
    let (address, home_address) = (main.local_addr()?, home.local_addr()?);
    let ipv6 = main_v6.as_ref().map(TcpListener::local_addr).transpose()?;
    let own = options.server_name.clone();
    let names = OwnNames {
        front_ends: [FrontEnd::Fe01.to_string(), own.clone().unwrap_or_else(|| FrontEnd::Fe02.to_string())],
        reachable: own.unwrap_or_else(|| "localhost".to_owned()),
        port: address.port(),
        home_port: home_address.port(),
        sts_uri: options.sts_uri.clone(),
    };
    let service = Arc::new(Service::new(options, names)?);
    let numbers = Arc::new(AtomicU64::new(0));
    let all = [(Some(main), false), (main_v6, false), (Some(home), true), (home_v6, true)];
    let all = all.into_iter().filter_map(|(listener, at_home)| Some((listener?, at_home)));
    let tasks = all
        .map(|(listener, at_home)| tokio::spawn(serve(listener, at_home, Arc::clone(&service), Arc::clone(&numbers))));
    let tasks = tasks.collect();
    Ok(Registrar { service, address, ipv6, home: home_address, tasks })
}

async fn serve(listener: TcpListener, at_home: bool, service: Arc<Service>, numbers: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        // `fe02` has every odd connection and `fe01` every even one, where there are two of them.
        let other = at_home || service.faults().front_end_unaware && number.is_multiple_of(2);
        let server = if other { FrontEnd::Fe01 } else { FrontEnd::Fe02 };
        connections.spawn(converse(Arc::clone(&service), stream, Conversation::new(number, server, at_home, peer)));
    }
}

/// Answers one connection to its end. One that is no SIP is closed.
async fn converse(service: Arc<Service>, stream: TcpStream, mut conversation: Conversation) {
    let Ok(mut stream) = service.outer().accept(stream).await else { return };
    let (mut framer, mut buffer) = (Framer::new(), vec![0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => framer.feed(&buffer[..length]),
        }
        loop {
            match framer.next_message() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(message)) => {
                    let Some(answer) = service.answer(&mut conversation, &message) else { continue };
                    if stream.write_all(&answer.to_bytes()).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
