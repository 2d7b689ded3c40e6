//! The way of one replica to a bridge of its own: a proxy that can hold answers back.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// An HTTP proxy for `--bridge-proxy`, that leads every tunnel to one bridge, whichever is asked for.
pub(crate) struct Relay {
    pub(crate) url: String,
    answers: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Relay {
    /// One that leads to this bridge.
    pub(crate) async fn to(bridge: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, bridge).await
    }

    /// The same, from an address of its own, by which the bridge knows it.
    pub(crate) async fn from(own: Ipv4Addr, bridge: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, is_open) = watch::channel(true);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, (own, bridge), is_open.clone()));
            }
        });
        Self {
            url,
            answers,
            serving,
        }
    }

    /// Holds the bridge's answers back from now on: probes stay half done.
    pub(crate) fn hold_answers(&self) {
        self.answers.send_replace(false);
    }

    /// Lets them through.
    pub(crate) fn pass_answers(&self) {
        self.answers.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    (own, bridge): (Ipv4Addr, SocketAddr),
    mut answers: watch::Receiver<bool>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        request.push(byte);
    }
    let tunnel = b"HTTP/1.1 200 Connection established\r\n\r\n";
    if client.write_all(tunnel).await.is_err() {
        return;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((own, 0).into()).unwrap();
    let Ok(bridge) = socket.connect(bridge).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_bridge, mut to_bridge) = bridge.into_split();
    let there = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if to_bridge.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_bridge.read(&mut buffer).await {
            // Only fails when the test has ended.
            let _ = answers.wait_for(|open| *open).await;
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    // Whoever ends first, ends both.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
