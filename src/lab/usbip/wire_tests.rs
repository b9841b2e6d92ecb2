//! The server against a host whose every byte is written by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Exporter;
use super::echo::*;
use super::tests::{bench, echo, open};

/// A host that says exactly what the test wants, in bytes written by hand.
struct Raw(TcpStream);

impl Raw {
    async fn import(exporter: &Exporter, bus_id: &str) -> (Self, [u8; 8]) {
        let mut raw = Self(TcpStream::connect(exporter.address()).await.unwrap());
        let mut request = vec![0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0];
        request.extend(bus_id.as_bytes());
        request.resize(40, 0);
        raw.0.write_all(&request).await.unwrap();
        let mut reply = [0; 8];
        raw.0.read_exact(&mut reply).await.unwrap();
        (raw, reply)
    }

    /// Imports, reads the record, and makes configuration 1 the active one with transfer 1.
    async fn configured(exporter: &Exporter) -> (Self, u32) {
        let (mut raw, reply) = Self::import(exporter, "1-1").await;
        assert_eq!(reply, [0x01, 0x11, 0x00, 0x03, 0, 0, 0, 0]);
        let mut record = [0; 312];
        raw.0.read_exact(&mut record).await.unwrap();
        let word = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
        let device = word(288) << 16 | word(292);
        raw.submit(1, device, 0x00, 0, [0, 9, 1, 0, 0, 0, 0, 0], b"").await;
        assert_eq!(raw.answer(0).await, ([3, 1, 0, 0, 0, 0, 0], vec![]));
        (raw, device)
    }

    async fn submit(&mut self, sequence: u32, device: u32, endpoint: u8, length: u32, setup: [u8; 8], data: &[u8]) {
        let is_in = u32::from(endpoint >> 7);
        let words = [1, sequence, device, is_in, u32::from(endpoint & 15), 0, length, 0, 0xffff_ffff, 0];
        self.send(&words, setup, data).await;
    }

    async fn unlink(&mut self, sequence: u32, device: u32, target: u32) {
        self.send(&[2, sequence, device, 0, 0, target, 0, 0, 0, 0], [0; 8], b"").await;
    }

    async fn send(&mut self, words: &[u32; 10], setup: [u8; 8], data: &[u8]) {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(setup);
        bytes.extend(data);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Command, sequence, device, direction, endpoint, status, length; then `data` bytes.
    async fn answer(&mut self, data: usize) -> ([i32; 7], Vec<u8>) {
        let mut bytes = vec![0; 48 + data];
        self.0.read_exact(&mut bytes).await.unwrap();
        let words = std::array::from_fn(|at| i32::from_be_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap()));
        assert!(bytes[28..48].iter().all(|byte| *byte == 0), "padding is zero");
        (words, bytes.split_off(48))
    }

