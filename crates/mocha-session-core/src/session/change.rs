//! The log: a request's changes to its session, in a form that can be replayed on another base.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::mutant;
use crate::record::content::{Content, Owner, Persistence};
use crate::record::message::{FlashId, Message};
use crate::record::waiting::Caps;
use crate::values::Encoded;
use crate::values::wire::Text;

/// Computes a value's new encoded form from its current one.
pub(crate) type Updater = Arc<dyn Fn(Option<&[u8]>) -> Result<Option<Encoded>> + Send + Sync>;

/// A change of a session. The changes of a log can be applied, in order, to any base.
#[derive(Clone)]
pub(crate) enum Change {
    Set(Text, Encoded),
    /// Sets the value unless there is one.
    Init(Text, Encoded),
    Remove(Text),
    Update(Text, Updater),
    /// Removes exactly this value. The request has returned it as taken, so it is a conflict if
    /// another request changed or took it.
    Take(Text, Encoded),
    Clear,
    Label(Option<Text>),
    /// The owner has re-authenticated.
    Confirm(u64),
    /// Sets the session's own idle timeout, counted from `now`.
    Remember {
        idle: Option<u64>,
        persistence: Persistence,
        now: u64,
    },
    /// Makes `owner` the session's owner, and restarts the session. If it already is the owner, the
    /// session keeps its handle. Otherwise it gets the handle `fresh`, which is zero if owners are
    /// not indexed.
    Login {
        owner: Text,
        fresh: u64,
        now: u64,
    },
    Push(Box<Message>, Caps),
    SetData(Text, FlashId, Encoded, Caps),
    Drop(Vec<FlashId>),
    /// Removes these messages, and returns those that still existed. No other request gets them.
    Claim(Vec<FlashId>, Arc<Mutex<Vec<FlashId>>>),
}

impl Change {
    fn apply(&self, content: &mut Content, before: &[Self]) -> Result<()> {
        match self {
            Self::Set(key, value) => content.values.set(key, value.clone()),
            Self::Init(key, value) => {
                if content.values.get(key.as_str()).is_none() {
                    content.values.set(key, value.clone());
                }
            }
            Self::Remove(key) => content.values.remove(key),
            Self::Update(key, update) => match update(content.values.get(key.as_str()))? {
                Some(value) => content.values.set(key, value),
                None => content.values.remove(key),
            },
            Self::Take(key, taken) => match content.values.get(key.as_str()) {
                Some(value) if *value == **taken => content.values.remove(key),
                _ if mutant("a take is not compared") => {}
                _ => {
                    let why = format!(
                        "another request took or changed the session value `{}` first",
                        key.as_str()
                    );
                    return Err(Error::new(ErrorKind::Conflict, why).during("take"));
                }
            },
            Self::Clear => content.values.clear(),
            Self::Label(label) => content.label.clone_from(label),
            Self::Confirm(now) => {
                content.confirmed = Some(content.confirmed.map_or(*now, |before| before.max(*now)));
            }
            Self::Remember { idle, persistence, now } => {
                (content.remember, content.persistence) = (*idle, *persistence);
                content.touched = content.touched.max(*now);
            }
            Self::Login { owner, fresh, now } => {
                if content.owner.as_ref().is_some_and(|was| was.name != *owner) {
                    let pushed = pushed_ids(before);
                    let mut flash = std::mem::take(&mut content.flash);
                    flash.keep_ids(&pushed);
                    *content = Content { flash, ..Content::new(*now) };
                }
                (content.created, content.touched, content.confirmed) = (*now, *now, None);
                let known = content.owner.as_ref().map_or(0, |was| was.handle);
                let handle = if known == 0 || *fresh == 0 { *fresh } else { known };
                content.owner = Some(Owner { name: owner.clone(), handle });
            }
            Self::Push(message, caps) => {
                content.flash.push(Message::clone(message), *caps);
            }
            Self::SetData(slot, id, value, caps) => {
                content.flash.set_data(slot, *id, value.clone(), *caps);
            }
            Self::Drop(_) if mutant("showing consumes everything") => content.flash.keep_ids(&[]),
            Self::Drop(ids) => content.flash.drop_ids(ids),
            Self::Claim(ids, got) => {
                let here: Vec<_> = content.flash.ids().filter(|id| ids.contains(id)).collect();
                content.flash.drop_ids(&here);
                let here =
                    if mutant("a claim gets what it asked for") { ids.clone() } else { here };
                *got.lock().unwrap_or_else(PoisonError::into_inner) = here;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change(…)")
    }
}

/// Returns `base` with `log` applied.
pub(crate) fn replay(base: &Content, log: &[Change]) -> Result<Content> {
    let mut content = base.clone();
    apply(&mut content, log)?;
    Ok(content)
}

/// Applies the whole log in place.
pub(crate) fn apply(content: &mut Content, log: &[Change]) -> Result<()> {
    for (at, change) in log.iter().enumerate() {
        change.apply(content, &log[..at])?;
    }
    Ok(())
}

/// Applies the last change of a log, if the others were already applied.
pub(crate) fn apply_last(content: &mut Content, log: &[Change]) -> Result<()> {
    match log.split_last() {
        Some((last, before)) => last.apply(content, before),
        None => Ok(()),
    }
}

/// Returns the ids of the flash items that this log added.
pub(crate) fn pushed_ids(log: &[Change]) -> Vec<FlashId> {
    log.iter()
        .filter_map(|change| match change {
            Change::Push(message, _) => Some(message.id()),
            Change::SetData(_, id, ..) => Some(*id),
            _ => None,
        })
        .collect()
}

/// Returns the ids of the flash items that this log removed.
pub(crate) fn dropped_ids(log: &[Change]) -> Vec<FlashId> {
    let dropped = log.iter().filter_map(|change| match change {
        Change::Drop(ids) => Some(ids),
        _ => None,
    });
    dropped.flatten().copied().collect()
}

/// Returns whether the loss of the log must be reported as an error, because the handler relies on
/// it: a value was taken, messages were claimed, or a user logged in.
pub(crate) fn must_happen(log: &[Change]) -> bool {
    if mutant("what is dropped is dropped in silence") {
        return false;
    }
    log.iter()
        .any(|change| matches!(change, Change::Take(..) | Change::Claim(..) | Change::Login { .. }))
}
