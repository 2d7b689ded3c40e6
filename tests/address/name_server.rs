//! A DNS server that the test controls: each question has the answer that the test gives, and another one the next time.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
};

use scim_bridge_operator::bridge::Names;
use testbed::scratch::Scratch;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// Types of records (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;
const CNAME: u16 = 5;

/// What the server says to one question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These addresses, of the type that was asked for.
    Addresses(Vec<IpAddr>),
    /// The same by way of other names, each an alias of the next.
    Aliases(usize, Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server fails (SERVFAIL).
    Failure,
    /// A header with this code, without the question.
    Code(u8),
    /// Neither an answer nor an offer to look for one.
    Lame,
    /// By UDP only that the answer is too long; by TCP these addresses.
    TooLong(Vec<IpAddr>),
    /// Answers to other questions, and then these addresses.
    LateAmongForeign(Vec<IpAddr>),
    /// Datagrams that are no messages, and then these addresses.
    LateAmongShort(Vec<IpAddr>),
    /// These addresses, with the question in capitals.
    Capitals(Vec<IpAddr>),
    /// These addresses, of another name.
    OfAnotherName(Vec<IpAddr>),
    /// These addresses, followed by bytes that are no records though the header counts them.
    BrokenBehind(Vec<IpAddr>),
    /// Nothing, ever.
    Silence,
    /// These bytes behind the header of an answer.
    Garbage(Vec<u8>),
}

/// A question that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the last dot.
    pub(crate) name: String,
    pub(crate) is_v6: bool,
    pub(crate) by_tcp: bool,
    pub(crate) has_edns: bool,
}

/// A server on loopback, and what it was asked.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
    serving: [JoinHandle<()>; 2],
    files: Arc<Scratch>,
}

/// Says what to reply.
type Answers = dyn FnMut(&Question) -> Reply + Send;

/// What both ways to the server share.
#[derive(Clone)]
struct Desk {
    questions: Arc<Mutex<Vec<Question>>>,
    reply: Arc<Mutex<Answers>>,
}

impl NameServer {
    /// A server that answers each question by `reply`, which is given the name and whether IPv6 is asked for.
    pub(crate) async fn start(mut reply: impl FnMut(&str, bool) -> Reply + Send + 'static) -> Self {
        let reply = move |question: &Question| reply(&question.name, question.is_v6);
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), reply).await.unwrap()
    }

    /// The same at this address, where the system permits it.
    pub(crate) async fn at(
        address: SocketAddr,
        reply: impl FnMut(&Question) -> Reply + Send + 'static,
    ) -> io::Result<Self> {
        let (listener, socket) = both(address).await?;
        let address = socket.local_addr()?;
        let questions = Arc::new(Mutex::new(Vec::new()));
        let desk = Desk {
            questions: Arc::clone(&questions),
            reply: Arc::new(Mutex::new(reply)),
        };
        let files = Scratch::new("names")?;
        fs::write(
            files.path().join("resolv.conf"),
            format!("nameserver {}\n", address.ip()),
        )?;
        Ok(Self {
            address,
            questions,
            serving: [
                tokio::spawn(desk.clone().serve_udp(socket)),
                tokio::spawn(desk.serve_tcp(listener)),
            ],
            files,
        })
    }

    /// Looks names up at this server.
    pub(crate) fn names(&self) -> Names {
        self.names_by(&self.files.path().join("no-hosts"))
    }

    /// The same with this hosts file.
    pub(crate) fn names_by(&self, hosts: &Path) -> Names {
        Names::by(
            self.files.path().join("resolv.conf"),
            hosts.to_owned(),
            self.address.port(),
        )
    }

    /// How many questions there were.
    pub(crate) fn questions(&self) -> usize {
        self.questions.lock().unwrap().len()
    }

    /// What was asked, in the order of arrival.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

/// The same port for TCP and UDP.
async fn both(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut attempts = 0;
    loop {
        let listener = TcpListener::bind(address).await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(socket) => return Ok((listener, socket)),
            Err(error) if address.port() != 0 || attempts >= 100 => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.serving {
            task.abort();
        }
    }
}

