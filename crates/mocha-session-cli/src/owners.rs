//! `sessions` and `revoke`: lists and ends a user's sessions.

use std::time::SystemTime;

use mocha_session::SessionHandle;
use serde_json::{Value, json};

use crate::args::{Revoke, Sessions};
use crate::output::{Failure, Report};

pub(crate) async fn sessions(sessions: &Sessions) -> Result<Report, Failure> {
    let manager = sessions.application.manager().await?;
    let listed = manager.sessions_of(&sessions.owner).await?;
    let mut report = Report::new();
    report.field("sessions", Value::Array(Vec::new()));
    if listed.is_empty() {
        report.line(sessions.application.nothing_listed());
        return Ok(report.nothing());
    }
    report.line(format!("{:<18} {:>12} {:>12} {:>12}  label", "handle", "begun", "used", "ends"));
    let mut all = Vec::new();
    for session in listed {
        let (begun, used) = (ago(session.created_at()), ago(session.last_seen()));
        let ends = ahead(session.expires_at());
        let label = session.label().unwrap_or_default();
        report.line(format!(
            "{:<18} {:>12} {:>12} {:>12}  {label}",
            session.handle().to_string(),
            format!("{} ago", spelled(begun)),
            format!("{} ago", spelled(used)),
            format!("in {}", spelled(ends)),
        ));
        all.push(json!({
            "handle": session.handle().to_string(),
            "created_seconds_ago": begun,
            "used_seconds_ago": used,
            "expires_in_seconds": ends,
            "label": session.label(),
        }));
    }
    report.field("sessions", all);
    Ok(report)
}

pub(crate) async fn revoke(revoke: &Revoke) -> Result<Report, Failure> {
    let manager = revoke.application.manager().await?;
    let ended = match &revoke.handle {
        Some(handle) => {
            let handle: SessionHandle = handle.parse()?;
            usize::from(manager.revoke(&revoke.owner, handle).await?)
        }
        None => manager.revoke_all(&revoke.owner).await?,
    };
    let mut report = Report::new();
    report.fact("ended", ended);
    if ended == 0 {
        report.line(revoke.application.nothing_listed());
        return Ok(report.nothing());
    }
    Ok(report)
}

fn ago(time: SystemTime) -> u64 {
    time.elapsed().unwrap_or_default().as_secs()
}

fn ahead(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::now()).unwrap_or_default().as_secs()
}

/// Formats a duration for people, in its largest unit.
fn spelled(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
