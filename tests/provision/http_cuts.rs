//! The line to the service is cut at every TLS record of a whole job, in both directions: before it is passed on, in its
//! middle, and after it. So each exchange is cut before its request arrives, after it was acted upon, and within its answer.

use crate::bench::{Bench, Resumed, pool_settings, told};
use futures_util::{StreamExt, stream};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tethercert::provision::Outcome;
use tethercert::service::ocauth::Pool;
use tethercert::tls::Resolve;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many jobs run at once.
const AT_ONCE: usize = 4;

/// Which way a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// How much of the record is passed on before the line is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Much {
    Nothing,
    Half,
    All,
}

/// What becomes of the line after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It is whole again.
    Mended,
    /// Nobody answers any more.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    way: Way,
    /// The record of that way, from 1, over all connections.
    record: u64,
    much: Much,
    after: After,
}

#[derive(Default)]
struct Line {
    cut: Option<Cut>,
    records: [u64; 2],
    dead: bool,
}

/// Passes TLS records between the client and the lab, and cuts where it was told to.
struct Proxy {
    address: SocketAddr,
    line: Arc<Mutex<Line>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn start(server: SocketAddr, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Mutex::new(Line { cut, ..Line::default() }));
        let shared = line.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = shared.clone();
                if line.lock().unwrap().dead {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let gone = CancellationToken::new();
                    tokio::join!(
                        pass(from_client, to_server, Way::ToServer, &line, &gone),
                        pass(from_server, to_client, Way::ToClient, &line, &gone),
                    );
                });
            }
        });
        Self { address, line, task }
    }

    fn records(&self) -> [u64; 2] {
        self.line.lock().unwrap().records
    }

    fn revive(&self) {
        *self.line.lock().unwrap() = Line::default();
    }
}

/// Passes records one way until an end, or until the line is gone in either way.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    line: &Mutex<Line>,
    gone: &CancellationToken,
) {
    let records = async {
        loop {
            let mut record = vec![0; 5];
            if from.read_exact(&mut record).await.is_err() {
                return;
            }
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(5 + length, 0);
            if from.read_exact(&mut record[5..]).await.is_err() {
                return;
            }
            let cut = {
                let mut line = line.lock().unwrap();
                line.records[way as usize] += 1;
                let here = line.records[way as usize];
                let cut = line.cut.filter(|cut| cut.way == way && cut.record == here);
                line.dead |= cut.is_some_and(|cut| cut.after == After::Dead);
                cut
            };
            let much = match cut.map(|cut| cut.much) {
                Some(Much::Nothing) => 0,
                Some(Much::Half) => record.len() / 2,
                Some(Much::All) | None => record.len(),
            };
            if to.write_all(&record[..much]).await.is_err() || cut.is_some() {
                return;
            }
        }
    };
    tokio::select! {
        () = records => {}
        () = gone.cancelled() => {}
    }
    gone.cancel();
}

/// A pool that is reached through the proxy and nothing is known of yet.
fn pool(bench: &Bench, proxy: &Proxy) -> Pool {
    let mut settings = pool_settings(&bench.lab);
    for resolve in &mut settings.resolve {
        *resolve = Resolve { address: proxy.address, ..resolve.clone() };
    }
    Pool::new(settings).unwrap()
}

async fn run(bench: &Bench, pool: &Pool) -> Outcome {
    let outcome = bench.run_with(&bench.job(), &mut bench.answers(), &mut pool.enrolment()).await;
    bench.write_end(&outcome).await;
    outcome
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Word {
    Done,
    NotDone,
    Unknown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_cut_at_any_record_of_any_exchange_leaves_a_true_word_and_a_job_that_can_be_ended() {
    let bench = Bench::new().await;
    let proxy = Proxy::start(bench.lab.web().address(), None).await;
    let outcome = run(&bench, &pool(&bench, &proxy)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{}", told(&outcome));
    let requests: u64 = bench.lab.web().counters().requests.values().sum();
    let [to_server, to_client] = proxy.records();
    assert!(to_server >= requests && to_client >= requests, "{to_server} and {to_client} records, {requests} requests");

    // All of a record to the client is the same as nothing of the next one.
    let ways = [
        (Way::ToServer, to_server, &[Much::Nothing, Much::Half, Much::All][..]),
        (Way::ToClient, to_client, &[Much::Nothing, Much::Half][..]),
    ];
    let cuts = ways.into_iter().flat_map(|(way, records, much)| {
        (1..=records).flat_map(move |record| {
            much.iter().flat_map(move |much| {
                [After::Mended, After::Dead].map(move |after| Cut { way, record, much: *much, after })
            })
        })
    });
    let words: Vec<(Cut, Word)> = stream::iter(cuts).map(cut_at).buffered(AT_ONCE).collect().await;

    // Each word is spoken somewhere, also by a line that stays dead: a job that always said the same would prove nothing.
    for word in [Word::Done, Word::NotDone, Word::Unknown] {
        assert!(words.iter().any(|(_, said)| *said == word), "{word:?} never came in {words:?}");
    }
}

async fn cut_at(cut: Cut) -> (Cut, Word) {
    let bench = Bench::new().await;
    let proxy = Proxy::start(bench.lab.web().address(), Some(cut)).await;
    let pool = pool(&bench, &proxy);
    let outcome = run(&bench, &pool).await;
    let all = bench.lab.web().store().list_all();
    let word = match &outcome {
        Outcome::Done(receipt) => {
            assert_eq!(bench.phone().installed(), bench.published(), "{cut:?}: done");
            let publishing = receipt.publishing.as_ref().unwrap();
            assert!(all.len() == 1 || publishing.times() != "once", "{cut:?}: published {} times", all.len());
            Word::Done
        }
        Outcome::NotDone(_) => {
            assert!(all.is_empty(), "{cut:?}: not done, and something is published: {}", told(&outcome));
            assert_eq!(bench.phone().installed(), None, "{cut:?}");
            Word::NotDone
        }
        Outcome::Unknown(_) => {
            let sent = bench.written("publish_intended").await;
            assert!(!sent.is_empty(), "{cut:?}: unknown, and nothing was sent: {}", told(&outcome));
            assert_eq!(bench.phone().installed(), None, "{cut:?}");
            Word::Unknown
        }
        Outcome::Planned(_) => panic!("{cut:?}: nobody asked for a plan"),
    };

    proxy.revive();
    for end in bench.resume().await {
        let Resumed::Ran(Outcome::Done(_)) = end else {
            // Nothing had been begun, or not even the phone knew of it.
            assert_ne!(word, Word::Unknown, "{cut:?}: {end:?}");
            continue;
        };
    }
    assert_eq!(bench.ledger.unfinished().await.unwrap(), [], "{cut:?}");
    if word == Word::Unknown {
        assert!(bench.phone().installed().is_some(), "{cut:?}: resume ends it done");
    }
    let again = run(&bench, &pool).await;
    assert!(matches!(again, Outcome::Done(_)), "{cut:?}: the second run: {}", told(&again));
    assert_eq!(bench.phone().installed(), bench.published(), "{cut:?}");
    assert!(bench.ledger.verify().await.is_ok());
    (cut, word)
}
