//! The real sessions beside the model: each operation is done to both, and what they say is
//! compared.
// tidy: long because the operations of the model stand beside each other

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mocha_session_core::{
    Detached, DetachedSession, Error, Finished, LazySession, Level, ManualClock, Message,
    Migrating, OwnedSession, RequestInfo, Secrets, Session, SessionData, SessionHandle,
    SessionManager, Storage,
};

use super::content::{
    ABSOLUTE, Change, Content, FLASH_ITEMS, Fun, IDLE, Item, KEYS, OWNERS, SLOTS, What,
};
use super::request::{Line, Refusal, Request};
use super::world::{Id, State, World};
use crate::store::TestStore;

const LEVELS: [Level; 3] = [Level::Info, Level::Success, Level::Error];
const STATUS: [u16; 8] = [200, 303, 304, 408, 500, 204, 201, 404];
const STEPS: [u64; 8] = [1, 59, 61, 500, 1_001, 4_000, 9_500, 30_000];
const REMEMBER: [u64; 3] = [5, 600, 100_000];
/// When the clock starts, in seconds since 1970.
const START: u64 = 1_800_000_000;
const BROWSERS: usize = 2;

pub(super) struct Play {
    world: World,
    clock: ManualClock,
    managers: [SessionManager; BROWSERS],
    cookies: [Option<Id>; BROWSERS],
    /// The browsers' requests, then detached sessions.
    players: [Option<Player>; 2 * BROWSERS],
    /// The latest of each browser, and what the model knows of its request once that is finished.
    detached: [Option<(Detached, Option<Id>)>; BROWSERS],
    handles: HashMap<u64, SessionHandle>,
}

struct Player {
    real: Real,
    model: Request,
}

enum Real {
    Request(LazySession, Session),
    Detached(DetachedSession),
}

impl Real {
    fn data(&self) -> &SessionData {
        match self {
            Self::Request(_, session) => session,
            Self::Detached(session) => session,
        }
    }
}

type Bytes<'b> = &'b mut dyn Iterator<Item = u8>;

