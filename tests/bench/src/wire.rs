//! HTTP/1.1 with as little around it as there can be: what it costs is what the machine asks for.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use testbed::Failure;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Whatever bytes go over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, kept for request after request.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
    body: Vec<u8>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Whole lines, each with its line end.
    pub(crate) headers: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// `GET path`.
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            headers: "",
            body: b"",
        }
    }
}

impl Wire {
    /// A connection without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Box::new(TcpStream::connect(address).await?)))
    }

    /// A connection with TLS: the certificate has to be for the address.
    pub(crate) async fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, stream)
            .await?;
        Ok(Self::over(Box::new(stream)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::new(stream),
            line: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sends a request, reads the answer to its end, and returns its status and body.
    pub(crate) async fn ask(&mut self, request: Request<'_>) -> Result<(u16, &[u8]), Failure> {
        let Request {
            method,
            path,
            headers,
            body,
        } = request;
        let mut sent = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        sent.extend_from_slice(body);
        self.stream.write_all(&sent).await?;
        self.stream.flush().await?;
        let status = self.read_line().await?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or("the answer has no status line")?;
        let (mut length, mut is_chunked) = (0_usize, false);
        loop {
            let line = self.read_line().await?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            match name {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        self.body.clear();
        if is_chunked {
            loop {
                let chunk = usize::from_str_radix(self.read_line().await?, 16)?;
                self.read_body(chunk).await?;
                self.read_line().await?;
                if chunk == 0 {
                    break;
                }
            }
        } else {
            self.read_body(length).await?;
        }
        Ok((status, &self.body))
    }

    /// Sends a request, and returns the body of an answer that is a success.
    pub(crate) async fn succeed(&mut self, request: Request<'_>) -> Result<String, Failure> {
        let (status, body) = self.ask(request).await?;
        let body = String::from_utf8_lossy(body).into_owned();
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(format!("{} {}: {status}: {body}", request.method, request.path).into())
        }
    }

    async fn read_line(&mut self) -> Result<&str, Failure> {
        self.line.clear();
        if self.stream.read_until(b'\n', &mut self.line).await? == 0 {
            return Err("the connection ended within an answer".into());
        }
        Ok(std::str::from_utf8(&self.line)?.trim_end())
    }

    async fn read_body(&mut self, length: usize) -> io::Result<()> {
        let from = self.body.len();
        self.body.resize(from + length, 0);
        let rest = self.body.get_mut(from..).unwrap_or_default();
        self.stream.read_exact(rest).await.map(drop)
    }
}
