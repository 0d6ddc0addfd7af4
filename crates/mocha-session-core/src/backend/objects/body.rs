//! The content of an object: a prefix that makes every write unique and encodes the lifetime in the
//! object's size, then the value.
//!
//! A body is a nonce of eight random bytes, one byte with the number of padding zeros, the zeros,
//! and the value. An `ETag` depends on the content, so the nonce keeps a revision from recurring
//! when the same value is written again. The zeros make the size of the body, modulo 256, the class
//! of its lifetime. A listing shows the size and the time of the last write, so a sweep need not
//! examine entries that cannot have expired.
//!
//! A body that is only a nonce is a *grave*: there is no entry, and the object is about to be
//! removed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Content;
use crate::store::Expiry;
use crate::time::to_millis;

const NONCE: usize = 8;
const OVERHEAD: usize = NONCE + 1;
/// The largest number of bytes that a body has in addition to its value.
pub(super) const MAX_OVERHEAD: usize = OVERHEAD + u8::MAX as usize;
/// The advice in errors about objects that this store did not write.
pub(super) const FOREIGN: &str = "give the sessions a prefix of their own";

/// Lifetimes below this many seconds are of class 0, which a sweep always examines.
const SHORTEST: u64 = 64;
/// The allowed difference between the clocks of writers, sweepers and the service. With a larger
/// one, expired entries may be removed later.
pub(super) const SKEW: Duration = Duration::from_secs(60);

/// Returns the content of an entry.
pub(super) fn wrap(value: &[u8], expiry: Expiry) -> Content {
    // Uses the smaller of the two, so that a clock that was changed does not make the lifetime look
    // longer.
    let left = expiry.at().duration_since(SystemTime::now()).unwrap_or_default().min(expiry.ttl());
    let padding = class(left.as_secs()).wrapping_sub(residue((OVERHEAD + value.len()) as u64));
    let mut body = Vec::with_capacity(OVERHEAD + usize::from(padding) + value.len());
    body.extend_from_slice(&nonce());
    body.push(padding);
    body.resize(OVERHEAD + usize::from(padding), 0);
    body.extend_from_slice(value);
    Content { body: body.into(), deadline: to_millis(expiry.at()) }
}

/// Returns the content of a grave with this deadline.
pub(super) fn grave(deadline: u64) -> Content {
    Content { body: Bytes::copy_from_slice(&nonce()), deadline }
}

fn nonce() -> [u8; NONCE] {
    fastrand::u64(..).to_be_bytes()
}

/// Returns whether a body of this size is a grave.
pub(super) fn is_grave(size: u64) -> bool {
    usize::try_from(size) == Ok(NONCE)
}

/// Returns the value in a body, or `None` for a grave. Fails if this store did not write the body.
pub(super) fn unwrap(body: &Bytes) -> Result<Option<Bytes>, NotOurs> {
    if body.len() == NONCE {
        return Ok(None);
    }
    let start = body.get(NONCE).map(|padding| OVERHEAD + usize::from(*padding));
    match start {
        Some(start) if start <= body.len() => Ok(Some(body.slice(start..))),
        _ => Err(NotOurs),
    }
}

/// This store did not write the object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotOurs;

/// Returns whether an entry of this size, last written at this instant, cannot have expired before
/// `now`.
pub(super) fn is_fresh(size: u64, written: SystemTime, now: SystemTime) -> bool {
    let lives = Duration::from_secs(shortest(residue(size)));
    written.checked_add(lives).is_none_or(|until| until > now + SKEW)
}

fn residue(size: u64) -> u8 {
    size.to_le_bytes()[0]
}

/// Returns the class of a lifetime. There are eight classes per doubling, so that the shortest
/// lifetime of a class is at most an eighth below any other in it.
fn class(secs: u64) -> u8 {
    if secs < SHORTEST {
        return 0;
    }
    let doublings = secs.ilog2();
    let class = 8 * u64::from(doublings - SHORTEST.ilog2()) + (secs >> (doublings - 3)) - 7;
    u8::try_from(class).unwrap_or(u8::MAX)
}

/// Returns the shortest lifetime of a class, in seconds.
fn shortest(class: u8) -> u64 {
    match class.checked_sub(1) {
        None => 0,
        Some(class) => (8 + u64::from(class % 8)) << (class / 8 + 3),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn body(value: &[u8], ttl: Duration) -> Bytes {
        wrap(value, Expiry::after(ttl, SystemTime::now())).body
    }

    #[test]
    fn a_value_comes_back_whatever_its_length_and_lifetime() {
        for length in [0, 1, 7, 8, 9, 246, 247, 248, 255, 256, 1000] {
            for ttl in [1, 63, 64, 3_600, 1_209_600, u64::MAX].map(Duration::from_secs) {
                let value = vec![7; length];
                let body = body(&value, ttl);
                assert_eq!(unwrap(&body).unwrap().unwrap(), value, "{length} {ttl:?}");
                assert!(body.len() <= length + OVERHEAD + 255);
            }
        }
    }

    #[test]
    fn the_same_value_never_makes_the_same_body() {
        assert_ne!(body(b"same", Duration::from_secs(60)), body(b"same", Duration::from_secs(60)));
        assert_ne!(grave(0).body, grave(0).body);
    }

    #[test]
    fn what_is_not_ours_is_neither_a_value_nor_nothing() {
        for foreign in [&b""[..], b"x", b"1234567", b"12345678\x01", b"12345678\xff123"] {
            assert_eq!(unwrap(&Bytes::copy_from_slice(foreign)), Err(NotOurs), "{foreign:?}");
        }
        assert_eq!(unwrap(&grave(0).body), Ok(None));
    }

    #[test]
    fn a_class_is_never_longer_than_the_lifetime_and_at_most_an_eighth_shorter() {
        for secs in (0..100_000)
            .chain((17..=63).flat_map(|power| [(1 << power) - 1, 1 << power, 3 << (power - 2)]))
        {
            let short = shortest(class(secs));
            assert!(short <= secs, "{secs}: {short}");
            if (SHORTEST..=Expiry::MAX_TTL.as_secs()).contains(&secs) {
                assert!(short >= secs - secs / 8, "{secs}: {short}");
            }
        }
        assert!(class(Expiry::MAX_TTL.as_secs()) < u8::MAX);
    }

    #[test]
    fn a_fresh_entry_is_told_by_its_size() {
        let now = SystemTime::now();
        let hour = body(b"value", Duration::from_secs(3_600)).len() as u64;
        assert!(is_fresh(hour, now, now));
        assert!(is_fresh(hour, now, now + Duration::from_secs(2_900)));
        assert!(!is_fresh(hour, now, now + Duration::from_secs(3_600)));
        let short = body(b"value", Duration::from_secs(30)).len() as u64;
        assert!(!is_fresh(short, now, now));
        // An entry that had already expired when it was written.
        let past = now - Duration::from_secs(7_200);
        let late = wrap(b"value", Expiry::after(Duration::from_secs(3_600), past)).body;
        assert!(!is_fresh(late.len() as u64, now, now));
    }
}
