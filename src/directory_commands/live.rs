//! The users and groups of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;

use super::{
    DirectoryError,
    declared::{Candidate, Kind, Spec},
    form::Misformed,
    offboarding::Evidence,
};
use crate::{
    api::{group::ScimGroup, user::ScimUser},
    check::{CheckError, subject::ask},
};

/// Objects in one answer of the API server.
const PAGE: u32 = 500;

/// What happens where the API server does not know the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// Nothing is declared yet.
    Optional,
    /// That is an error.
    Required,
}

/// Lists the users and groups of a namespace.
pub(super) async fn candidates(
    client: &Client,
    namespace: &str,
    kinds: Kinds,
) -> Result<Vec<Candidate>, DirectoryError> {
    let users = list(client, Some(namespace), kinds, "the ScimUsers").await?;
    let groups = list(client, Some(namespace), kinds, "the ScimGroups").await?;
    Ok(users
        .into_iter()
        .map(of_user)
        .chain(groups.into_iter().map(of_group))
        .collect())
}

/// Lists the users of a namespace, or of all.
pub(super) async fn users(
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<Candidate>, DirectoryError> {
    let users = list(client, namespace, Kinds::Required, "the ScimUsers").await?;
    Ok(users.into_iter().map(of_user).collect())
}

fn of_user(DeserializeGuard(object): DeserializeGuard<ScimUser>) -> Candidate {
    match object {
        Ok(ScimUser {
            metadata,
            spec,
            status,
        }) => {
            let evidence = Evidence::of(&metadata, status.as_ref());
            Candidate {
                id: evidence.id().cloned(),
                evidence,
                ..candidate(Kind::User, metadata, Ok(Spec::User(spec)))
            }
        }
        Err(invalid) => candidate(Kind::User, invalid.metadata, Err(Misformed::Form)),
    }
}

fn of_group(DeserializeGuard(object): DeserializeGuard<ScimGroup>) -> Candidate {
    match object {
        Ok(ScimGroup {
            metadata,
            spec,
            status,
        }) => Candidate {
            id: status.and_then(|status| status.id),
            ..candidate(Kind::Group, metadata, Ok(Spec::Group(spec)))
        },
        Err(invalid) => candidate(Kind::Group, invalid.metadata, Err(Misformed::Form)),
    }
}

fn candidate(kind: Kind, metadata: ObjectMeta, spec: Result<Spec, Misformed>) -> Candidate {
    let ObjectMeta { name, namespace, .. } = metadata;
    Candidate {
        kind,
        name,
        namespace,
        id: None,
        evidence: Evidence::default(),
        place: None,
        spec,
    }
}

async fn list<K>(
    client: &Client,
    namespace: Option<&str>,
    kinds: Kinds,
    what: &'static str,
) -> Result<Vec<DeserializeGuard<K>>, DirectoryError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<DeserializeGuard<K>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut objects = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = match ask(api.list(&parameters).await, what) {
            Err(CheckError::Refused { code: 404, .. }) if kinds == Kinds::Optional => return Ok(objects),
            answer => answer?,
        };
        objects.extend(page.items);
        let next: Option<String> = page.metadata.continue_;
        let Some(token) = next.filter(|token| !token.is_empty()) else {
            return Ok(objects);
        };
        parameters = parameters.continue_token(&token);
    }
}
