//! The SCIM server is one: it keeps users and groups, and its key.

use futures::future::try_join_all;
use testbed::{Failure, ScimServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn it_lists_who_was_created() -> Result<(), Failure> {
    let server = ScimServer::start("key-of-this-test").await?;
    server.create_user("ada@example.com").await?;
    server.create_group("Engineering").await?;

    assert_eq!(server.users().await?, ["ada@example.com"]);
    Ok(())
}

#[tokio::test]
async fn it_answers_to_its_own_key_only() -> Result<(), Failure> {
    // A key may begin like an option.
    let server = ScimServer::start("-right").await?;
    for (key, expected) in [
        ("-right", "HTTP/1.0 200"),
        ("wrong", "HTTP/1.0 401"),
        ("", "HTTP/1.0 401"),
    ] {
        let mut connection = TcpStream::connect(server.addr()).await?;
        let request =
            format!("GET /scim/Users?startIndex=1&count=1 HTTP/1.0\r\nAuthorization: Bearer {key}\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        assert!(answer.starts_with(expected), "{key}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn it_loses_nothing_under_concurrent_requests() -> Result<(), Failure> {
    let server = ScimServer::start("key").await?;
    let names: Vec<String> = (0..64).map(|number| format!("user-{number:02}")).collect();
    let ids = try_join_all(names.iter().map(|name| server.create_user(name))).await?;
    let mut listed = server.users().await?;
    listed.sort();

    assert_eq!(listed, names);
    assert_eq!(
        ids.iter().collect::<std::collections::HashSet<_>>().len(),
        names.len()
    );
    Ok(())
}
