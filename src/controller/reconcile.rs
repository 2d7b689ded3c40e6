//! One reconcile of one connection: resolve, probe, diagnose, report.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{Instrument as _, debug, info, warn};

use super::{
    announce::announce,
    connection::Connection,
    context::Context,
    error::ControllerError,
    job::{Job, Outcome},
    report::{Reported, read, report},
};
use crate::{
    api::{
        connection::ScimBridgeConnectionStatus,
        vocabulary::{Class, Layer},
    },
    bridge::ProbeRequest,
    domain::connection::{
        evidence::Evidence,
        schedule::Cause,
        status::{Change, NextStatus, Observation, next_status, progressing},
        verdict::PendingCause,
    },
    report::events::EventRecorder,
    resolve::Resolved,
    traces::{Trace, step},
};

/// If a probe of a new specification takes longer, a `Progressing` status is written: the old verdict must not count
/// for the new specification. Nearly all bridges answer sooner and need one write only.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);

// Rare steps are boxed. Otherwise they would make every reconcile's future larger, and spawning it copies it.

/// Runs a reconcile as one trace. If it fails for a new specification, it still tries to write a `Progressing` status.
///
/// # Errors
/// The API server refused or did not answer, or probes of other connections took all the time. The caller retries.
pub(super) async fn reconcile(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
) -> Result<Outcome, ControllerError> {
    let trace = Trace::begin(&job.key.namespace, &job.key.name, &job.cause);
    let span = trace.span();
    async {
        if let Some(status) = job.unwritten.as_deref().filter(|_| job.cause == Cause::Unwritten) {
            return write_again(context, recorder, job, status).await;
        }
        if is_superseded(context, job).await? {
            return Ok(Outcome::Superseded(Arc::clone(&job.connection)));
        }
        let Some((connection, resolved, evidence)) = observe(context, recorder, job).await? else {
            return Ok(Outcome::Superseded(Arc::clone(&job.connection)));
        };
        let next = diagnose(context, job, &connection, resolved, &evidence);
        log(context, job, &next, &trace);
        Ok(conclude(context, recorder, job, connection, next, &trace).await)
    }
    .instrument(span)
    .await
}

/// Retries the write of a status that failed. The bridge is not probed again: it has answered already.
async fn write_again(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
    status: &ScimBridgeConnectionStatus,
) -> Result<Outcome, ControllerError> {
    let connection = &job.connection;
    Ok(
        match Box::pin(write(context, recorder, job, connection, status)).await? {
            Reported::Written(written) => Outcome::Written(written),
            Reported::Superseded => Outcome::Superseded(Arc::clone(connection)),
        },
    )
}

/// Whether the connection has changed in a way that the watch has not reported yet. Reads it only after a superseded
/// reconcile.
async fn is_superseded(context: &Context, job: &Job) -> Result<bool, ControllerError> {
    if !job.must_reread {
        return Ok(false);
    }
    let current = Box::pin(read(&context.server, &job.key)).await?;
    Ok(!current.is_some_and(|current| job.connection.is_current(&current)))
}

/// Makes the next status from the evidence.
fn diagnose(
    context: &Context,
    job: &Job,
    connection: &Connection,
    resolved: Resolved,
    evidence: &Evidence,
) -> NextStatus {
    next_status(
        job.unwritten.as_deref().unwrap_or(&connection.status),
        &Observation {
            uid: connection.metadata.uid.as_deref().unwrap_or_default(),
            generation: connection.metadata.generation.unwrap_or_default(),
            declared: connection.declared(),
            target: resolved.target.as_ref(),
            versions: resolved.versions,
            requested: job.connection.requested(),
            failures_before: job.failures,
            evidence,
            now: context.clock.now(),
            late: job.late,
            early: job.early,
            heartbeat: context.settings.heartbeat,
        },
    )
}

/// Writes the next status if it differs enough from the last. If the write fails, the status is kept for a retry.
async fn conclude(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
    connection: Arc<Connection>,
    next: NextStatus,
    trace: &Trace,
) -> Outcome {
    let NextStatus {
        status,
        change,
        delay,
        ..
    } = next;
    let failures = status.consecutive_failures;
    if change == Change::Unchanged && job.unwritten.is_none() {
        return Outcome::Judged {
            connection,
            failures,
            delay,
        };
    }
    match Box::pin(write(context, recorder, job, &connection, &status)).await {
        Ok(Reported::Written(connection)) => Outcome::Judged {
            connection,
            failures,
            delay,
        },
        Ok(Reported::Superseded) => Outcome::Superseded(connection),
        Err(error) => {
            context.metrics.failed();
            let (namespace, name) = job.key.names();
            warn!(namespace, name, %error, %trace, "status write failed; will retry the write without probing again");
            Outcome::Unwritten {
                connection,
                status: Box::new(status),
                delay,
            }
        }
    }
}

