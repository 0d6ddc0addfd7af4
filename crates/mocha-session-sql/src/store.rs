//! The store: sessions as rows of a table, each call one statement, for all three engines.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mocha_session_core::backend::{Attempt, Dialer, pause};
use mocha_session_core::store::{
    Capabilities, Effect, Expiry, Finding, KeySpace, Revision, ScanCursor, ScanPage, SessionStore,
    StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::SqlStr;
use tokio::time::Instant;

use crate::dialect::{ByBlock, SWEEP_WIDTH, Statements, Table};
use crate::engine::Facts;
use crate::error::{Failed, Sign};
use crate::limits::Limits;
use crate::open::{SqlOptions, SqlPool};
use crate::pool::{Arg, Pool};
use crate::url;

/// The estimated number of sessions in a block of PostgreSQL: about 20 of 300 bytes, at most 75 of
/// the smallest.
const ROWS_PER_BLOCK: i64 = 40;

/// The start of a cursor that counts blocks. No id contains a space.
const BLOCKS: &str = "blocks ";

/// A session store in a table of PostgreSQL, MySQL, MariaDB or SQLite. Clones share their
/// connections.
///
/// ```no_run
/// # #[cfg(feature = "_sqlite")] async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mocha_session_sql::{SqlOptions, SqlStore, sqlx};
///
/// let pool = sqlx::SqlitePool::connect("sqlite://app.db").await?;
/// let store = SqlStore::new(pool, SqlOptions::new()).await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqlStore {
    writers: Pool,
    readers: Pool,
    /// The pause while a server's pool of the application leads to no primary.
    dialer: Option<Arc<Dialer>>,
    sql: Statements<SqlStr>,
    table: Table,
    space: KeySpace,
    capabilities: Capabilities,
    limits: Limits,
}

