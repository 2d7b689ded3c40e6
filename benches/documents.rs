//! Parsers of what others send: a bridge's answers, and the API server's objects.

#![allow(missing_docs, reason = "criterion's macros make items without any")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use scim_bridge_operator::{
    api::connection::ScimBridgeConnection,
    bridge::probe::documents::{read_health, read_list},
};
use serde_json::{Value, json};

/// As much of a list as is read.
const LIST_BOUND: usize = 1024 * 1024;

/// A list with so many users in it.
fn list(users: usize) -> Vec<u8> {
    let user = |number: usize| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": number.to_string(), "userName": format!("user-{number}@example.com"), "active": true,
            "name": {"givenName": "A", "familyName": "User"},
            "emails": [{"value": format!("user-{number}@example.com"), "primary": true}],
            "meta": {"resourceType": "User", "location": format!("/scim/Users/{number}")},
        })
    };
    let list = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 128, "startIndex": 1, "itemsPerPage": users,
        "Resources": (0..users).map(user).collect::<Vec<Value>>(),
    });
    list.to_string().into_bytes()
}

/// The longest list of whole users that fits into what is read.
fn longest_list() -> Vec<u8> {
    let each = list(1001).len() - list(1000).len();
    let mut users = LIST_BOUND / each;
    loop {
        let list = list(users);
        if list.len() <= LIST_BOUND {
            return list;
        }
        users -= 1;
    }
}

fn answers(c: &mut Criterion) {
    let now = Timestamp::from_second(1_772_546_816).unwrap_or_default();
    let report = |source: &str| {
        json!({"source": source, "state": "healthy", "time": "2026-03-03T14:06:09Z",
            "expires": "2026-03-03T14:16:09Z"})
    };
    let reports = [
        "ConfirmationWatcher",
        "RedisCache",
        "SCIMServer",
        "StartProvisionWatcher",
    ]
    .map(report);
    let health = json!({
        "build": "209163", "version": "2.9.16",
        "reports": reports,
        "retrievedAt": "2026-03-03T14:06:56Z",
    })
    .to_string();
    c.bench_function("read_health", |bencher| {
        bencher.iter(|| read_health(black_box(health.as_bytes()), now));
    });
    let mut group = c.benchmark_group("read_list");
    for (name, body) in [("1 entry", list(1)), ("1 MiB", longest_list())] {
        group.throughput(Throughput::Bytes(body.len().try_into().unwrap_or_default()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| read_list(black_box(&body)));
        });
    }
    group.finish();
}

/// A connection with a status, as a watch brings it.
fn object() -> Vec<u8> {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Connected", "observedGeneration": 1,
            "lastTransitionTime": "2026-03-03T14:06:56Z", "message": "The bridge accepts the key, and its SCIM API answers."})
    };
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1", "kind": "ScimBridgeConnection",
        "metadata": {
            "name": "okta", "namespace": "identity", "uid": "2a6d1c1e-0000-4000-8000-000000000001",
            "resourceVersion": "1002", "generation": 1, "creationTimestamp": "2026-03-03T14:06:55Z",
            "managedFields": [
                {"manager": "kubectl", "operation": "Apply", "apiVersion": "scimbridge.dev/v1alpha1",
                    "time": "2026-03-03T14:06:55Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:url": {}, "f:identityProvider": {}, "f:apiKeySecretRef": {"f:name": {}}}}},
                {"manager": "scim-bridge-operator", "operation": "Apply", "apiVersion": "scimbridge.dev/v1alpha1",
                    "time": "2026-03-03T14:06:56Z", "fieldsType": "FieldsV1", "subresource": "status",
                    "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}}},
                        "f:observedGeneration": {}, "f:lastProbeTime": {}}}},
            ],
        },
        "spec": {
            "url": "https://okta.scim.example.com", "identityProvider": "Okta", "interval": "5m", "timeout": "10s",
            "failureThreshold": 3, "suspend": false, "allowPlaintext": false,
            "apiKeySecretRef": {"name": "okta", "key": "apiKey"},
        },
        "status": {
            "observedGeneration": 1, "scimEndpoint": "https://okta.scim.example.com/scim", "scimApi": "Enabled",
            "conditions": [condition("Ready", "True"), condition("Connected", "True"),
                condition("AuthFailed", "False"), condition("ScimDisabled", "False")],
            "bridge": {"version": "2.9.16", "build": "209163"}, "directory": {"users": 128, "groups": 9},
            "credential": {"uid": "2a6d1c1e-0000-4000-8000-000000000002", "resourceVersion": "1000"},
            "lastProbeTime": "2026-03-03T14:06:56Z", "nextProbeTime": "2026-03-03T14:11:56Z",
            "validUntil": "2026-03-03T14:21:56Z", "consecutiveFailures": 0,
            "binding": {"name": "okta"},
        },
    })
    .to_string()
    .into_bytes()
}

fn objects(c: &mut Criterion) {
    let object = object();
    let decoded = serde_json::from_slice::<DeserializeGuard<ScimBridgeConnection>>(&object);
    assert!(
        decoded.is_ok_and(|DeserializeGuard(connection)| connection.is_ok()),
        "what is measured is the decoding of a valid object"
    );
    c.bench_function("decode a connection", |bencher| {
        bencher.iter(|| serde_json::from_slice::<DeserializeGuard<ScimBridgeConnection>>(black_box(&object)));
    });
}

criterion_group!(benches, answers, objects);
criterion_main!(benches);