impl Play {
    pub(super) fn new(rules: u8) -> Self {
        let clock = ManualClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(START));
        let (one, other) = (TestStore::default(), TestStore::default());
        let manager = || {
            let storage: Storage = if rules & 1 == 0 {
                one.clone().into()
            } else {
                Migrating::new(other.clone(), one.clone()).into()
            };
            let mut builder = SessionManager::builder(storage)
                .clock(clock.clone())
                .idle_timeout(Duration::from_secs(IDLE))
                .absolute_timeout(Duration::from_secs(ABSOLUTE))
                .flash_limits(FLASH_ITEMS, 16 * 1024);
            if rules & 2 != 0 {
                builder = builder
                    .secrets(Secrets::new([b"0123456789abcdefghijklmnopqrstuvwxyz"]).unwrap());
            }
            if rules & 4 != 0 {
                builder = builder.dangerously_unsealed();
            }
            builder.check_owner_at_load(rules & 8 != 0).build().unwrap()
        };
        Self {
            world: World::starting_at(START),
            managers: [manager(), manager()],
            clock,
            cookies: [None; BROWSERS],
            players: [const { None }; 2 * BROWSERS],
            detached: [const { None }; BROWSERS],
            handles: HashMap::new(),
        }
    }

    /// One operation; its first byte says which, and on what.
    pub(super) async fn step(&mut self, operation: u8, bytes: Bytes<'_>) {
        let (what, at) = (operation >> 2, usize::from(operation & 3));
        let mut next = |most: usize| usize::from(bytes.next().unwrap_or(0)) % most;
        match what % 40 {
            33 => self.advance(STEPS[next(STEPS.len())]),
            34 => self.list(next(OWNERS.len())).await,
            35 => self.revoke(next(OWNERS.len()), next(8)).await,
            36 => self.revoke_all(next(OWNERS.len())).await,
            37 => self.touch(at % BROWSERS).await,
            38 => self.detach(at % BROWSERS),
            39 => self.load_detached(at).await,
            what => {
                if at < BROWSERS && self.players[at].is_none() {
                    self.open(at, next(8) == 7).await;
                }
                match (what, at < BROWSERS) {
                    (28..=31, true) => self.finish(at, STATUS[next(STATUS.len())]).await,
                    (32, true) => self.give_up(at),
                    (28..=32, false) => self.players[at] = None,
                    _ => self.operate(at, what, &mut next).await,
                }
            }
        }
    }

    pub(super) async fn end(&mut self) {
        for at in 0..BROWSERS {
            if self.players[at].is_some() {
                self.finish(at, 200).await;
            }
        }
        for owner in 0..OWNERS.len() {
            self.list(owner).await;
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.world.now += seconds;
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn request(&self, at: usize, head: bool) -> LazySession {
        let cookie = self.cookies[at].and_then(|id| self.world.records[id].cookie.clone());
        self.managers[at].open(RequestInfo::new(cookie.unwrap_or_default()).head(head))
    }

    async fn open(&mut self, at: usize, head: bool) {
        let lazy = self.request(at, head);
        let session = lazy.load().await.expect("the store answers");
        let mut model = Request::of(&self.world, self.cookies[at]);
        model.speculative = head;
        let player = Player { real: Real::Request(lazy, session), model };
        self.compare(&player);
        self.players[at] = Some(player);
        self.detached[at] = None;
    }

    #[allow(clippy::too_many_lines, reason = "a table of operations")]
    async fn operate(&mut self, at: usize, what: u8, next: &mut dyn FnMut(usize) -> usize) {
        let Some(mut player) = self.players[at].take() else { return };
        let Player { real, model } = &mut player;
        let (data, world) = (real.data(), &mut self.world);
        let flash = data.flash();
        match what {
            0 | 1 => {
                let (key, value) = (next(KEYS.len()), number(next(256)));
                same(data.insert(KEYS[key], value), model.change(Change::Set(key, value)));
            }
            2 => {
                let (key, fun) = (next(KEYS.len()), Fun::Add(number(next(256))));
                let real = data
                    .update(KEYS[key], move |value| fun.apply(value).unwrap_or_default().unwrap());
                let done = model.change(Change::Update(key, fun));
                said(real, done.map(|()| model.view.values[&key]));
            }
            3 => {
                let key = next(KEYS.len());
                let real = data.try_update(KEYS[key], |value| {
                    Fun::Spend
                        .apply(value)
                        .map_err(|_| Error::new(mocha_session_core::ErrorKind::Conflict, "no"))
                });
                let done = model.writable_after(
                    Fun::Spend.apply(model.view.values.get(&key).copied()).is_err(),
                );
                let done = done.and_then(|()| model.change(Change::Update(key, Fun::Spend)));
                said(real, done.map(|()| model.view.values.get(&key).copied()));
            }
            4 => {
                let key = next(KEYS.len());
                let real = data.modify(KEYS[key], |value: &mut u32| *value = value.wrapping_mul(3));
                let there = model.view.values.contains_key(&key);
                said(real, model.change(Change::Update(key, Fun::Triple)).map(|()| there));
            }
            5 | 6 => {
                let key = next(KEYS.len());
                let real = data.take::<u32>(KEYS[key]);
                let there = model.view.values.get(&key).copied();
                let done =
                    there.map(|value| model.change(Change::Take(key, value)).map(|()| value));
                said(real, done.transpose());
            }
            7 => {
                let key = next(KEYS.len());
                let there = model.view.values.contains_key(&key);
                said(data.remove(KEYS[key]), model.change(Change::Remove(key)).map(|()| there));
            }
            8 => same(data.clear(), model.change(Change::Clear)),
            9 => {
                let (key, value) = (next(KEYS.len()), number(next(256)));
                let real = data.get_or_insert_with(KEYS[key], || value);
                match model.view.values.get(&key).copied() {
                    Some(there) => said(real, Ok(there)),
                    None => said(real, model.change(Change::Init(key, value)).map(|()| value)),
                }
            }
            10 | 11 => {
                let (level, text) = (next(LEVELS.len()), world.draw());
                let real = flash.push(Message::new(LEVELS[level], text.to_string()));
                let what = What::Message { level, text };
                same(real.map(drop), model.change(Change::Push(Item { id: text, what })));
            }
            12 => {
                let (slot, value) = (next(SLOTS.len()), world.draw());
                let real = flash.set_data_for(SLOTS[slot], &value);
                let what = What::Data { slot, value };
                same(real.map(drop), model.change(Change::Push(Item { id: value, what })));
            }
            13 => {
                let slot = next(SLOTS.len());
                said(flash.take_data_for::<u64>(SLOTS[slot]), model.take_data(slot));
            }
            14 => assert_eq!(shown(&flash.messages()), model.messages(true)),
            15 => assert_eq!(shown(&flash.peek()), model.messages(false)),
            16 => {
                let level = next(LEVELS.len());
                said(
                    flash.take(LEVELS[level]).map(|messages| shown(&messages)),
                    model.take_level(level),
                );
            }
            17 => {
                let claimed = flash.claim().await.map(|messages| shown(&messages));
                said(claimed, model.claim(world));
            }
            18 => {
                flash.keep();
                model.flash.keeps_all = true;
            }
            19 => {
                let level = next(LEVELS.len());
                flash.keep_level(LEVELS[level]);
                model.flash.keeps_levels.push(level);
            }
            20 => same(flash.discard(), model.discard()),
            21 => {
                let (level, text) = (next(LEVELS.len()), world.draw());
                flash.now(LEVELS[level], text.to_string());
                model.flash.now.push(What::Message { level, text });
            }
            22 => {
                let label = u8::try_from(next(4)).ok().filter(|label| *label > 0);
                let real = data.set_label(label.map(|label| label.to_string()).unwrap_or_default());
                same(real, model.change(Change::Label(label)));
            }
            23 => {
                let idle = [Some(REMEMBER[0]), Some(REMEMBER[1]), Some(REMEMBER[2]), None][next(4)];
                let real = match idle {
                    Some(idle) => data.remember_for(Duration::from_secs(idle)),
                    None => data.forget_on_close(),
                };
                same(real, model.change(Change::Remember { idle, now: world.now }));
            }
            24 => same(data.reload().await, model.reload(world)),
            25 => same(data.commit().await, model.commit(world)),
            26 | 27 => self.identify(real, model, next).await,
            _ => {}
        }
        self.compare(&player);
        self.players[at] = Some(player);
    }

    /// What changes the id, which a detached session cannot.
    async fn identify(
        &mut self,
        real: &Real,
        model: &mut Request,
        next: &mut dyn FnMut(usize) -> usize,
    ) {
        let Real::Request(lazy, session) = real else { return };
        match next(6) {
            0 | 1 => {
                let owner = next(OWNERS.len());
                same(session.login(OWNERS[owner]), model.login(&mut self.world, owner));
            }
            2 => {
                same(session.rotate(), model.writable());
                model.rotates = !model.gone && model.base.is_some();
            }
            3 => same(session.destroy(), model.destroy(self.world.now)),
            4 if !model.gone => {
                lazy.abandon().await.expect("it can be read");
                let _ = model.destroy(self.world.now);
            }
            _ => self.revoke_others(session, model).await,
        }
    }

    /// What can be read of a session is what the model has, now and with its changes.
    fn compare(&mut self, player: &Player) {
        let (data, model) = (player.real.data(), &player.model);
        let values = KEYS
            .iter()
            .enumerate()
            .filter_map(|(at, key)| Some((at, data.get::<u32>(key).unwrap()?)));
        assert_eq!(values.collect::<std::collections::BTreeMap<_, _>>(), model.view.values);
        assert_eq!(data.owner().as_deref(), model.view.owner.map(|owner| OWNERS[owner.name]));
        assert_eq!(data.label(), model.view.label.map(|label| label.to_string()));
        assert_eq!(data.is_new(), model.base.is_none());
        if let Some(owner) = model.view.owner {
            let handle = data.handle().expect("owners are indexed");
            assert_eq!(*self.handles.entry(owner.tag).or_insert(handle), handle);
        }
        if model.base.is_some() {
            assert_eq!(since_1970(data.created_at()), model.view.created);
        }
    }

    async fn finish(&mut self, at: usize, status: u16) {
        let Some(Player { real: Real::Request(lazy, _), mut model }) = self.players[at].take()
        else {
            return;
        };
        let finished = self.managers[at].finish(&lazy, status).await;
        let outcome = model.finish(&mut self.world, status);
        assert_eq!(finished.error().map(refusal), outcome.err());
        self.told(at, status, &finished, &model);
        self.keep_detached(at, &model);
        self.look(at).await;
    }

    /// The client goes away, and the framework drops the request.
    fn give_up(&mut self, at: usize) {
        let Some(Player { real: Real::Request(lazy, _), model }) = self.players[at].take() else {
            return;
        };
        lazy.close();
        self.keep_detached(at, &model);
    }

    fn keep_detached(&mut self, at: usize, model: &Request) {
        if let Some((_, base)) = &mut self.detached[at] {
            *base = model.base;
        }
    }

    /// The browser does what the response says, and that is what the model says.
    fn told(&mut self, at: usize, status: u16, finished: &Finished, model: &Request) {
        let line = finished.set_cookie();
        let pair = line.map(|line| line.split(';').next().unwrap().to_owned());
        match (model.line, line) {
            (Line::Nothing | Line::Maybe(_), None) => {}
            (Line::Removal, Some(line)) if line.contains("Max-Age=0;") => self.cookies[at] = None,
            (Line::Maybe(id) | Line::Cookie(id), Some(line)) => {
                assert!(!line.contains("Max-Age=0;"), "a cookie, and not its removal");
                if model.base == Some(id) && self.world.is_latest(id, &model.loaded) {
                    let left = model.loaded.deadline().saturating_sub(self.world.now).max(1);
                    let age =
                        line.split("; Max-Age=").nth(1).and_then(|rest| rest.split(';').next());
                    let age = age.map(|age| age.parse::<u64>().unwrap());
                    assert_eq!(age.is_none(), model.loaded.content.forgotten);
                    // An error and a 304 tell what was committed before, and not what a socket has
                    // done since.
                    let tells = !matches!(status, 304 | 408 | 500..);
                    assert!(
                        age.is_none_or(|age| age == left || (age < left && !tells)),
                        "{age:?} of {left}"
                    );
                }
                let known = self.world.records.iter().position(|record| record.cookie == pair);
                assert_eq!(known.unwrap_or(id), id, "the id of another session");
                let record = &mut self.world.records[id];
                assert!(
                    record.cookie.is_none() || record.cookie == pair,
                    "a second id for a session"
                );
                record.cookie = pair;
                self.cookies[at] = Some(id);
            }
            (expected, line) => panic!("the cookie line is {line:?} and must be {expected:?}"),
        }
    }

    /// What the next request of a browser will find; it leaves nothing behind.
    async fn look(&mut self, at: usize) {
        let lazy = self.request(at, false);
        let session = lazy.load().await.expect("the store answers");
        let mut model = Request::of(&self.world, self.cookies[at]);
        assert_eq!(shown(&session.flash().peek()), model.messages(false));
        if model.base.is_some() {
            assert_eq!(since_1970(session.expires_at()), model.loaded.deadline());
        }
        self.compare(&Player { real: Real::Request(lazy.clone(), session), model });
        lazy.close();
    }

    fn detach(&mut self, at: usize) {
        if let Some(Player { real: Real::Request(_, session), model }) = &self.players[at] {
            self.detached[at] = Some((session.detached(), model.base));
        }
    }

    /// The session that a detached handle leads to; an error where its request must finish first.
    fn follow(&self, at: usize) -> Option<Result<Option<Id>, Refusal>> {
        let (_, base) = self.detached[at].as_ref()?;
        let base = match &self.players[at] {
            Some(player) if player.model.is_pending() => return Some(Err(Refusal::Conflict)),
            Some(player) => player.model.base,
            None => *base,
        };
        Some(Ok(base.filter(|id| self.world.live(*id).is_some())))
    }

    async fn load_detached(&mut self, at: usize) {
        let browser = at % BROWSERS;
        let Some(expected) = self.follow(browser) else { return };
        let Some((detached, _)) = &self.detached[browser] else { return };
        let real = match (detached.load().await, expected) {
            (Ok(Some(session)), Ok(Some(id))) => (session, id),
            (Ok(None), Ok(None)) => return,
            (Err(error), Err(expected)) => return assert_eq!(refusal(&error), expected),
            (real, expected) => panic!("a detached session is {real:?} and must be {expected:?}"),
        };
        let mut model = Request::of(&self.world, Some(real.1));
        model.tells = false;
        let player = Player { real: Real::Detached(real.0), model };
        self.compare(&player);
        self.players[BROWSERS + browser] = Some(player);
    }

    async fn touch(&mut self, at: usize) {
        let Some(expected) = self.follow(at) else { return };
        let Some((detached, _)) = &self.detached[at] else { return };
        said(detached.touch().await, expected.map(|id| id.is_some()));
        if let Ok(Some(id)) = expected {
            let seen = self.world.records[id].seen.clone();
            self.world.refresh(id, &seen);
        }
    }

    /// The live sessions of an owner, as the model knows them.
    fn owned(&self, owner: usize) -> Vec<Id> {
        let theirs = |content: &Content| content.owner.is_some_and(|own| own.name == owner);
        let all = 0..self.world.records.len();
        all.filter(|id| {
            self.world.live(*id).is_some() && theirs(&self.world.records[*id].seen.content)
        })
        .collect()
    }

    fn handle(&self, id: Id) -> Option<SessionHandle> {
        self.world.records[id]
            .seen
            .content
            .owner
            .and_then(|owner| self.handles.get(&owner.tag).copied())
    }

    async fn list(&mut self, owner: usize) {
        let listed = self.managers[owner % BROWSERS].sessions_of(OWNERS[owner]).await.unwrap();
        let theirs = self.owned(owner);
        assert_eq!(listed.len(), theirs.len(), "the sessions of an owner");
        for id in theirs {
            let content = &self.world.records[id].seen.content;
            // A handle is unknown where a login found its session gone.
            let Some(handle) = self.handle(id) else { continue };
            let listed =
                listed.iter().find(|listed| listed.handle() == handle).expect("alive and unlisted");
            assert_eq!(listed.label(), content.label.map(|label| label.to_string()).as_deref());
        }
    }

    async fn revoke(&mut self, owner: usize, nth: usize) {
        let listed = self.managers[0].sessions_of(OWNERS[owner]).await.unwrap();
        let Some(handle) = listed.get(nth).map(OwnedSession::handle) else { return };
        assert!(self.managers[1].revoke(OWNERS[owner], handle).await.unwrap());
        let theirs = self.owned(owner).into_iter().find(|id| self.handle(*id) == Some(handle));
        self.revoked(&theirs.into_iter().collect::<Vec<_>>());
    }

    async fn revoke_all(&mut self, owner: usize) {
        let theirs = self.owned(owner);
        let ended = self.managers[0].revoke_all(OWNERS[owner]).await.unwrap();
        assert!(ended >= theirs.len());
        self.revoked(&theirs);
    }

    async fn revoke_others(&mut self, session: &Session, model: &Request) {
        let own =
            model.base.and(model.loaded.content.owner).filter(|own| model.view.owner == Some(*own));
        match (self.managers[0].revoke_others(session).await, own) {
            (Err(error), None) => assert!(error.is_invalid_input(), "{error}"),
            (Ok(ended), Some(own)) => {
                let mut theirs = self.owned(own.name);
                theirs.retain(|id| self.world.records[*id].seen.content.owner != Some(own));
                assert!(ended >= theirs.len());
                self.revoked(&theirs);
            }
            (real, own) => panic!("revoke_others is {real:?} for {own:?}"),
        }
    }

    fn revoked(&mut self, ids: &[Id]) {
        ids.iter().for_each(|id| self.world.records[*id].state = State::Revoked);
    }
}

fn since_1970(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_default()
}

fn shown(messages: &[Message]) -> Vec<What> {
    let level =
        |message: &Message| LEVELS.iter().position(|level| *level == message.level()).unwrap();
    messages
        .iter()
        .map(|message| What::Message {
            level: level(message),
            text: message.text().parse().unwrap(),
        })
        .collect()
}

fn refusal(error: &Error) -> Refusal {
    match error {
        error if error.is_gone() => Refusal::Gone,
        error if error.is_conflict() => Refusal::Conflict,
        error => panic!("neither gone nor a conflict: {error}"),
    }
}

fn same(real: Result<(), Error>, model: Result<(), Refusal>) {
    said(real, model);
}

fn said<T: PartialEq + std::fmt::Debug>(real: Result<T, Error>, model: Result<T, Refusal>) {
    assert_eq!(real.map_err(|error| refusal(&error)), model);
}
