//! The SCIM side of a bridge: scim2-server, an independent implementation with real bearer authentication, in memory.
//!
//! It answers below `/scim` (`/scim/Users`, `/scim/Groups`, `/scim/ServiceProviderConfig`) as HTTP/1.0, one thread for
//! each request and one lock around its data.

use std::{io, net::SocketAddr, time::Duration};

use http::{Request, header};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    failure::debug_is_message,
    loopback::{self, HttpError, free_port},
    scratch::Scratch,
    supervise::{Launch, Process, SuperviseError},
    tools::{self, ToolsError},
    workspace,
};

/// The first start compiles Python files.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// A port that was free may be taken when the server gets to it.
const PORT_TRIES: u32 = 4;
/// The part of the path before the resource types: where a bridge has them.
const TENANT: &str = "scim";

/// The SCIM server cannot be started, or refuses something.
#[derive(Error)]
pub enum ScimError {
    /// It is not installed, and cannot be.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// It does not start.
    #[error(transparent)]
    Process(#[from] SuperviseError),
    /// Scratch files cannot be written, or no port is free.
    #[error("cannot prepare the SCIM server's files and ports")]
    Files(#[from] io::Error),
    /// It does not answer, or refuses.
    #[error("the SCIM server: {request}")]
    Request {
        /// What was asked.
        request: String,
        /// Its answer.
        source: HttpError,
    },
    /// It answers with something else than SCIM.
    #[error("the SCIM server's answer is not JSON")]
    Format(#[from] serde_json::Error),
}
debug_is_message!(ScimError);

/// A running SCIM server. Dropped, it is gone, and its users and groups with it.
#[derive(Debug)]
pub struct ScimServer {
    process: Process,
    address: SocketAddr,
    key: String,
}

impl ScimServer {
    /// Starts an empty server on loopback that accepts this bearer key and no other.
    ///
    /// The key is an argument of the process, where everybody on the machine can read it: use keys that open nothing.
    pub async fn start(key: &str) -> Result<Self, ScimError> {
        // The interpreter of its environment lies beside it.
        let python = tools::scim2_server(&mut io::stderr())
            .await?
            .with_file_name("python");
        let mut tries = 1;
        loop {
            let address = loopback::at(free_port()?);
            let launch = Launch::new("scim2-server", &python)
                .arg("-I")
                .arg(workspace::testbed().join("scim/serve.py"))
                .arg(format!("--hostname={}", address.ip()))
                .arg(format!("--port={}", address.port()))
                .arg(format!("--tenant={TENANT}"))
                // One word: a key may begin with a dash.
                .arg(format!("--bearer-token={key}"));
            let process = launch.start(&Scratch::new("scim")?)?;
            let server = Self {
                process,
                address,
                key: key.to_owned(),
            };
            // Its own key is asked for: another server that took the port meanwhile would refuse it.
            match server
                .process
                .ready(START_DEADLINE, "an answer", async || server.users().await)
                .await
            {
                Ok(_) => return Ok(server),
                Err(SuperviseError::Ended { tail, .. })
                    if tail.contains("Address already in use") && tries < PORT_TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its SCIM base, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/{TENANT}", self.address)
    }

    /// The key that it accepts.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The process, for its logs and to stop, freeze or kill it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Creates a user, and returns its id.
    pub async fn create_user(&self, user_name: &str) -> Result<String, ScimError> {
        let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
        self.create("Users", &json!({"schemas": [schema], "userName": user_name}))
            .await
    }

    /// Creates an empty group, and returns its id.
    pub async fn create_group(&self, display_name: &str) -> Result<String, ScimError> {
        let schema = "urn:ietf:params:scim:schemas:core:2.0:Group";
        self.create(
            "Groups",
            &json!({"schemas": [schema], "displayName": display_name}),
        )
        .await
    }

    /// The names of all users.
    pub async fn users(&self) -> Result<Vec<String>, ScimError> {
        let list = self.answer("GET", "Users", String::new()).await?;
        let users = list
            .get("Resources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        Ok(users
            .filter_map(|user| user.get("userName")?.as_str())
            .map(str::to_owned)
            .collect())
    }

    async fn create(&self, kind: &str, resource: &Value) -> Result<String, ScimError> {
        let created = self.answer("POST", kind, resource.to_string()).await?;
        Ok(created
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned())
    }

    async fn answer(&self, method: &str, kind: &str, body: String) -> Result<Value, ScimError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{kind}", self.url()))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/scim+json")
            .body(body);
        let answer = loopback::send(request).await;
        let answer = answer.map_err(|source| ScimError::Request {
            request: format!("{method} /{kind}"),
            source,
        })?;
        Ok(serde_json::from_str(&answer)?)
    }
}
