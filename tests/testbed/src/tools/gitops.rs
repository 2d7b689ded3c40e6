//! The judges of GitOps tools, built from the Go program in `gitops`: it links their published modules.

use std::path::PathBuf;

use super::{
    Progress, ToolsError,
    go_module::{GoModule, GoTool},
};

const MODULE: GoModule = GoModule {
    folder: "gitops",
    version: None,
};
const GITOPS: GoTool = GoTool {
    name: "gitops",
    package: ".",
    patience: "about 2 minutes",
};

/// The path of `gitops`.
pub async fn gitops(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let [gitops] = MODULE.tools([GITOPS], progress).await?;
    Ok(gitops)
}