impl SqlStore {
    /// A store on a pool of your own: a `PgPool`, a `MySqlPool`, a `SqlitePool`, or two of SQLite,
    /// the first for writing and the second for reading.
    ///
    /// Connects once to check the server and the table. Set `test_before_acquire(false)` on a
    /// server's pool to save a round trip per call, because the store drops dead connections by
    /// itself. A MySQL pool must have `autocommit` on. The pool of a server shares its connections
    /// between Tokio runtimes, so where there are several, as with actix-web, use
    /// [`from_url`](Self::from_url) instead.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` when the server cannot be reached or is not a primary, and when
    /// the table is missing and may not be created. `Denied` when the server refuses the login or
    /// the user lacks a right. `InvalidConfig` when the table has other columns or no unique key.
    pub async fn new(pool: impl Into<SqlPool>, options: SqlOptions) -> Result<Self> {
        pool.into().open(options).await
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_sql::SqlStore;
    ///
    /// # #[cfg(feature = "mysql")] {
    /// let mut url = StoreUrl::parse("mysql://app:secret@db.example/shop?table=web_sessions")?;
    /// let opening = SqlStore::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// # drop(opening); }
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL, before any I/O. The future fails as [`new`](Self::new)
    /// does.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    /// A store on these pools, whose table was checked.
    pub(crate) fn on(
        writers: Pool,
        readers: Pool,
        dialer: Option<Arc<Dialer>>,
        mut sql: Statements<SqlStr>,
        options: SqlOptions,
        facts: Facts,
    ) -> Result<Self> {
        sql.by_block = sql.by_block.filter(|_| facts.by_block);
        let engine = writers.dialect().name();
        let capabilities = Capabilities::new(engine)
            .with_listing(true)
            .with_durability(facts.durability)
            .with_deadline(options.deadline);
        Ok(Self {
            writers,
            readers,
            dialer,
            sql,
            table: options.table,
            limits: Limits::new(options.deadline),
            space: options.space.map_or_else(|| KeySpace::new(""), Ok)?,
            capabilities: match facts.max_value {
                Some(bytes) => capabilities.with_max_value(bytes),
                None => capabilities,
            },
        })
    }

    /// Asks the server, or looks at the file, for what is dangerous about its configuration and
    /// about the table.
    ///
    /// # Errors
    /// The server's errors.
    pub async fn examine(&self) -> Result<Vec<Finding>> {
        self.call(Effect::Read, |until| self.writers.examine(until, &self.table)).await
    }

    /// Makes a call, which receives the time until which it may wait for a connection. Repeats it
    /// when the server rolled it back because of concurrent statements. That happens on PostgreSQL
    /// with a raised default isolation level, and on MySQL when creates and deletes of one key
    /// meet. Repeats it once on another connection when the first was to blame and nothing can be
    /// done twice.
    ///
    /// The times count from the start of the call, so that a repeated write also ends before the
    /// deadline. After it, the outcome of the write would be unknown. Only a read that moves has a
    /// whole wait again.
    async fn call<T, F>(&self, effect: Effect, run: impl Fn(Instant) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let began = Instant::now();
        let attempt = match &self.dialer {
            Some(dialer) => Some(dialer.attempt(began.into_std())?),
            None => None,
        };
        let (mut until, mut rolled_back, mut moved) = (began + self.limits.wait, 0, false);
        loop {
            let failed = match run(until).await {
                Ok(done) => {
                    attempt.map(Attempt::succeeded);
                    return Ok(done);
                }
                Err(failed) => failed,
            };
            if failed.sign == Sign::RolledBack && began.elapsed() < self.limits.statement {
                // Boxed, so that it does not enlarge the future of every call.
                Box::pin(pause(rolled_back)).await;
                rolled_back += 1;
            } else if !moved && failed.may_move(effect) && effect == Effect::Read {
                (moved, until) = (true, Instant::now() + self.limits.wait);
            } else if !moved && failed.may_move(effect) && Instant::now() < until {
                moved = true;
            } else {
                let standby = moved && failed.sign == Sign::NotPrimary;
                let error = failed.into_error(effect, Some(&self.table));
                return Err(match attempt.filter(|_| standby) {
                    Some(attempt) => attempt.failed(Instant::now().into_std(), error),
                    None => error,
                });
            }
        }
    }

    async fn write(&self, sql: &SqlStr, args: &[Arg<'_>]) -> Result<u64> {
        self.call(Effect::Write, |until| self.writers.execute(until, sql, args)).await
    }

    /// The bounds of this store's ids, which have its prefix and a hexadecimal digit.
    /// [`KeySpace::parse`] filters other ids between the bounds.
    fn bounds<'a>(&'a self, cursor: Option<&'a ScanCursor>) -> (&'a str, String) {
        let prefix = self.space.prefix();
        (cursor.map_or(prefix, ScanCursor::as_str), format!("{prefix}g"))
    }

    /// Returns a batch of ids and expiries, and where to continue.
    async fn expiries(
        &self,
        cursor: Option<&ScanCursor>,
        limit: usize,
    ) -> Result<(Vec<(String, i64)>, Option<ScanCursor>)> {
        let rows = rows_limit(limit);
        if let Some(by_block) = &self.sql.by_block {
            let (from, end) = self.blocks(by_block, cursor, rows).await?;
            if from < end {
                let to = from.saturating_add((rows / ROWS_PER_BLOCK).max(1)).min(end);
                let args = [Arg::Number(from), Arg::Number(to)];
                let rows = self
                    .call(Effect::Read, |until| {
                        self.readers.numbers(until, &by_block.expiries, &args)
                    })
                    .await?;
                let next = (to < end).then(|| ScanCursor::new(format!("{BLOCKS}{to}/{end}")));
                return Ok((rows, next));
            }
        }
        let (after, before) = self.bounds(cursor);
        let limit = rows;
        let args = [Arg::Text(after), Arg::Text(&before), Arg::Number(limit)];
        let rows = self
            .call(Effect::Read, |until| self.readers.numbers(until, &self.sql.expiries, &args))
            .await?;
        let next = next_id(rows.last().map(|row| &row.0), rows.len(), limit);
        Ok((rows, next))
    }

    /// The block where a sweep continues, and the number of blocks when it began. Both are 0 for a
    /// sweep by id: in batches that are smaller than a block, or of a table without blocks of its
    /// own (it is partitioned, or empty).
    async fn blocks(
        &self,
        by_block: &ByBlock<SqlStr>,
        cursor: Option<&ScanCursor>,
        rows: i64,
    ) -> Result<(i64, i64)> {
        match cursor {
            None if rows < 2 * ROWS_PER_BLOCK => Ok((0, 0)),
            None => Ok((
                0,
                self.call(Effect::Read, |until| self.readers.number(until, &by_block.count))
                    .await?,
            )),
            Some(cursor) => {
                let at = cursor.as_str().strip_prefix(BLOCKS).and_then(|at| at.split_once('/'));
                let at = at.and_then(|(from, end)| Some((from.parse().ok()?, end.parse().ok()?)));
                Ok(at.unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("dialect", &self.writers.dialect())
            .field("table", &self.table)
            .field("prefix", &self.space.prefix())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for SqlStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let id = self.space.name(key);
        let args = [Arg::Text(&id)];
        let row = self
            .call(Effect::Read, |until| self.readers.load(until, &self.sql.load, &args))
            .await?;
        Ok(row.map(|(revision, data)| Stored::new(data, revision_of(revision))))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        let (id, revision) = (self.space.name(key), fresh_revision());
        let args = [
            Arg::Text(&id),
            Arg::Number(revision),
            Arg::Number(expiry.at_millis()),
            Arg::Blob(value),
        ];
        let rows = self.write(&self.sql.create, &args).await?;
        Ok((rows == 1).then(|| revision_of(revision)))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        // A non-numeric revision was not made by this store, so it matches nothing.
        let Some(expected) = expected.as_u64() else { return Ok(None) };
        let (id, revision) = (self.space.name(key), fresh_revision());
        let args = [
            Arg::Number(revision),
            Arg::Number(expiry.at_millis()),
            Arg::Blob(value),
            Arg::Text(&id),
            Arg::Number(expected.cast_signed()),
        ];
        let rows = self.write(&self.sql.update, &args).await?;
        Ok((rows == 1).then(|| revision_of(revision)))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let id = self.space.name(key);
        Ok(self.write(&self.sql.delete, &[Arg::Text(&id)]).await? > 0)
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let (mut rows, next) = self.expiries(cursor.as_ref(), limit).await?;
        rows.retain(|(id, _)| self.space.parse(id).is_some());
        let examined = rows.len() as u64;
        rows.retain(|(_, expires_at)| *expires_at < now);
        let mut removed = 0;
        for batch in rows.chunks(SWEEP_WIDTH) {
            let mut args = [Arg::Text(""); SWEEP_WIDTH + 1];
            args[0] = Arg::Number(now);
            for (arg, (id, _)) in args[1..].iter_mut().zip(batch) {
                *arg = Arg::Text(id);
            }
            removed += self.write(&self.sql.sweep, &args).await?;
        }
        Ok(SweepReport::new(examined, removed, next))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let (after, before) = self.bounds(cursor.as_ref());
        let limit = rows_limit(limit);
        let args = [Arg::Text(after), Arg::Text(&before), Arg::Number(limit)];
        let rows = self
            .call(Effect::Read, |until| self.readers.entries(until, &self.sql.scan, &args))
            .await?;
        let next = next_id(rows.last().map(|row| &row.0), rows.len(), limit);
        let own = |(id, revision, data): (String, i64, Vec<u8>)| {
            self.space.parse(&id).map(|key| (key, Stored::new(data, revision_of(revision))))
        };
        Ok(ScanPage::new(rows.into_iter().filter_map(own).collect(), next))
    }

    async fn ping(&self) -> Result<()> {
        let args = [Arg::Text("")];
        self.call(Effect::Read, |until| self.writers.load(until, &self.sql.load, &args))
            .await
            .map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

fn fresh_revision() -> i64 {
    fastrand::i64(..)
}

fn revision_of(stored: i64) -> Revision {
    Revision::from(stored.cast_unsigned())
}

fn rows_limit(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, 100_000)).unwrap_or(100_000)
}

fn next_id(last: Option<&String>, rows: usize, limit: i64) -> Option<ScanCursor> {
    last.filter(|_| i64::try_from(rows).is_ok_and(|rows| rows == limit)).map(ScanCursor::new)
}
