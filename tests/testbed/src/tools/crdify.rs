//! crdify, the SIG API's comparison of CRDs, built from its published Go module.

use std::path::PathBuf;

use super::{
    Progress, ToolsError,
    go_module::{GoModule, GoTool},
};

const MODULE: GoModule = GoModule {
    folder: "crdify",
    version: None,
};
const CRDIFY: GoTool = GoTool {
    name: "crdify",
    package: "sigs.k8s.io/crdify",
    patience: "about 2 minutes",
};

/// The path of `crdify`.
pub async fn crdify(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let [crdify] = MODULE.tools([CRDIFY], progress).await?;
    Ok(crdify)
}
