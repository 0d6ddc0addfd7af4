//! One request of the model: a base, a log of changes, what was read of the flash, and what its
//! browser is told.

use super::content::{Change, Conflict, Content, Item, What, logs_in, must_happen, pushed, replay};
use super::world::{Id, Seen, World};

/// What the response's cookie line must be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Line {
    #[default]
    Nothing,
    /// This session's cookie, if its deadline was moved.
    Maybe(Id),
    Cookie(Id),
    Removal,
}

#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) base: Option<Id>,
    /// Its record without uncommitted changes, and the content with them.
    pub(super) loaded: Seen,
    pub(super) view: Content,
    log: Vec<Change>,
    pub(super) rotates: bool,
    doomed: Vec<Id>,
    pub(super) gone: bool,
    superseded: bool,
    pub(super) line: Line,
    pub(super) flash: Reading,
    /// Whether a response can tell the browser; a detached session has none.
    pub(super) tells: bool,
    pub(super) speculative: bool,
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    inbox: Option<Vec<Item>>,
    pub(super) now: Vec<What>,
    pub(super) keeps_all: bool,
    pub(super) keeps_levels: Vec<usize>,
    claimed: Vec<u64>,
    shown: Vec<u64>,
    taken: Vec<(usize, u64, u64)>,
    pushed: Vec<u64>,
}

impl Reading {
    fn forget(&mut self) {
        self.inbox = None;
        self.shown.clear();
        self.taken.clear();
        self.claimed.clear();
    }
}

/// Why something did not happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    Gone,
    Conflict,
}

impl From<Conflict> for Refusal {
    fn from(_: Conflict) -> Self {
        Self::Conflict
    }
}

type Outcome<T = ()> = Result<T, Refusal>;

impl Request {
    /// A request of a browser with this session's cookie.
    pub(super) fn of(world: &World, cookie: Option<Id>) -> Self {
        let base = cookie.filter(|id| world.live(*id).is_some());
        let nothing = Seen::of_nothing(Content::new(world.now));
        let loaded = base.and_then(|id| world.live(id)).cloned().unwrap_or(nothing);
        Self {
            superseded: base.is_none() && cookie.is_some_and(|id| world.is_superseded(id)),
            base,
            view: loaded.content.clone(),
            loaded,
            tells: true,
            ..Self::default()
        }
    }

    pub(super) fn change(&mut self, change: Change) -> Outcome {
        self.writable()?;
        self.log.push(change);
        self.view =
            replay(&self.loaded.content, &self.log).inspect_err(|_| drop(self.log.pop()))?;
        Ok(())
    }

    pub(super) fn writable(&self) -> Outcome {
        if self.gone { Err(Refusal::Gone) } else { Ok(()) }
    }

    /// An update runs before anything is found to be gone.
    pub(super) fn writable_after(&self, refused: bool) -> Outcome {
        if refused { Err(Refusal::Conflict) } else { self.writable() }
    }

    pub(super) fn login(&mut self, world: &mut World, name: usize) -> Outcome {
        self.writable()?;
        if self.view.owner.is_some_and(|owner| owner.name != name) {
            self.flash.forget();
        }
        let (tag, now) = (world.draw(), world.now);
        self.change(Change::Login { name, tag, now })
    }

    pub(super) fn destroy(&mut self, now: u64) -> Outcome {
        self.writable()?;
        self.doomed.extend(self.base.take());
        self.start_over(now);
        Ok(())
    }

    fn start_over(&mut self, now: u64) {
        (self.base, self.rotates) = (None, false);
        (self.loaded, self.view) = (Seen::of_nothing(Content::new(now)), Content::new(now));
        self.log.clear();
        self.flash.forget();
    }

    fn is_dirty(&self) -> bool {
        !self.log.is_empty() || self.rotates || !self.doomed.is_empty()
    }

    /// Whether its id is only known when it is finished.
    pub(super) fn is_pending(&self) -> bool {
        !self.gone && (self.rotates || self.base.is_none() || logs_in(&self.log).is_some())
    }

    pub(super) fn commit(&mut self, world: &mut World) -> Outcome {
        self.writable()?;
        if !self.is_dirty() || self.settle(world)? { Ok(()) } else { Err(Refusal::Gone) }
    }