/// Resolves and probes. If that takes long or fails for a new specification, writes a `Progressing` status first.
/// `None` if the object changed meanwhile.
async fn observe(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
) -> Result<Option<(Arc<Connection>, Resolved, Evidence)>, ControllerError> {
    let mut connection = Arc::clone(&job.connection);
    let mut observing = pin!(async {
        let spec = job.connection.spec.as_ref();
        let resolving = context.resolver.resolve(&job.key.namespace, spec, &job.seen);
        let (resolved, request) = resolving.instrument(step!("resolve")).await?;
        let evidence = match request {
            Err(blocker) => Evidence::Blocked(blocker),
            Ok(request) => {
                let request = ProbeRequest {
                    requested: job.cause == Cause::Requested,
                    ..request
                };
                Evidence::Probed(context.lanes.probe(request).instrument(step!("probe")).await?)
            }
        };
        Ok::<_, ControllerError>((resolved, evidence))
    });
    let observed = if let Ok(observed) = timeout(PROGRESS_AFTER, &mut observing).await {
        observed
    } else {
        match Box::pin(write_progress(context, recorder, job, None)).await? {
            None => {}
            Some(Reported::Written(current)) => connection = current,
            Some(Reported::Superseded) => return Ok(None),
        }
        observing.await
    };
    match observed {
        Ok((resolved, evidence)) => Ok(Some((connection, resolved, evidence))),
        Err(error) => {
            // This write may fail too; then return the first error.
            let _ = Box::pin(write_progress(
                context,
                recorder,
                job,
                Some(error.pending_cause()),
            ))
            .await;
            Err(error)
        }
    }
}

/// Writes a `Progressing` status for a new specification, unless the connection has that status already.
async fn write_progress(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
    pending_cause: Option<PendingCause>,
) -> Result<Option<Reported>, ControllerError> {
    if job.cause != Cause::NewGeneration {
        return Ok(None);
    }
    let connection = &job.connection;
    let generation = connection.metadata.generation.unwrap_or_default();
    let now = context.clock.now();
    let status = progressing(&connection.status, pending_cause, generation, now);
    if status.conditions == connection.status.conditions {
        return Ok(None);
    }
    write(context, recorder, job, connection, &status).await.map(Some)
}

/// Writes a status and announces the changes.
async fn write(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
    connection: &Connection,
    status: &ScimBridgeConnectionStatus,
) -> Result<Reported, ControllerError> {
    let reported = report(
        &context.server,
        &job.key,
        connection,
        job.unwritten.as_deref(),
        status,
    )
    .instrument(step!("report"))
    .await?;
    if let Reported::Written(written) = &reported {
        announce(recorder, &job.key, &connection.status, written);
    }
    Ok(reported)
}

/// Counts the verdict and logs it: a change at level info or warn, all else at level debug.
fn log(context: &Context, job: &Job, outcome: &NextStatus, trace: &Trace) {
    let NextStatus {
        verdict,
        status,
        change,
        next,
        delay: _,
        unlocked,
    } = outcome;
    let ((namespace, name), reason) = (job.key.names(), verdict.reason.as_str());
    let row = job.connection.row(status);
    context
        .metrics
        .judged((namespace, name), row, verdict, *change, *unlocked);
    let (layer, took) = (Layer::name(verdict.layer()), trace.took());
    trace.judged(verdict, layer);
    if *unlocked {
        info!(
            namespace,
            name, %trace, "the probe unlocked the bridge: it was waiting for its key after a restart"
        );
    }
    if *change != Change::Changed {
        debug!(namespace, name, reason, layer, took, cause = ?job.cause, %next, %trace, "verdict unchanged");
        return;
    }
    let failures = status.consecutive_failures;
    match verdict.class {
        Class::Ok | Class::Pending => {
            info!(namespace, name, reason, layer, took, cause = ?job.cause, %next, %trace, "{verdict}");
        }
        Class::Action | Class::Transient => {
            warn!(namespace, name, reason, layer, took, failures, cause = ?job.cause, %next, %trace, "{verdict}");
        }
    }
}
