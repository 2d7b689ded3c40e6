//! One pass over one connection, on one screen: resolve, probe, diagnose, report.

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
    resolve::{Resolved, resolve},
};
use crate::{
    api::{connection::ScimBridgeConnectionStatus, vocabulary::Class},
    bridge::ProbeRequest,
    domain::{
        connection::{
            evidence::Evidence,
            status::{Change, NextStatus, Observation, next_status, progressing},
            verdict::PendingCause,
        },
        schedule::Cause,
    },
    report::events::EventRecorder,
    traces::{Trace, step},
};

/// A new specification without a verdict by then is announced as `Progressing`: the old verdict must not stand for it
/// while a slow bridge is waited for. Fast bridges, nearly all, cost one write only.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);

// What few passes do is boxed: it would make each of them larger, and a pass is moved when it begins.

/// Runs a pass, as a trace of its own. Every way out of it leaves a status behind; an error is our own failure, to be
/// tried again.
///
/// # Errors
/// Where the API server refuses or does not answer, or other probes took the bridge's whole time.
pub(super) async fn reconcile(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
) -> Result<Outcome, ControllerError> {
    let trace = Trace::begin(&job.key.namespace, &job.key.name, &job.cause);
    pass(context, recorder, job, &trace)
        .instrument(trace.span())
        .await
}

async fn pass(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
    trace: &Trace,
) -> Result<Outcome, ControllerError> {
    let unwritten = job.unwritten.as_deref();
    if job.cause == Cause::Unwritten
        && let Some(status) = unwritten
    {
        // It was probed already.
        let connection = &job.connection;
        return Ok(
            match Box::pin(write(context, recorder, job, connection, status)).await? {
                Reported::Written(written) => Outcome::Written(written),
                Reported::Superseded => Outcome::Superseded(Arc::clone(connection)),
            },
        );
    }
    if job.must_reread {
        let current = Box::pin(read(&context.server, &job.key)).await?;
        if !current.is_some_and(|current| job.connection.is_still(&current)) {
            return Ok(Outcome::Superseded(Arc::clone(&job.connection)));
        }
    }
    // resolve and probe
    let Some((connection, resolved, evidence)) = observe(context, recorder, job).await? else {
        return Ok(Outcome::Superseded(Arc::clone(&job.connection)));
    };
    // diagnose
    let outcome = next_status(
        unwritten.unwrap_or(&connection.status),
        &Observation {
            uid: connection.metadata.uid.as_deref().unwrap_or_default(),
            generation: connection.metadata.generation.unwrap_or_default(),
            declared: connection.declared(),
            target: resolved.target.as_ref(),
            versions: resolved.versions,
            requested: job.connection.requested(),
            failures_before: job.failures,
            evidence: &evidence,
            now: context.clock.now(),
            late: job.late,
            early: job.early,
            heartbeat: context.settings.heartbeat,
        },
    );
    tell(context, job, &outcome, trace);
    // report
    let NextStatus {
        status,
        change,
        delay,
        ..
    } = outcome;
    let failures = status.consecutive_failures;
    let connection = if change == Change::Unchanged && unwritten.is_none() {
        connection
    } else {
        match Box::pin(write(context, recorder, job, &connection, &status)).await {
            Ok(Reported::Written(written)) => written,
            Ok(Reported::Superseded) => return Ok(Outcome::Superseded(connection)),
            Err(error) => {
                context.metrics.failed();
                let (namespace, name) = job.key.names();
                warn!(namespace, name, %error, %trace, "pass failed at its end; the verdict is kept, to be written later");
                return Ok(Outcome::Unwritten {
                    connection,
                    status: Box::new(status),
                    delay,
                });
            }
        }
    };
    Ok(Outcome::Judged {
        connection,
        failures,
        delay,
    })
}

/// Resolves and probes. Where that takes long, or fails on our side, a new specification is announced meanwhile.
/// `None` where the object changed under it.
async fn observe(
    context: &Context,
    recorder: &EventRecorder,
    job: &Job,
) -> Result<Option<(Arc<Connection>, Resolved, Evidence)>, ControllerError> {
    let mut connection = Arc::clone(&job.connection);
    let mut observing = pin!(async {
        let (resolved, order) = resolve(context, job).instrument(step!("resolve")).await?;
        let evidence = match order {
            Err(blocker) => Evidence::Blocked(blocker),
            Ok(order) => {
                let order = ProbeRequest {
                    requested: job.cause == Cause::Requested,
                    ..order
                };
                Evidence::Probed(context.lanes.probe(order).instrument(step!("probe")).await?)
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
            // The same API server may refuse this too; the first error is the one to tell.
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

/// Writes that nothing is proven yet, where that is news.
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

/// Writes a status, and announces what has changed with it.
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

/// Counts and logs. One line where something changed, quiet where nothing did.
fn tell(context: &Context, job: &Job, outcome: &NextStatus, trace: &Trace) {
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
    let (layer, took) = (verdict.layer(), trace.took());
    trace.judged(verdict, layer);
    if *unlocked {
        info!(
            namespace,
            name, %trace, "the bridge was waiting for its key after a restart; the probe has unlocked it"
        );
    }
    if *change != Change::Changed {
        debug!(namespace, name, reason, layer, took, cause = ?job.cause, %next, %trace, "nothing new");
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
