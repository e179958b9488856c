//! A DNS server on loopback that answers TXT and MX questions from a table, over UDP.
//!
//! Ten fields of a packet written by hand: what the resolver sends is real, and so is what it gets.

#![allow(dead_code, reason = "a toolbox for every test; not every tool is in use at every time")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

const TXT: u16 = 16;
const MX: u16 = 15;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

type Table = Arc<Mutex<HashMap<(String, u16), Vec<Vec<u8>>>>>;

/// A server. Dropping it stops it.
pub struct DnsPeer {
    address: SocketAddr,
    table: Table,
    is_failing: Arc<Mutex<bool>>,
    task: JoinHandle<()>,
}

impl DnsPeer {
    /// Listens on a free port of 127.0.0.1 and knows nothing.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let table = Table::default();
        let is_failing = Arc::new(Mutex::new(false));
        let task = tokio::spawn(serve(socket, table.clone(), is_failing.clone()));
        Self { address, table, is_failing, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// From now on a name has these TXT records and no others.
    pub fn set_txt(&self, name: &str, records: &[&str]) {
        // A string of a record has 255 bytes at most.
        let written = records.iter().map(|record| {
            record.as_bytes().chunks(255).flat_map(|piece| [&[piece.len() as u8][..], piece].concat()).collect()
        });
        self.table.lock().unwrap().insert((name.to_ascii_lowercase(), TXT), written.collect());
    }

    /// From now on mail of this domain goes there.
    pub fn set_mx(&self, name: &str, host: &str) {
        let record = [&10_u16.to_be_bytes()[..], &labels(host)].concat();
        self.table.lock().unwrap().insert((name.to_ascii_lowercase(), MX), vec![record]);
    }

    /// Answers every question with SERVFAIL, or no longer.
    pub fn fail(&self, is_failing: bool) {
        *self.is_failing.lock().unwrap() = is_failing;
    }
}

impl Drop for DnsPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, table: Table, is_failing: Arc<Mutex<bool>>) {
    let mut packet = [0; 4096];
    while let Ok((n, from)) = socket.recv_from(&mut packet).await {
        let answer = answer(&packet[..n], &table, *is_failing.lock().unwrap());
        let _ = socket.send_to(&answer, from).await;
    }
}

fn answer(packet: &[u8], table: &Table, is_failing: bool) -> Vec<u8> {
    let mut at = 12;
    let mut name = Vec::new();
    while packet[at] != 0 {
        let n = usize::from(packet[at]);
        name.push(String::from_utf8_lossy(&packet[at + 1..at + 1 + n]).to_ascii_lowercase());
        at += n + 1;
    }
    let kind = u16::from_be_bytes([packet[at + 1], packet[at + 2]]);
    let question = &packet[12..at + 5];
    let found = table.lock().unwrap().get(&(name.join("."), kind)).cloned();
    let code = if is_failing { SERVFAIL } else { found.as_ref().map_or(NXDOMAIN, |_| 0) };
    let records = found.filter(|_| !is_failing).unwrap_or_default();
    let mut out = packet[..2].to_vec();
    // A response, recursion wanted and available.
    out.extend([0x81, 0x80 | code]);
    for n in [1, records.len() as u16, 0, 0] {
        out.extend(n.to_be_bytes());
    }
    out.extend(question);
    for record in records {
        // The question's name, class IN, a minute.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((record.len() as u16).to_be_bytes());
        out.extend(record);
    }
    out
}

fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}
