//! The log of changes: what a request did to its session, in a form that can be done again on
//! another base.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::mutant;
use crate::record::content::{Content, Owner, Persistence};
use crate::record::message::{FlashId, Message};
use crate::record::waiting::Caps;
use crate::values::Encoded;
use crate::values::wire::Text;

/// A change of one value that depends on the value: from what is there (encoded) to what shall be
/// there.
pub(crate) type Updater = Arc<dyn Fn(Option<&[u8]>) -> Result<Option<Encoded>> + Send + Sync>;

/// One change. Applied in order over any base they give what the request meant.
#[derive(Clone)]
pub(crate) enum Change {
    Set(Text, Encoded),
    /// Set if nothing is there.
    Init(Text, Encoded),
    Remove(Text),
    Update(Text, Updater),
    /// Remove this very value: it was handed out as taken, and nobody else may have taken it.
    Take(Text, Encoded),
    Clear,
    Label(Option<Text>),
    /// The owner has proved who they are once more.
    Confirm(u64),
    /// An idle timeout of the session's own, counted from now.
    Remember {
        idle: Option<u64>,
        persistence: Persistence,
        now: u64,
    },
    /// The session is this owner's from here on, and begins now. A session that is theirs already
    /// keeps its handle; another one gets `fresh`, zero where owners are not indexed.
    Login {
        owner: Text,
        fresh: u64,
        now: u64,
    },
    Push(Box<Message>, Caps),
    SetData(Text, FlashId, Encoded, Caps),
    Drop(Vec<FlashId>),
    /// Remove these, and say which of them were there: they are the caller's alone.
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

/// The content that `log` makes of `base`.
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

/// Applies the last change of a log to the content that the others have made.
pub(crate) fn apply_last(content: &mut Content, log: &[Change]) -> Result<()> {
    match log.split_last() {
        Some((last, before)) => last.apply(content, before),
        None => Ok(()),
    }
}

/// The identities of what this log pushed.
pub(crate) fn pushed_ids(log: &[Change]) -> Vec<FlashId> {
    log.iter()
        .filter_map(|change| match change {
            Change::Push(message, _) => Some(message.id()),
            Change::SetData(_, id, ..) => Some(*id),
            _ => None,
        })
        .collect()
}

/// The identities of what this log dropped.
pub(crate) fn dropped_ids(log: &[Change]) -> Vec<FlashId> {
    let dropped = log.iter().filter_map(|change| match change {
        Change::Drop(ids) => Some(ids),
        _ => None,
    });
    dropped.flatten().copied().collect()
}

/// Whether the log hands something out that must not be lost in silence: a value that was taken,
/// messages that were claimed, a login that the user was told of.
pub(crate) fn must_happen(log: &[Change]) -> bool {
    if mutant("what is dropped is dropped in silence") {
        return false;
    }
    log.iter()
        .any(|change| matches!(change, Change::Take(..) | Change::Claim(..) | Change::Login { .. }))
}
