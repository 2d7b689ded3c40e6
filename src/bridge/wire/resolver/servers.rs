//! One question to the servers, as they are listed.
//!
//! A server has a head start over the next one, not an end: one that is slow is still listened to when the next is
//! asked, and what arrives first counts. One that refuses or fails is passed over at once.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use hickory_proto::rr::{Name, RecordType};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, interval_at, sleep},
};

use super::{
    config::{Config, Switch},
    wire::{Answer, Question, Reply},
};

/// Messages that one look-up may send. A Pod that may have 32 search domains needs 66 for a name that none of them knows.
const MAX_MESSAGES: usize = 256;

/// The largest datagram that is read. What is longer is cut off by the system, and then asked for by TCP.
const MAX_DATAGRAM: usize = 4_096;

/// No server has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// Asks for one look-up.
pub(super) struct Servers<'a> {
    config: &'a Config,
    /// The place in the list of the one that is asked first.
    first: usize,
    messages_left: AtomicUsize,
}

// === impl Servers ===

impl<'a> Servers<'a> {
    pub(super) fn new(config: &'a Config, first: usize) -> Self {
        Self {
            config,
            first,
            messages_left: AtomicUsize::new(MAX_MESSAGES),
        }
    }

    /// Asks for the addresses of one family. Within `share` each server is asked as often as the configuration says.
    /// After that an answer still counts: the future does not end while servers keep silent.
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        share: Duration,
    ) -> Result<Answer, NoAnswer> {
        let Config { servers, options, .. } = self.config;
        let count = u32::try_from(servers.len() * options.attempts).unwrap_or(u32::MAX);
        let head_start = (share / count.max(1)).min(options.timeout);
        // A round ends when every server has failed.
        for _ in 0..options.attempts {
            let mut waiting = servers.iter().cycle().skip(self.first).take(servers.len());
            let mut asked = FuturesUnordered::new();
            loop {
                let next = waiting.next();
                let is_last = next.is_none();
                if let Some(server) = next {
                    asked.push(self.ask_one(*server, name, kind, head_start));
                }
                tokio::select! {
                    reply = asked.next() => match reply {
                        Some(Ok(answer)) => return Ok(answer),
                        Some(Err(NoAnswer)) => {}
                        None => break,
                    },
                    () = sleep(head_start), if !is_last => {}
                }
            }
        }
        Err(NoAnswer)
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
        head_start: Duration,
    ) -> Result<Answer, NoAnswer> {
        let options = &self.config.options;
        let mut with_edns = options.has(Switch::Edns0);
        loop {
            let question = Question::new(name, kind, with_edns).ok_or(NoAnswer)?;
            let mut reply = if options.has(Switch::UseVc) {
                Reply::Truncated
            } else {
                self.by_udp(server, &question, head_start)
                    .await
                    .map_err(|_| NoAnswer)?
            };
            if reply == Reply::Truncated {
                reply = self.by_tcp(server, &question).await.map_err(|_| NoAnswer)?;
            }
            match reply {
                Reply::Answer(answer) => return Ok(answer),
                Reply::NotUnderstood if with_edns => with_edns = false,
                Reply::NotUnderstood | Reply::Failed | Reply::Truncated => return Err(NoAnswer),
            }
        }
    }

    /// Datagrams get lost: the question is asked again when every other server has had its turn. What does not answer
    /// it is passed over, and does not end the waiting.
    async fn by_udp(
        &self,
        server: SocketAddr,
        question: &Question,
        head_start: Duration,
    ) -> io::Result<Reply> {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        // From here on the system hands over what this server sends, and reports that it is not there.
        socket.connect(server).await?;
        let turn = head_start * u32::try_from(self.config.servers.len()).unwrap_or(u32::MAX);
        let turn = turn.max(Duration::from_millis(1));
        let mut again = interval_at(Instant::now() + turn, turn);
        let mut times_left = self.config.options.attempts - 1;
        self.count_message()?;
        socket.send(&question.bytes).await?;
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            tokio::select! {
                length = socket.recv(&mut buffer) => {
                    let datagram = buffer.get(..length?).unwrap_or_default();
                    match question.read(datagram) {
                        Some(_) if datagram.len() == MAX_DATAGRAM => return Ok(Reply::Truncated),
                        Some(reply) => return Ok(reply),
                        None => {}
                    }
                }
                _ = again.tick(), if times_left > 0 => {
                    times_left -= 1;
                    self.count_message()?;
                    socket.send(&question.bytes).await?;
                }
            }
        }
    }

    async fn by_tcp(&self, server: SocketAddr, question: &Question) -> io::Result<Reply> {
        self.count_message()?;
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(question.bytes.len()).map_err(io::Error::other)?;
        let message = [&length.to_be_bytes(), question.bytes.as_slice()].concat();
        stream.write_all(&message).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(question.read(&answer).unwrap_or(Reply::Failed))
    }

    fn count_message(&self) -> io::Result<()> {
        let fewer = |left: usize| left.checked_sub(1);
        self.messages_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
            .map(drop)
            .map_err(|_| io::Error::other("one look-up has asked too often"))
    }
}
