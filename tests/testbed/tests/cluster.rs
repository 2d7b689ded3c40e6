//! The cluster is a Kubernetes API, with everything the tests of the operator build on.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testbed::{Cluster, Failure, cluster::KubectlError, scratch::Scratch, wait};

const SOON: Duration = Duration::from_secs(10);

/// A client with the rights of a kubeconfig file.
async fn client_of(kubeconfig: &Path) -> Result<Client, Failure> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn config_map(name: &str) -> Result<ConfigMap, Failure> {
    Ok(serde_json::from_value(
        json!({"metadata": {"name": name}, "data": {"state": "fresh"}}),
    )?)
}

#[tokio::test]
async fn kubectl_applies_and_reads() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("kubectl").await?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "it", "namespace": namespace.name()}, "data": {"answer": "42"},
    });
    cluster.apply(&manifest.to_string()).await?;

    let args = [
        "get",
        "configmap",
        "it",
        "--namespace",
        namespace.name(),
        "--output=jsonpath={.data.answer}",
    ];
    assert_eq!(cluster.kubectl().run(&args).await?, "42");
    Ok(())
}

#[tokio::test]
async fn kubectl_says_why_it_refused() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let Err(error) = cluster.kubectl().run(&["get", "unicorns"]).await else {
        panic!("there are no unicorns");
    };
    assert!(
        matches!(&error, KubectlError::Refused { said, .. } if said.contains("unicorns")),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn namespaces_are_never_shared() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let (one, other) = tokio::try_join!(cluster.namespace("twin"), cluster.namespace("twin"))?;
    assert_ne!(one, other);

    let namespaces: Api<Namespace> = Api::all(cluster.client()?);
    assert!(namespaces.get_opt(one.name()).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_itself_and_has_only_its_own_rights() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("account").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client()?, namespace.name());
    let account = serde_json::from_value(json!({"metadata": {"name": "robot"}}))?;
    accounts.create(&PostParams::default(), &account).await?;

    let kubeconfig = cluster
        .service_account_kubeconfig(namespace.name(), "robot")
        .await?;
    let client = client_of(&kubeconfig).await?;
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username);
    assert_eq!(
        user.as_deref(),
        Some(format!("system:serviceaccount:{namespace}:robot").as_str())
    );

    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace.name());
    let Err(kube::Error::Api(refusal)) = accounts.get("robot").await else {
        panic!("nothing was granted to it");
    };
    assert_eq!(refusal.code, 403);
    Ok(())
}

#[tokio::test]
async fn an_installed_kind_is_served_at_once() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("install").await?;
    let folder = Scratch::new("manifests")?;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.testbed.example"},
        "spec": {
            "group": "testbed.example", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "x-kubernetes-validations": [
                        {"rule": "self > 0", "message": "size must be positive"}]}}}},
            }}}],
        },
    });
    fs::write(folder.path().join("crd.json"), crd.to_string())?;
    cluster.install(&[folder.path()]).await?;

    let gadget = |size: i32| {
        json!({
            "apiVersion": "testbed.example/v1", "kind": "Gadget",
            "metadata": {"name": "it", "namespace": namespace.name()}, "spec": {"size": size},
        })
        .to_string()
    };
    cluster.apply(&gadget(1)).await?;
    let Err(refusal) = cluster.apply(&gadget(0)).await else {
        panic!("the rule is enforced")
    };
    assert!(
        format!("{refusal:?}").contains("size must be positive"),
        "{refusal:?}"
    );
    Ok(())
}

#[tokio::test]
async fn waiting_ends_the_moment_an_object_changes_or_goes() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("wait").await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client()?, namespace.name());
    let fresh = |map: &ConfigMap| {
        map.data
            .as_ref()
            .and_then(|data| data.get("state"))
            .is_some_and(|state| state == "fresh")
    };

    let (seen, created) = tokio::join!(
        wait::until_object(SOON, "to be fresh", &maps, "it", fresh),
        async {
            maps.create(&PostParams::default(), &config_map("it")?)
                .await
                .map_err(Failure::from)
        }
    );
    assert_eq!(seen?.metadata.uid, created?.metadata.uid);

    let (gone, deleted) = tokio::join!(wait::until_gone(SOON, &maps, "it"), async {
        maps.delete("it", &DeleteParams::default()).await
    });
    gone?;
    deleted?;
    Ok(())
}

#[tokio::test]
async fn a_wait_in_vain_says_what_was_there() -> Result<(), Failure> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("vain").await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client()?, namespace.name());
    maps.create(&PostParams::default(), &config_map("it")?).await?;

    let patience = Duration::from_millis(500);
    let Err(error) = wait::until_object(patience, "to be stale", &maps, "it", |_| false).await else {
        panic!("it never is");
    };
    let message = error.to_string();
    assert!(
        message.contains("it: to be stale") && message.contains(r#""state":"fresh""#),
        "{message}"
    );
    Ok(())
}

#[tokio::test]
async fn data_and_tokens_outlive_the_api_server() -> Result<(), Failure> {
    let cluster = Cluster::start().await?;
    let namespace = cluster.namespace("restart").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client()?, namespace.name());
    let account = serde_json::from_value(json!({"metadata": {"name": "robot"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let robot = client_of(
        &cluster
            .service_account_kubeconfig(namespace.name(), "robot")
            .await?,
    )
    .await?;

    cluster.stop_api_server().await?;
    assert!(accounts.get("robot").await.is_err(), "nobody answers");
    cluster.start_api_server().await?;

    accounts.get("robot").await?;
    let reviews: Api<SelfSubjectReview> = Api::all(robot);
    reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_existing_cluster_is_used_and_left_alone() -> Result<(), Failure> {
    let cluster = Cluster::start().await?;
    let mut other = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("up")
        .env(testbed::cluster::CLUSTER, "existing")
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = other.stdout.take().ok_or("it has no output")?;
    let said: Vec<String> = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.starts_with("up, "))
        .collect();
    let kubeconfig = said
        .iter()
        .find_map(|line| line.strip_prefix("export KUBECONFIG="))
        .ok_or("no kubeconfig")?;
    let version = client_of(Path::new(kubeconfig))
        .await?
        .apiserver_version()
        .await?;
    other.kill()?;
    other.wait()?;

    assert!(
        !said.iter().any(|line| line.contains("pid")),
        "it started something: {said:?}"
    );
    assert_eq!(
        version.git_version,
        cluster.client()?.apiserver_version().await?.git_version
    );
    Ok(())
}
