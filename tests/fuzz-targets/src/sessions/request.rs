//! One request of the model: a base, a log of changes, what was read of the flash, and what its browser is told.

use super::content::{Change, Conflict, Content, Item, What, logs_in, must_happen, pushed, replay};
use super::world::{Id, World};

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
    version: u64,
    /// The content without uncommitted changes, and with them.
    pub(super) loaded: Content,
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
        let base = cookie.filter(|id| world.is_alive(*id));
        let superseded = base.is_none() && cookie.is_some_and(|id| world.is_superseded(id));
        let content = base.map_or(Content::new(world.now), |id| world.records[id].content.clone());
        Self {
            version: base.map_or(0, |id| world.records[id].version),
            base,
            view: content.clone(),
            loaded: content,
            superseded,
            tells: true,
            ..Self::default()
        }
    }

    pub(super) fn change(&mut self, change: Change) -> Outcome {
        self.writable()?;
        self.log.push(change);
        self.view = replay(&self.loaded, &self.log).inspect_err(|_| drop(self.log.pop()))?;
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
        (self.loaded, self.view) = (Content::new(now), Content::new(now));
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

    /// Whether time must not pass before it commits, because it counts from a call.
    pub(super) fn counts_from_a_call(&self) -> bool {
        self.log.iter().any(|change| matches!(change, Change::Remember { .. }))
    }

    pub(super) fn commit(&mut self, world: &mut World) -> Outcome {
        self.writable()?;
        if !self.is_dirty() || self.settle(world)? { Ok(()) } else { Err(Refusal::Gone) }
    }

    pub(super) fn finish(&mut self, world: &mut World, status: u16) -> Outcome {
        if self.gone || status >= 500 || status == 408 {
            return Ok(());
        }
        let unseen = matches!(status, 204 | 205) || (300..400).contains(&status) || self.speculative;
        let shown = self.consumed();
        if !unseen && !shown.is_empty() {
            self.change(Change::Drop(shown))?;
        }
        if self.is_dirty() {
            return self.settle(world).map(drop);
        }
        if let Some(id) = self.base.filter(|id| world.is_alive(*id) && !self.loaded.is_empty()) {
            world.refresh(id, world.records[id].version == self.version);
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
        let alive = self.base.filter(|id| world.is_alive(*id));
        let (base, next) = match (self.base, alive) {
            (None, _) => {
                let mut next = replay(&Content::new(now), &self.log)?;
                next.created = login.unwrap_or(now);
                let touched = if self.counts_from_a_call() { now } else { next.created };
                let base = (!next.is_empty()).then(|| world.create(next.clone(), touched));
                (base, next)
            }
            (Some(_), None) if login.is_none() => return self.lose(world),
            (Some(_), alive) if self.rotates || login.is_some() => {
                let fresh = Content::new(now);
                let next = replay(alive.map_or(&fresh, |id| &world.records[id].content), &self.log)?;
                if let Some(id) = alive {
                    world.end(id);
                }
                if next.is_empty() {
                    self.line = Line::Removal;
                    (None, next)
                } else {
                    (Some(world.create(next.clone(), now)), next)
                }
            }
            (Some(id), _) => {
                let next = replay(&world.records[id].content, &self.log)?;
                self.in_place(world, id, &next);
                (Some(id), next)
            }
        };
        if let Some(id) = base.filter(|_| base != self.base) {
            self.line = Line::Cookie(id);
        }
        (self.superseded, self.rotates) = (false, false);
        self.log.clear();
        self.goes_on_from(world, base, next);
        Ok(true)
    }

    fn goes_on_from(&mut self, world: &World, base: Option<Id>, content: Content) {
        self.version = base.map_or(0, |id| world.records[id].version);
        self.base = base;
        (self.loaded, self.view) = (content.clone(), content);
    }

    fn in_place(&mut self, world: &mut World, id: Id, next: &Content) {
        let emptied = next.is_empty();
        if world.records[id].content == *next {
            world.refresh(id, true);
            if emptied {
                return;
            }
        } else {
            world.write(id, next.clone());
        }
        self.line = match self.line {
            _ if !self.tells => Line::Nothing,
            _ if emptied => Line::Removal,
            Line::Removal => Line::Cookie(id),
            Line::Nothing => Line::Maybe(id),
            line => line,
        };
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
        if !world.is_alive(id) {
            (self.gone, self.line) = (true, Line::Nothing);
            self.start_over(world.now);
            return Err(Refusal::Gone);
        }
        let view = replay(&world.records[id].content, &self.log)?;
        self.goes_on_from(world, Some(id), world.records[id].content.clone());
        self.view = view;
        Ok(())
    }

    /// Whether the flash that was loaded is for the eyes of who is logged in now.
    fn sees_flash(&self) -> bool {
        let was = self.loaded.owner;
        was.is_none_or(|was| self.view.owner.is_some_and(|is| is.name == was.name))
    }

    fn visible(&mut self) -> Vec<Item> {
        if self.flash.inbox.is_none() {
            let theirs = self.loaded.messages().filter(|item| !self.flash.pushed.contains(&item.id));
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
        let of_level = |what: &What| matches!(what, What::Message { level, .. } if *level == wanted);
        let visible: Vec<Item> = self.visible().into_iter().filter(|item| of_level(&item.what)).collect();
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
        let shown = self.view.flash.iter().filter(|item| self.flash.shown.contains(&item.id) && !kept(item));
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
        if let Some((.., id, value)) = self.flash.taken.iter().find(|(own, ..)| *own == slot).copied() {
            return self.consume(vec![id]).map(|()| Some(value));
        }
        let Some((id, value)) = self.loaded.data(slot).filter(|_| self.sees_flash()) else { return Ok(None) };
        let dropped = self.log.iter().any(|change| matches!(change, Change::Drop(ids) if ids.contains(&id)));
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
            let there = |content: &Content| {
                content.flash.iter().map(|item| item.id).filter(|id| ids.contains(id)).collect::<Vec<_>>()
            };
            // What is there when the claim is applied is the caller's alone.
            let alive = self.base.filter(|id| world.is_alive(*id));
            let before = replay(alive.map_or(&self.loaded, |id| &world.records[id].content), &self.log);
            self.change(Change::Claim(ids.clone()))?;
            if let Err(refusal) = self.commit(world) {
                self.log.retain(|change| !matches!(change, Change::Claim(_)));
                self.view = replay(&self.loaded, &self.log)?;
                return Err(refusal);
            }
            self.flash.claimed.extend(there(&before?));
        }
        let claimed: Vec<Item> =
            waiting.into_iter().filter(|item| self.flash.claimed.contains(&item.id)).collect();
        self.flash.inbox = Some(claimed.clone());
        Ok(self.with_now(&claimed))
    }
}