    pub(super) fn finish(&mut self, world: &mut World, status: u16) -> Outcome {
        if self.gone || status >= 500 || status == 408 {
            return Ok(());
        }
        let unseen =
            matches!(status, 204 | 205) || (300..400).contains(&status) || self.speculative;
        let shown = self.consumed();
        if !unseen && !shown.is_empty() {
            self.change(Change::Drop(shown))?;
        }
        if self.is_dirty() {
            return self.settle(world).map(drop);
        }
        if let Some(id) = self.base.filter(|_| !self.loaded.content.is_empty()) {
            world.refresh(id, &self.loaded);
            if self.line == Line::Nothing && status != 304 {
                self.line = Line::Maybe(id);
            }
        }
        Ok(())
    }

    /// Commits what is logged; whether the session is still there.
    fn settle(&mut self, world: &mut World) -> Outcome<bool> {
        self.flash.pushed.extend(pushed(&self.log));
        while let Some(id) = self.doomed.pop() {
            world.end(id);
            (self.line, self.superseded) = (Line::Removal, false);
        }
        let login = logs_in(&self.log);
        if self.superseded && login.is_none() {
            return self.lose(world);
        }
        let now = world.now;
        let alive = self.base.filter(|id| world.live(*id).is_some());
        let base = match (self.base, alive) {
            (None, _) => {
                let mut next = replay(&self.loaded.content, &self.log)?;
                if login.is_none() {
                    (next.created, next.touched) = (now, now);
                }
                self.loaded = Seen::of_nothing(next.clone());
                (!next.is_empty()).then(|| world.create(next))
            }
            (Some(_), alive) if self.rotates || login.is_some() => {
                if alive.is_none() && login.is_none() {
                    return self.lose(world);
                }
                let fresh = Content::new(now);
                let next =
                    replay(alive.map_or(&fresh, |id| &world.records[id].seen.content), &self.log)?;
                alive.into_iter().for_each(|id| world.end(id));
                self.loaded = Seen::of_nothing(next.clone());
                if next.is_empty() {
                    self.line = Line::Removal;
                    None
                } else {
                    Some(world.create(Content { touched: now, ..next }))
                }
            }
            (Some(id), _) => {
                if !self.in_place(world, id)? {
                    return self.lose(world);
                }
                Some(id)
            }
        };
        if let Some(id) = base.filter(|_| base != self.base) {
            (self.line, self.loaded) = (Line::Cookie(id), world.records[id].seen.clone());
        }
        (self.superseded, self.rotates, self.base) = (false, false, base);
        self.log.clear();
        self.view = self.loaded.content.clone();
        Ok(true)
    }

    /// Writes over the base, or over what others have written since; whether the session is there.
    fn in_place(&mut self, world: &mut World, id: Id) -> Outcome<bool> {
        let mut seen = self.loaded.clone();
        loop {
            let latest = world.is_latest(id, &seen);
            if seen.deadline() <= world.now {
                match world.live(id).filter(|_| !latest) {
                    Some(refreshed) => seen = refreshed.clone(),
                    None => return Ok(false),
                }
                continue;
            }
            let mut next = replay(&seen.content, &self.log)?;
            let due = seen.is_due(world.now);
            let (emptied, same) = (next.is_empty(), next.same(&seen.content));
            if !same || (due && !emptied) {
                if !latest {
                    // Only a write finds that others have written.
                    match world.live(id) {
                        Some(changed) => seen = changed.clone(),
                        None => return Ok(false),
                    }
                    continue;
                }
                if due {
                    next.touched = world.now;
                }
                world.write(id, next);
                seen = world.records[id].seen.clone();
            } else {
                // A lifetime that counts from now counts with the next write.
                seen.content = next;
            }
            self.line = match self.line {
                line if !self.tells || (same && emptied) => line,
                _ if emptied => Line::Removal,
                Line::Removal => Line::Cookie(id),
                Line::Nothing => Line::Maybe(id),
                line => line,
            };
            self.loaded = seen;
            return Ok(true);
        }
    }

    fn lose(&mut self, world: &World) -> Outcome<bool> {
        let must_happen = must_happen(&self.log);
        (self.gone, self.line) = (true, Line::Nothing);
        self.start_over(world.now);
        if must_happen { Err(Refusal::Gone) } else { Ok(false) }
    }

    pub(super) fn reload(&mut self, world: &World) -> Outcome {
        self.writable()?;
        let Some(id) = self.base else { return Ok(()) };
        let Some(latest) = world.live(id) else {
            (self.gone, self.line) = (true, Line::Nothing);
            self.start_over(world.now);
            return Err(Refusal::Gone);
        };
        self.view = replay(&latest.content, &self.log)?;
        self.loaded = latest.clone();
        Ok(())
    }

