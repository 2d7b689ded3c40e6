//! Helm, built from its published Go module.

use std::path::PathBuf;

use super::{
    Progress, ToolsError,
    go_module::{GoModule, GoTool, LinkedVersion},
};

const MODULE: GoModule = GoModule {
    folder: "helm",
    version: Some(LinkedVersion {
        module: "helm.sh/helm/v4",
        // Without it Helm knows its minor version only, and charts see that.
        variables: |version| vec![("helm.sh/helm/v4/internal/version.version", format!("v{version}"))],
    }),
};
const HELM: GoTool = GoTool {
    name: "helm",
    package: "helm.sh/helm/v4/cmd/helm",
    patience: "about 2 minutes",
};

/// The path of `helm`.
pub async fn helm(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let [helm] = MODULE.tools([HELM], progress).await?;
    Ok(helm)
}
