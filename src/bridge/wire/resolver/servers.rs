//! Asks one question of the servers, in their order.
//!
//! A server has a head start over the next one. A slow server may still answer after that, and the first answer counts.
//! If a server refuses or fails, the next one is asked at once.

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
    message::{Answer, Question, Reply},
};

/// Most messages of one look-up. A Pod may have 32 search domains. A name that none of them knows then takes 66
/// messages.
const MAX_MESSAGES: usize = 256;

/// The largest datagram that is read. The system cuts a longer one off, and TCP then gets the whole answer.
const MAX_DATAGRAM: usize = 4_096;

/// No server has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// The servers for one look-up.
pub(super) struct Servers<'a> {
    config: &'a Config,
    /// The index of the server that is asked first.
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

    /// Asks for the addresses of one family. Within `share`, each server is asked as often as the configuration says.
    /// An answer after that still counts: the future does not end while servers are silent.
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

    /// Asks by UDP. A datagram may get lost, so the question is repeated when every other server has had its head
    /// start. A datagram that does not answer the question is ignored.
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
        // The system then delivers only this server's datagrams, and reports if nothing listens there.
        socket.connect(server).await?;
        let round = head_start * u32::try_from(self.config.servers.len()).unwrap_or(u32::MAX);
        let round = round.max(Duration::from_millis(1));
        let mut repeat = interval_at(Instant::now() + round, round);
        let mut repeats_left = self.config.options.attempts - 1;
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
                _ = repeat.tick(), if repeats_left > 0 => {
                    repeats_left -= 1;
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
            .map_err(|_| io::Error::other("the look-up has sent too many messages"))
    }
}