    /// Whether the flash that was loaded is for the eyes of who is logged in now.
    fn sees_flash(&self) -> bool {
        let was = self.loaded.content.owner;
        was.is_none_or(|was| self.view.owner.is_some_and(|is| is.name == was.name))
    }

    fn visible(&mut self) -> Vec<Item> {
        if self.flash.inbox.is_none() {
            let theirs =
                self.loaded.content.messages().filter(|item| !self.flash.pushed.contains(&item.id));
            let inbox = if self.sees_flash() { theirs.cloned().collect() } else { Vec::new() };
            self.flash.inbox = Some(inbox);
        }
        self.flash.inbox.clone().unwrap_or_default()
    }

    fn with_now(&self, items: &[Item]) -> Vec<What> {
        items.iter().map(|item| item.what).chain(self.flash.now.iter().copied()).collect()
    }

    pub(super) fn messages(&mut self, shows: bool) -> Vec<What> {
        let visible = self.visible();
        if shows {
            self.flash.shown.extend(visible.iter().map(|item| item.id));
        }
        self.with_now(&visible)
    }

    pub(super) fn take_level(&mut self, wanted: usize) -> Outcome<Vec<What>> {
        let of_level =
            |what: &What| matches!(what, What::Message { level, .. } if *level == wanted);
        let visible: Vec<Item> =
            self.visible().into_iter().filter(|item| of_level(&item.what)).collect();
        self.consume(visible.iter().map(|item| item.id).collect())?;
        Ok(self.with_now(&visible).into_iter().filter(of_level).collect())
    }

    fn consume(&mut self, mut ids: Vec<u64>) -> Outcome {
        ids.retain(|id| self.view.flash.iter().any(|item| item.id == *id));
        if ids.is_empty() { Ok(()) } else { self.change(Change::Drop(ids)) }
    }

    /// What was shown and is not kept.
    fn consumed(&self) -> Vec<u64> {
        if self.flash.keeps_all {
            return Vec::new();
        }
        let kept = |item: &Item| matches!(item.what, What::Message { level, .. } if self.flash.keeps_levels.contains(&level));
        let shown = self
            .view
            .flash
            .iter()
            .filter(|item| self.flash.shown.contains(&item.id) && !kept(item));
        shown.map(|item| item.id).collect()
    }

    pub(super) fn discard(&mut self) -> Outcome {
        self.change(Change::Drop(self.view.flash.iter().map(|item| item.id).collect()))?;
        self.flash.inbox = Some(Vec::new());
        self.flash.taken.clear();
        self.flash.now.clear();
        Ok(())
    }

    pub(super) fn take_data(&mut self, slot: usize) -> Outcome<Option<u64>> {
        if let Some((.., id, value)) =
            self.flash.taken.iter().find(|(own, ..)| *own == slot).copied()
        {
            return self.consume(vec![id]).map(|()| Some(value));
        }
        let Some((id, value)) = self.loaded.content.data(slot).filter(|_| self.sees_flash()) else {
            return Ok(None);
        };
        let dropped =
            self.log.iter().any(|change| matches!(change, Change::Drop(ids) if ids.contains(&id)));
        if self.flash.pushed.contains(&id) || dropped {
            return Ok(None);
        }
        self.consume(vec![id])?;
        self.flash.taken.push((slot, id, value));
        Ok(Some(value))
    }

    pub(super) fn claim(&mut self, world: &mut World) -> Outcome<Vec<What>> {
        let waiting = self.visible();
        let ids = waiting.iter().map(|item| item.id).filter(|id| !self.flash.claimed.contains(id));
        let ids: Vec<u64> = ids.collect();
        if !ids.is_empty() {
            // What is there when the claim is applied is the caller's alone.
            let fresh = Seen::default();
            let latest = self.base.map_or(&self.loaded, |id| world.live(id).unwrap_or(&fresh));
            let before = replay(&latest.content, &self.log);
            self.change(Change::Claim(ids.clone()))?;
            if let Err(refusal) = self.commit(world) {
                self.log.retain(|change| !matches!(change, Change::Claim(_)));
                self.view = replay(&self.loaded.content, &self.log)?;
                return Err(refusal);
            }
            let there = before?.flash.into_iter().map(|item| item.id);
            self.flash.claimed.extend(there.filter(|id| ids.contains(id)));
        }
        let claimed: Vec<Item> =
            waiting.into_iter().filter(|item| self.flash.claimed.contains(&item.id)).collect();
        self.flash.inbox = Some(claimed.clone());
        Ok(self.with_now(&claimed))
    }
}
