//! A DNS server that the test holds in its hand: it answers each question as it is told, and differently the next time.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use scim_bridge_operator::bridge::Names;
use tokio::{net::UdpSocket, task::JoinHandle};

/// Types of records (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;
const CNAME: u16 = 5;

/// What the server says to one question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These addresses, of the type that was asked for.
    Addresses(Vec<IpAddr>),
    /// The same by way of another name.
    Alias(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server fails.
    Failure,
    /// Nothing, ever.
    Silence,
    /// These bytes behind the header of an answer.
    Garbage(Vec<u8>),
}

/// A server on loopback, and the names that it was asked for.
pub(crate) struct NameServer {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// A server that answers each question by `reply`, which is given the name and whether IPv6 is asked for.
    pub(crate) async fn start(reply: impl FnMut(&str, bool) -> Reply + Send + 'static) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), reply).await.unwrap()
    }

    /// The same at this address, where the system permits it.
    pub(crate) async fn at(
        address: SocketAddr,
        mut reply: impl FnMut(&str, bool) -> Reply + Send + 'static,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr().unwrap();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let query = &buffer[..length];
                let (name, end) = read_name(query);
                let kind = u16::from_be_bytes([query[end], query[end + 1]]);
                asked.lock().unwrap().push(name.clone());
                if let Some(answer) = answer(query, end + 4, kind, &reply(&name, kind == AAAA)) {
                    socket.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        Ok(Self {
            address,
            questions,
            serving,
        })
    }

    /// Looks names up at this server.
    pub(crate) fn names(&self) -> Names {
        Names::by(self.address)
    }

    /// How many questions there were.
    pub(crate) fn questions(&self) -> usize {
        self.questions.lock().unwrap().len()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The name in a question, and where it ends.
fn read_name(query: &[u8]) -> (String, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

fn answer(query: &[u8], question_end: usize, kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (code, records, alias) = match reply {
        Reply::Silence => return None,
        Reply::NoSuchName => (3, Vec::new(), false),
        Reply::Failure => (2, Vec::new(), false),
        Reply::Garbage(bytes) => {
            let mut message = header(query, 0, 200);
            message.extend_from_slice(&query[12..question_end]);
            message.extend_from_slice(bytes);
            return Some(message);
        }
        Reply::Addresses(addresses) => (0, of_kind(addresses, kind), false),
        Reply::Alias(addresses) => (0, of_kind(addresses, kind), true),
    };
    let count = u16::try_from(records.len()).unwrap() + u16::from(alias);
    let mut message = header(query, code, count);
    message.extend_from_slice(&query[12..question_end]);
    // The name of the question, by a pointer to it.
    let mut owner = vec![0xc0, 12];
    if alias {
        let target = b"\x05alias\x04test\x00";
        message.extend_from_slice(&record(&owner, CNAME, target));
        owner = target.to_vec();
    }
    for data in records {
        message.extend_from_slice(&record(&owner, kind, &data));
    }
    Some(message)
}

fn of_kind(addresses: &[IpAddr], kind: u16) -> Vec<Vec<u8>> {
    let wanted = addresses.iter().filter_map(|address| match (address, kind) {
        (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
        (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
        _ => None,
    });
    wanted.collect()
}

/// The header of an answer: an authority's, with recursion.
fn header(query: &[u8], code: u8, answers: u16) -> Vec<u8> {
    let [high, low] = answers.to_be_bytes();
    vec![query[0], query[1], 0x85, 0x80 | code, 0, 1, high, low, 0, 0, 0, 0]
}

/// A record that must not be kept: its time to live is 0.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    record.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend_from_slice(data);
    record
}
