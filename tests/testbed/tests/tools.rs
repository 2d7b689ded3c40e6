//! The programs of the test bed are there, and are what they claim to be.

use std::process::Command;

use testbed::{Failure, tools};

#[tokio::test]
async fn every_tool_is_found_or_made_and_runs() -> Result<(), Failure> {
    let control_plane = tools::control_plane(&mut std::io::stderr()).await?;
    let scim2_server = tools::scim2_server(&mut std::io::stderr()).await?;
    for (tool, flag) in [
        (&control_plane.etcd, "--version"),
        (&control_plane.kube_apiserver, "--version"),
        (&control_plane.kubectl, "--help"),
        (&scim2_server, "--help"),
    ] {
        let output = Command::new(tool).arg(flag).output()?;
        assert!(output.status.success(), "{}: {output:?}", tool.display());
    }
    Ok(())
}

#[tokio::test]
async fn a_second_look_says_nothing_because_nothing_is_to_be_done() -> Result<(), Failure> {
    tools::all(&mut Vec::new()).await?;

    let mut said = Vec::new();
    tools::control_plane(&mut said).await?;
    tools::scim2_server(&mut said).await?;
    assert_eq!(String::from_utf8(said)?, "");
    Ok(())
}
