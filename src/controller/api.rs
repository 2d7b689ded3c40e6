//! Calls to the API server, each bounded in time.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::{
    context::Context,
    error::{Call, Cause, ControllerError},
};
use crate::{
    metrics::{Metrics, RequestOutcome},
    tenure::Tenure,
};

/// kube retries 429, 503 and 504 by itself, and for long; this bounds the whole.
const BUDGET: Duration = Duration::from_secs(15);

/// Makes a call, if this process may act. `None` where there is no such object.
pub(super) async fn call<T>(
    context: &Context,
    call: Call,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, ControllerError> {
    let request = async {
        // Closed is it never.
        let _place = context.calls.acquire().await;
        request.await
    };
    call_within(BUDGET, (&context.tenure, &context.metrics), call, request).await
}

/// The same within another time.
pub(super) async fn call_within<T>(
    budget: Duration,
    (tenure, metrics): (&Tenure, &Metrics),
    call: Call,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, ControllerError> {
    if !tenure.holds() {
        return Err(ControllerError::NotLeading);
    }
    let answer = timeout(budget, request).await;
    let outcome = match &answer {
        Ok(Ok(_)) => RequestOutcome::Ok,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => RequestOutcome::Ok,
        Ok(Err(kube::Error::Api(_))) => RequestOutcome::Refused,
        Ok(Err(_)) | Err(_) => RequestOutcome::Unreachable,
    };
    metrics.requested(call.as_str(), outcome);
    let cause = match answer {
        Ok(Ok(object)) => return Ok(Some(object)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(None),
        Ok(Err(kube::Error::Api(status))) => Cause::Refused(status.code),
        Ok(Err(_)) => Cause::Unanswered,
        Err(_) => Cause::TimedOut,
    };
    Err(ControllerError::Api { call, cause })
}
