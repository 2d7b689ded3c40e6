//! Which path leads where, and what a bridge in the given state answers there.

use std::future;

use axum::{
    body::Bytes,
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};

use crate::{
    answer::{self, html, redirect, scim_error, text, unauthorized},
    fault::Hangup,
    health::health,
    scim,
    serve::Shared,
    state::{Flavour, Mode, Source, State},
};

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Route<'path> {
    Root,
    App,
    Ping,
    Health,
    Metrics,
    /// The path below the SCIM base.
    Scim(&'path str),
    Unknown,
}

impl<'path> Route<'path> {
    fn of(flavour: Flavour, path: &'path str) -> Self {
        match (flavour, scim_resource(flavour, path)) {
            (Flavour::SelfHosted | Flavour::Hosted, Some(resource)) => Self::Scim(resource),
            (Flavour::SelfHosted, None) => Self::of_bridge(path),
            (Flavour::Hosted, None) => Self::Unknown,
        }
    }

    /// The paths of a bridge beside those below `/scim`.
    fn of_bridge(path: &'path str) -> Self {
        match path {
            "/" => Self::Root,
            "/ping" => Self::Ping,
            "/health" => Self::Health,
            "/metrics" => Self::Metrics,
            _ if is_or_below(path, "/app") => Self::App,
            _ if is_or_below(path, "/Users") || is_or_below(path, "/Groups") => Self::Scim(path),
            _ => Self::Unknown,
        }
    }

    /// Whether a request here, in this mode, presents its key to the bridge, which unlocks it.
    fn takes_key(&self, mode: Mode) -> bool {
        match self {
            Self::Health | Self::Metrics => true,
            Self::Scim(_) => mode == Mode::Push,
            Self::Root | Self::App | Self::Ping | Self::Unknown => false,
        }
    }
}

/// What a path below `/scim` is about: the rest of it, which begins with a `/`.
fn scim_resource(flavour: Flavour, path: &str) -> Option<&str> {
    let below = path.strip_prefix("/scim")?;
    let resource = match (
        flavour,
        below.strip_prefix("/v2").filter(|_| is_or_below(below, "/v2")),
    ) {
        (Flavour::Hosted, Some(resource)) => resource,
        (Flavour::SelfHosted, Some(_)) => return None,
        (Flavour::SelfHosted | Flavour::Hosted, None) => below,
    };
    (resource.len() > 1 && resource.starts_with('/')).then_some(resource)
}

fn is_or_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The answer to a request, or the end of its connection.
pub(crate) async fn answer(shared: &Shared, request: Request<Bytes>) -> Result<Response, Hangup> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    let (state, fault) = shared.set(|state| {
        let fault = state.take_fault(request.method().as_str(), target);
        (state.clone(), fault)
    });
    let path = request.uri().path().to_owned();
    let json_type = if is_or_below(&path, "/health") {
        answer::JSON
    } else {
        answer::SCIM_JSON
    };
    let genuine = genuine(shared, &state, &path, request);
    let Some(fault) = fault else {
        return Ok(genuine.await);
    };
    let (fault, done) = fault.unwrapped();
    if done {
        let answered = genuine.await;
        fault.apply(json_type, future::ready(answered)).await
    } else {
        fault.apply(json_type, genuine).await
    }
}

/// What a bridge would answer.
async fn genuine(shared: &Shared, state: &State, path: &str, request: Request<Bytes>) -> Response {
    let route = Route::of(state.flavour, path);
    let authorization = request.headers().get(header::AUTHORIZATION);
    let accepted = authorization
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| state.accepts(value));
    let unlocks = accepted && state.locked && route.takes_key(state.mode);
    let response = match route {
        Route::Root => redirect(StatusCode::TEMPORARY_REDIRECT, HeaderValue::from_static("/app")),
        Route::App => html(StatusCode::OK),
        Route::Ping => text(StatusCode::OK, "pong"),
        Route::Health if accepted => health(state),
        Route::Metrics if accepted => metrics(shared),
        Route::Scim(resource) if state.mode == Mode::Push => {
            provision(shared, state, resource, accepted, request).await
        }
        Route::Health | Route::Metrics => unauthorized(),
        Route::Scim(_) | Route::Unknown => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    if unlocks {
        // After the answer was made, which therefore still is that of a locked bridge.
        shared.set(|state| state.locked = false);
    }
    response
}

async fn provision(
    shared: &Shared,
    state: &State,
    resource: &str,
    accepted: bool,
    request: Request<Bytes>,
) -> Response {
    match &shared.upstream {
        _ if state.provisioning_off && accepted => {
            scim_error(StatusCode::INTERNAL_SERVER_ERROR, "internal server error")
        }
        _ if state.source == Source::Directory && accepted => {
            shared.directory.answer(state, resource, &request)
        }
        _ if state.source == Source::Directory => unauthorized(),
        Some(upstream) if !state.provisioning_off => upstream.forward(request, resource).await,
        None if accepted => scim::answer(state, request.method(), resource, request.uri()),
        Some(_) | None => unauthorized(),
    }
}

/// The names of the bridge's own metrics are not published; this is only something that can be scraped.
fn metrics(shared: &Shared) -> Response {
    let connections = shared.ledger.traffic().connections;
    let body = format!(
        "# HELP bridge_front_connections_total Connections that were accepted.\n\
         # TYPE bridge_front_connections_total counter\n\
         bridge_front_connections_total {connections}\n"
    );
    answer::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::Route;
    use crate::state::Flavour;

    #[test]
    fn a_self_hosted_bridge_has_its_paths() {
        let cases = [
            ("/", Route::Root),
            ("/app", Route::App),
            ("/app/login", Route::App),
            ("/ping", Route::Ping),
            ("/health", Route::Health),
            ("/metrics", Route::Metrics),
            ("/scim/Users", Route::Scim("/Users")),
            (
                "/scim/ServiceProviderConfig",
                Route::Scim("/ServiceProviderConfig"),
            ),
            ("/Users", Route::Scim("/Users")),
            ("/Groups/7", Route::Scim("/Groups/7")),
            ("/scim/v2/Users", Route::Unknown),
            ("/scim", Route::Unknown),
            ("/scim/", Route::Unknown),
            ("/scimitar", Route::Unknown),
            ("/apple", Route::Unknown),
            ("/Usersx", Route::Unknown),
            ("/ping/", Route::Unknown),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of(Flavour::SelfHosted, path), route, "{path}");
        }
    }

    #[test]
    fn the_hosted_service_has_scim_and_nothing_else() {
        for path in ["/scim/Users", "/scim/v2/Users"] {
            assert_eq!(Route::of(Flavour::Hosted, path), Route::Scim("/Users"), "{path}");
        }
        for path in [
            "/",
            "/app",
            "/ping",
            "/health",
            "/metrics",
            "/Users",
            "/Groups",
            "/scim",
            "/scim/v2",
            "/scim/v2/",
        ] {
            assert_eq!(Route::of(Flavour::Hosted, path), Route::Unknown, "{path}");
        }
    }
}
