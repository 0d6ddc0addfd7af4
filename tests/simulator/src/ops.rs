//! What the simulated requests do, and the case that they belong to, both as text.

use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($name:ident $text:literal $doc:literal,)*) => {
        /// What an operation does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $(#[doc = $doc] $name,)* }
        /// Every operation there is.
        pub const KINDS: &[Kind] = &[$(Kind::$name,)*];
        impl Kind {
            /// Its name.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    Write "write" "inserts a key of its own",
    Commit "commit" "inserts a key of its own and commits in the handler",
    Update "update" "adds one to the counter",
    Count "count" "adds one to the counter and commits in the handler",
    TryUpdate "try-update" "sets the only place there is, or is refused",
    Modify "modify" "appends itself to the list",
    Take "take" "takes the token",
    TakeCommit "take-commit" "takes the token and commits in the handler",
    Read "read" "reads",
    Clear "clear" "removes all values",
    Rotate "rotate" "gives the session a new id",
    Login "login" "logs in as u",
    LoginOther "login-v" "logs in as v",
    Destroy "destroy" "logs out",
    Bye "bye" "logs out and pushes a message",
    Revoke "revoke" "an administrator ends the first session of u",
    Others "others" "ends all sessions of the user but this one",
    All "all" "an administrator ends all sessions of u",
    AllBye "all-bye" "ends all sessions of the user, logs out and pushes a message",
    Push "push" "pushes a message",
    Show "show" "reads the messages",
    Claim "claim" "claims the messages",
    Remember "remember" "keeps the session for two days",
    Forget "forget" "makes the cookie end with the browser",
    Touch "touch" "keeps the session alive through a detached handle",
    Label "label" "names the session",
    Detach "detach" "inserts a key of its own through a detached handle",
    Sweep "sweep" "sweeps the engine",
    Move "move" "moves the old engine's sessions to the new one, where there are two",
}

impl Kind {
    /// Whether it is a call of the manager, without a request.
    pub fn is_admin(self) -> bool {
        matches!(self, Self::Revoke | Self::All | Self::Sweep | Self::Move)
    }

    /// Whether it may end the session of its request.
    pub fn ends(self) -> bool {
        matches!(self, Self::Destroy | Self::Bye | Self::AllBye)
    }

    /// Whether it may give the session of its request a new id.
    pub fn moves(self) -> bool {
        matches!(self, Self::Rotate | Self::Login | Self::LoginOther)
    }

    /// Whether it ends sessions of u as a set.
    pub fn revokes(self) -> bool {
        matches!(self, Self::Revoke | Self::All | Self::Others | Self::AllBye)
    }
}

/// Which cookies a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum From {
    /// The first browser's jar.
    Jar,
    /// The second browser's jar.
    Other,
    /// The first cookie that the first browser ever had, whatever it has now.
    Old,
    /// None.
    Nobody,
    /// Two of one name.
    Two,
}

const FROMS: &[(From, &str)] = &[
    (From::Jar, ""),
    (From::Other, "@other"),
    (From::Old, "@old"),
    (From::Nobody, "@nobody"),
    (From::Two, "@two"),
];

/// One request, or one call of the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Which process serves it.
    pub process: u8,
    /// What it does.
    pub kind: Kind,
    /// Which cookies it brings.
    pub from: From,
    /// The status of its response.
    pub status: u16,
    /// Whether its handler waits after the load until the scheduler lets it go on.
    pub slow: bool,
}

impl Op {
    /// A request of the first browser that is answered with 200.
    pub fn new(process: u8, kind: Kind) -> Self {
        Self { process, kind, from: From::Jar, status: 200, slow: false }
    }

    /// Whether a response of this status commits.
    pub fn commits(&self) -> bool {
        self.status < 500 && self.status != 408
    }

    /// Whether a response of this status shows what it says.
    pub fn shows(&self) -> bool {
        self.commits() && !matches!(self.status, 204 | 205) && !(300..400).contains(&self.status)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", char::from(b'a' + self.process), self.kind.text())?;
        let from = FROMS.iter().find(|(from, _)| *from == self.from);
        f.write_str(from.map_or("", |(_, text)| text))?;
        if self.status != 200 {
            write!(f, "/{}", self.status)?;
        }
        if self.slow { f.write_str("&") } else { Ok(()) }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no operation: {text}");
        let (process, rest) = text.split_once(':').ok_or_else(wrong)?;
        let process =
            process.bytes().next().filter(u8::is_ascii_lowercase).ok_or_else(wrong)? - b'a';
        let (rest, slow) = rest.strip_suffix('&').map_or((rest, false), |rest| (rest, true));
        let (rest, status) = match rest.split_once('/') {
            Some((rest, status)) => (rest, status.parse().map_err(|_| wrong())?),
            None => (rest, 200),
        };
        let at = rest.find('@').unwrap_or(rest.len());
        let from = FROMS.iter().find(|(_, text)| *text == &rest[at..]).ok_or_else(wrong)?.0;
        let kind = *KINDS.iter().find(|kind| kind.text() == &rest[..at]).ok_or_else(wrong)?;
        Ok(Self { process, kind, from, status, slow })
    }
}

/// What there is before the operations begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Nothing.
    Empty,
    /// The first browser has an anonymous session.
    Anonymous,
    /// The first browser is logged in as u.
    User,
    /// Two browsers are logged in as u.
    Devices,
    /// The first browser is logged in as u, and was given a new id since.
    Rotated,
    /// As `Devices`; a request `@two` brings both cookies.
    Stale,
}