impl Desk {
    async fn serve_udp(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        loop {
            // An error is about a peer that has gone.
            let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            for answer in self.answers(&buffer[..length], false) {
                let _ = socket.send_to(&answer, peer).await;
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let desk = self.clone();
            // Ends when the peer goes.
            tokio::spawn(async move {
                let _ = desk.converse(stream).await;
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await?;
            for answer in self.answers(&query, true) {
                stream.write_u16(answer.len().try_into().unwrap()).await?;
                stream.write_all(&answer).await?;
            }
        }
    }

    fn answers(&self, query: &[u8], by_tcp: bool) -> Vec<Vec<u8>> {
        let (name, end) = read_name(query);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let question = Question {
            name,
            is_v6: kind == AAAA,
            by_tcp,
            has_edns: query.len() > end + 4,
        };
        self.questions.lock().unwrap().push(question.clone());
        let reply = (self.reply.lock().unwrap())(&question);
        if matches!(reply, Reply::Silence) {
            return Vec::new();
        }
        let right = answer(&query[..end + 4], kind, by_tcp, &reply);
        if matches!(reply, Reply::LateAmongForeign(_)) {
            // Another number; another name of the same length; a question.
            let (mut number, mut name, mut echo) = (right.clone(), right.clone(), right.clone());
            number[0] ^= 0xff;
            name[13] ^= 0x03;
            echo[2] &= 0x7f;
            vec![number, name, echo, right]
        } else if matches!(reply, Reply::LateAmongShort(_)) {
            vec![Vec::new(), right[..9].to_vec(), right]
        } else {
            vec![right]
        }
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

/// The answer to `asked`: a header and one question.
fn answer(asked: &[u8], kind: u16, by_tcp: bool, reply: &Reply) -> Vec<u8> {
    // An authority's flags, with recursion.
    let (mut flags, mut code, mut aliases) = (0x85, 0x80, 0);
    let mut records = Vec::new();
    match reply {
        Reply::Silence => {}
        Reply::Code(code) => {
            return [&asked[..2], &[0x85, 0x80 | code], &[0; 8]].concat();
        }
        Reply::NoSuchName => code |= 3,
        Reply::Failure => code |= 2,
        Reply::Lame => (flags, code) = (0x81, 0),
        Reply::TooLong(_) if !by_tcp => flags |= 2,
        Reply::Garbage(bytes) => {
            let header = [&asked[..2], &[flags, code, 0, 1, 0, 200, 0, 0, 0, 0]].concat();
            return [&header, &asked[12..], bytes].concat();
        }
        Reply::Aliases(count, addresses) => {
            aliases = *count;
            records = of_kind(addresses, kind);
        }
        Reply::Addresses(addresses)
        | Reply::TooLong(addresses)
        | Reply::LateAmongForeign(addresses)
        | Reply::LateAmongShort(addresses)
        | Reply::Capitals(addresses)
        | Reply::OfAnotherName(addresses)
        | Reply::BrokenBehind(addresses) => records = of_kind(addresses, kind),
    }
    let [high, low] = u16::try_from(records.len() + aliases).unwrap().to_be_bytes();
    let behind = u8::from(matches!(reply, Reply::BrokenBehind(_)));
    let mut message = [&asked[..2], &[flags, code, 0, 1, high, low, 0, behind, 0, behind]].concat();
    let mut question = asked[12..].to_vec();
    if matches!(reply, Reply::Capitals(_)) {
        question.make_ascii_uppercase();
    }
    message.extend_from_slice(&question);
    let mut owner = if matches!(reply, Reply::OfAnotherName(_)) {
        b"\x05other\x04test\x00".to_vec()
    } else {
        // The name of the question, by a pointer to it.
        vec![0xc0, 12]
    };
    for number in 0..aliases {
        let label = format!("alias{number}");
        let length = u8::try_from(label.len()).unwrap();
        let target = [&[length], label.as_bytes(), b"\x04test\x00"].concat();
        message.extend_from_slice(&record(&owner, CNAME, &target));
        owner = target;
    }
    for data in records {
        message.extend_from_slice(&record(&owner, kind, &data));
    }
    if behind > 0 {
        message.extend_from_slice(&[0xff; 7]);
    }
    message
}

fn of_kind(addresses: &[IpAddr], kind: u16) -> Vec<Vec<u8>> {
    let wanted = addresses.iter().filter_map(|address| match (address, kind) {
        (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
        (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
        _ => None,
    });
    wanted.collect()
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
