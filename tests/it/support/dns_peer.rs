//! A DNS server on loopback that answers TXT, MX and A questions from a table, over UDP and TCP, and remembers what it was asked.
//!
//! Ten fields of a packet written by hand: what the resolver sends is real, and so is what it gets.

#![allow(dead_code, reason = "a toolbox for every test; not every tool is in use at every time")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{JoinHandle, JoinSet},
};

const A: u16 = 1;
const TXT: u16 = 16;
const MX: u16 = 15;
/// Longer answers are given over TCP only.
const MAX_UDP_BYTES: usize = 512;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

type Table = Arc<Mutex<HashMap<(String, u16), Vec<Vec<u8>>>>>;

/// A server. Dropping it stops it.
pub struct DnsPeer {
    address: SocketAddr,
    table: Table,
    is_failing: Arc<Mutex<bool>>,
    failing: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<((), ())>,
}

impl DnsPeer {
    /// Listens on a free port of 127.0.0.1 and knows nothing.
    pub async fn start() -> Self {
        let (socket, listener) = bind().await;
        let address = socket.local_addr().unwrap();
        let table = Table::default();
        let is_failing = Arc::new(Mutex::new(false));
        let (failing, asked) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let mind = Mind {
            table: table.clone(),
            is_failing: is_failing.clone(),
            failing: failing.clone(),
            asked: asked.clone(),
        };
        let task = tokio::spawn(async move { tokio::join!(serve(socket, mind.clone()), serve_tcp(listener, mind)) });
        Self { address, table, is_failing, failing, asked, task }
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
        self.set_mxs(name, &[(10, host)]);
    }

    /// From now on mail of this domain goes to these hosts, by preference. The host `.` is none.
    pub fn set_mxs(&self, name: &str, hosts: &[(u16, &str)]) {
        let record = |(preference, host): &(u16, &str)| [&preference.to_be_bytes()[..], &labels(host)].concat();
        self.table.lock().unwrap().insert((name.to_ascii_lowercase(), MX), hosts.iter().map(record).collect());
    }

    /// From now on a host has these addresses; none of them: it is there without any.
    pub fn set_a(&self, name: &str, addresses: &[&str]) {
        let records = addresses.iter().map(|address| address.parse::<Ipv4Addr>().unwrap().octets().to_vec());
        self.table.lock().unwrap().insert((name.to_ascii_lowercase(), A), records.collect());
    }

    /// Answers every question about this name with SERVFAIL from now on.
    pub fn fail_at(&self, name: &str) {
        self.failing.lock().unwrap().push(name.to_ascii_lowercase());
    }

    /// The names that it was asked for the mail servers of, in order.
    pub fn asked_for_mx(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
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

/// The same free port for both.
async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
}

/// What is answered from.
#[derive(Clone)]
struct Mind {
    table: Table,
    is_failing: Arc<Mutex<bool>>,
    failing: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mind {
    fn answer(&self, packet: &[u8]) -> Vec<u8> {
        let (name, kind, end) = question(packet);
        if kind == MX {
            self.asked.lock().unwrap().push(name.clone());
        }
        let is_failing = *self.is_failing.lock().unwrap() || self.failing.lock().unwrap().contains(&name);
        answer(&packet[..end], &name, kind, &self.table, is_failing)
    }
}

async fn serve(socket: UdpSocket, mind: Mind) {
    let mut packet = [0; 4096];
    while let Ok((n, from)) = socket.recv_from(&mut packet).await {
        let mut answer = mind.answer(&packet[..n]);
        if answer.len() > MAX_UDP_BYTES {
            // Truncated: the question with no answer, to be asked over TCP.
            answer.truncate(question(&packet[..n]).2);
            answer[2] |= 0x02;
            answer[6..12].fill(0);
        }
        let _ = socket.send_to(&answer, from).await;
    }
}

async fn serve_tcp(listener: TcpListener, mind: Mind) {
    // The set is dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, mind.clone()));
    }
}

async fn converse(mut stream: TcpStream, mind: Mind) {
    while let Ok(n) = stream.read_u16().await {
        let mut packet = vec![0; usize::from(n)];
        if stream.read_exact(&mut packet).await.is_err() {
            break;
        }
        let answer = mind.answer(&packet);
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).await.is_err() {
            break;
        }
    }
}

/// The name, the type, and where the question ends.
fn question(packet: &[u8]) -> (String, u16, usize) {
    let mut at = 12;
    let mut name = Vec::new();
    while packet[at] != 0 {
        let n = usize::from(packet[at]);
        name.push(String::from_utf8_lossy(&packet[at + 1..at + 1 + n]).to_ascii_lowercase());
        at += n + 1;
    }
    (name.join("."), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
}

fn answer(packet: &[u8], name: &str, kind: u16, table: &Table, is_failing: bool) -> Vec<u8> {
    let question = &packet[12..];
    let table = table.lock().unwrap();
    let found = table.get(&(name.to_owned(), kind)).cloned();
    let is_known = table.keys().any(|(known, _)| known == name);
    let code = if is_failing { SERVFAIL } else { NXDOMAIN * u8::from(!is_known) };
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