const SETUPS: &[(Setup, &str)] = &[
    (Setup::Empty, "empty"),
    (Setup::Anonymous, "anon"),
    (Setup::User, "user"),
    (Setup::Devices, "devices"),
    (Setup::Rotated, "rotated"),
    (Setup::Stale, "stale"),
];

/// How a process uses the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The old one alone.
    Plain,
    /// The old one, with reads from the process' memory. It has read the sessions of the setup.
    Near,
    /// Migrating, `prepare`.
    Prepare,
    /// Migrating, `new`.
    New,
}

/// Which secrets the processes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    /// None.
    None,
    /// One, which there was not when the setup was made.
    Introduced,
    /// Two, in another order in every other process; the setup was made with the older.
    Rotating,
}

/// The carrier of the clients' sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Cookies.
    Cookie,
    /// Tokens, in a header.
    Token,
    /// Either. The first client holds a cookie and a token of its session, the second a token.
    Both,
}

/// The way in which one request carries its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// As cookies.
    Cookie,
    /// As tokens.
    Token,
    /// Each as a cookie and as a token.
    Both,
    /// The first as a cookie, the second as a token.
    Each,
}

/// A case: what there is, the processes, the operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What there is.
    pub setup: Setup,
    /// How long ago it was made, in seconds.
    pub age: u64,
    /// The processes.
    pub modes: Vec<Mode>,
    /// Their secrets.
    pub keys: Keys,
    /// The carrier of the sessions.
    pub carrier: Carrier,
    /// Whether the engine's client library repeats writes, and says so.
    pub repeats: bool,
    /// The operations.
    pub ops: Vec<Op>,
}

impl Case {
    /// A case over one engine, with as many processes as the operations name.
    pub fn plain(setup: Setup, ops: Vec<Op>) -> Self {
        let processes = ops.iter().map(|op| usize::from(op.process) + 1).max().unwrap_or(1);
        Self {
            setup,
            age: 1,
            modes: vec![Mode::Plain; processes],
            keys: Keys::None,
            carrier: Carrier::Cookie,
            repeats: false,
            ops,
        }
    }

    /// Returns the way in which a request carries these sessions.
    pub fn by(&self, from: From) -> By {
        match (self.carrier, from) {
            (Carrier::Cookie, _) => By::Cookie,
            (Carrier::Both, From::Jar) => By::Both,
            (Carrier::Both, From::Two) => By::Each,
            (Carrier::Token | Carrier::Both, _) => By::Token,
        }
    }

    /// Whether there are two engines.
    pub fn migrates(&self) -> bool {
        self.modes.iter().any(|mode| matches!(mode, Mode::Prepare | Mode::New))
    }

    /// Whether an operation may have loaded what was true a moment ago.
    pub fn reads_old(&self, op: &Op) -> bool {
        self.modes.get(usize::from(op.process)) == Some(&Mode::Near)
    }

    /// What its operations do, in the order of the alphabet.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.ops.iter().map(|op| op.kind.text()).collect();
        kinds.sort_unstable();
        kinds
    }

    /// Whether any operation is of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.ops.iter().any(|op| op.kind == kind)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = SETUPS.iter().find(|(setup, _)| *setup == self.setup);
        f.write_str(setup.map_or("", |(_, text)| text))?;
        if self.age != 1 {
            write!(f, "~{}", self.age)?;
        }
        f.write_str(" ")?;
        for mode in &self.modes {
            f.write_str(match mode {
                Mode::Plain => "o",
                Mode::Near => "c",
                Mode::Prepare => "p",
                Mode::New => "n",
            })?;
        }
        f.write_str(match self.keys {
            Keys::None => "",
            Keys::Introduced => "+i",
            Keys::Rotating => "+r",
        })?;
        f.write_str(match self.carrier {
            Carrier::Cookie => "",
            Carrier::Token => "+t",
            Carrier::Both => "+b",
        })?;
        if self.repeats {
            f.write_str("+d")?;
        }
        self.ops.iter().try_for_each(|op| write!(f, " {op}"))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let setup = words.next().unwrap_or_default();
        let (setup, age) = match setup.split_once('~') {
            Some((setup, age)) => (setup, age.parse().map_err(|_| format!("no age: {age}"))?),
            None => (setup, 1),
        };
        let setup = SETUPS
            .iter()
            .find(|(_, text)| *text == setup)
            .ok_or_else(|| format!("no setup: {setup}"))?
            .0;
        let modes = words.next().unwrap_or_default();
        let mut settings = modes.split('+');
        let modes = settings.next().unwrap_or_default();
        let (mut keys, mut carrier, mut repeats) = (Keys::None, Carrier::Cookie, false);
        for word in settings {
            match word {
                "i" => keys = Keys::Introduced,
                "r" => keys = Keys::Rotating,
                "t" => carrier = Carrier::Token,
                "b" => carrier = Carrier::Both,
                "d" => repeats = true,
                other => return Err(format!("no such setting: {other}")),
            }
        }
        let modes = modes
            .chars()
            .map(|mode| match mode {
                'o' => Ok(Mode::Plain),
                'c' => Ok(Mode::Near),
                'p' => Ok(Mode::Prepare),
                'n' => Ok(Mode::New),
                other => Err(format!("no mode: {other}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            setup,
            age,
            modes,
            keys,
            carrier,
            repeats,
            ops: words.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}