    async fn ends(mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn several_transfers_wait_on_one_endpoint_and_are_filled_in_their_order() {
    let (exporter, _) = bench(&["4711"]).await;
    let (mut raw, device) = Raw::configured(&exporter).await;
    for sequence in 2..5 {
        raw.submit(sequence, device, BULK_IN, 512, [0; 8], b"").await;
    }
    raw.submit(5, device, MUTE_IN, 512, [0; 8], b"").await;
    raw.submit(6, device, RAW_OUT, 3, [0; 8], b"one").await;
    assert_eq!(raw.answer(3).await, ([3, 2, 0, 0, 0, 0, 3], b"one".to_vec()));
    assert_eq!(raw.answer(0).await, ([3, 6, 0, 0, 0, 0, 3], vec![]));
    raw.submit(7, device, RAW_OUT, 0, [0; 8], b"").await;
    assert_eq!(raw.answer(0).await, ([3, 3, 0, 0, 0, 0, 0], vec![]));
    assert_eq!(raw.answer(0).await, ([3, 7, 0, 0, 0, 0, 0], vec![]));
    assert_eq!(exporter.transfers("1-1"), 7);
}

#[tokio::test]
async fn a_withdrawal_says_whether_it_came_in_time() {
    let (exporter, _) = bench(&["4711"]).await;
    let (mut raw, device) = Raw::configured(&exporter).await;
    raw.submit(2, device, BULK_IN, 512, [0; 8], b"").await;
    raw.submit(3, device, BULK_IN, 512, [0; 8], b"").await;
    raw.unlink(4, device, 2).await;
    assert_eq!(raw.answer(0).await, ([4, 4, 0, 0, 0, -104, 0], vec![]));
    // What comes now is for the transfer that still waits.
    raw.submit(5, device, RAW_OUT, 3, [0; 8], b"two").await;
    assert_eq!(raw.answer(3).await, ([3, 3, 0, 0, 0, 0, 3], b"two".to_vec()));
    assert_eq!(raw.answer(0).await, ([3, 5, 0, 0, 0, 0, 3], vec![]));
    raw.unlink(6, device, 3).await;
    assert_eq!(raw.answer(0).await, ([4, 6, 0, 0, 0, 0, 0], vec![]));
}

#[tokio::test]
async fn a_halt_refuses_what_waits_and_a_packet_too_large_overflows() {
    let (exporter, _) = bench(&["4711"]).await;
    let (mut raw, device) = Raw::configured(&exporter).await;
    raw.submit(2, device, BULK_IN, 4, [0; 8], b"").await;
    raw.submit(3, device, RAW_OUT, 8, [0; 8], b"too much").await;
    assert_eq!(raw.answer(4).await, ([3, 2, 0, 0, 0, -75, 4], b"too ".to_vec()));
    assert_eq!(raw.answer(0).await, ([3, 3, 0, 0, 0, 0, 8], vec![]));
    raw.submit(4, device, BULK_IN, 512, [0; 8], b"").await;
    raw.submit(5, device, 0x00, 0, [0x40, HALT, 0, 0, BULK_IN, 0, 0, 0], b"").await;
    assert_eq!(raw.answer(0).await, ([3, 4, 0, 0, 0, -32, 0], vec![]));
    assert_eq!(raw.answer(0).await, ([3, 5, 0, 0, 0, 0, 0], vec![]));
    raw.submit(6, device, 0x80, 2, [0x82, 0, 0, 0, BULK_IN, 0, 2, 0], b"").await;
    assert_eq!(raw.answer(2).await, ([3, 6, 0, 0, 0, 0, 2], vec![1, 0]));
}

#[tokio::test]
async fn a_device_in_use_and_one_that_is_not_there_are_refused_with_different_words() {
    let (exporter, _) = bench(&["4711"]).await;
    let (raw, _) = Raw::configured(&exporter).await;
    let (second, reply) = Raw::import(&exporter, "1-1").await;
    assert_eq!(reply, [0x01, 0x11, 0x00, 0x03, 0, 0, 0, 2]);
    assert!(second.ends().await);
    let (unknown, reply) = Raw::import(&exporter, "9-9").await;
    assert_eq!(reply, [0x01, 0x11, 0x00, 0x03, 0, 0, 0, 4]);
    assert!(unknown.ends().await);
    drop(raw);
}

#[tokio::test]
async fn a_host_that_keeps_to_no_rule_is_shown_out_and_the_device_is_free() {
    let (exporter, usb) = bench(&["4711"]).await;
    for nonsense in 0..3 {
        let (mut raw, device) = Raw::configured(&exporter).await;
        match nonsense {
            0 => raw.send(&[9, 2, device, 0, 0, 0, 0, 0, 0, 0], [0; 8], b"").await,
            1 => raw.submit(2, device + 1, BULK_IN, 512, [0; 8], b"").await,
            _ => raw.submit(2, device, BULK_IN, u32::MAX, [0; 8], b"").await,
        }
        assert!(raw.ends().await, "{nonsense}");
    }
    let mut stranger = TcpStream::connect(exporter.address()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(Raw(stranger).ends().await);
    assert_eq!(echo(&mut open(&usb).await, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn data_endpoints_are_dead_until_a_configuration_is_active() {
    let (exporter, _) = bench(&["4711"]).await;
    let (mut raw, device) = Raw::configured(&exporter).await;
    raw.submit(2, device, 0x00, 0, [0, 9, 0, 0, 0, 0, 0, 0], b"").await;
    assert_eq!(raw.answer(0).await.0[5], 0);
    raw.submit(3, device, BULK_IN, 512, [0; 8], b"").await;
    assert_eq!(raw.answer(0).await.0[5], -32);
    raw.submit(4, device, 0x00, 0, [0, 9, 2, 0, 0, 0, 0, 0], b"").await;
    assert_eq!(raw.answer(0).await.0[5], -32, "there is no configuration 2");
}
