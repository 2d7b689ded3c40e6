//! The users and groups of a cluster.

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
    let users = list::<ScimUser>(client, namespace, kinds, "the ScimUsers").await?;
    let groups = list::<ScimGroup>(client, namespace, kinds, "the ScimGroups").await?;
    let of_user = |DeserializeGuard(object): DeserializeGuard<ScimUser>| match object {
        Ok(ScimUser {
            metadata,
            spec,
            status,
        }) => (
            Kind::User,
            metadata,
            status.and_then(|status| status.id),
            Ok(Spec::User(spec)),
        ),
        Err(invalid) => (Kind::User, invalid.metadata, None, Err(Misformed::Form)),
    };
    let of_group = |DeserializeGuard(object): DeserializeGuard<ScimGroup>| match object {
        Ok(ScimGroup {
            metadata,
            spec,
            status,
        }) => (
            Kind::Group,
            metadata,
            status.and_then(|status| status.id),
            Ok(Spec::Group(spec)),
        ),
        Err(invalid) => (Kind::Group, invalid.metadata, None, Err(Misformed::Form)),
    };
    let objects = users
        .into_iter()
        .map(of_user)
        .chain(groups.into_iter().map(of_group));
    Ok(objects
        .map(|(kind, metadata, id, spec)| Candidate {
            kind,
            name: metadata.name,
            namespace: metadata.namespace,
            id,
            place: None,
            spec,
        })
        .collect())
}

async fn list<K>(
    client: &Client,
    namespace: &str,
    kinds: Kinds,
    what: &'static str,
) -> Result<Vec<DeserializeGuard<K>>, DirectoryError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), namespace);
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
