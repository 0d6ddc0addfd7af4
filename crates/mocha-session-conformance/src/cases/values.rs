//! A value comes back byte for byte, under its own key only.

use mocha_session_core::ErrorKind;
use mocha_session_core::store::StorageKey;

use crate::subject::{HOUR, Subject, Verdict, ensure, skip, value, within};

/// The largest value to try. A larger limit of an engine is trusted.
const LARGEST_TRIED: usize = 32 * 1024 * 1024;

pub(crate) async fn roundtrip_of_every_size(it: &Subject) -> Verdict {
    let limit = it.store.capabilities().max_value().unwrap_or(usize::MAX);
    for size in [0, 1, 2, 100, 300, 1023, 4096, 65_536].into_iter().filter(|size| *size <= limit) {
        let (key, first, second) = (it.key(), value(size, 1), value(size, 2));
        let revision = it.create(&key, &first).await?;
        it.holds(&key, &first, &revision).await?;
        let revision = it.update(&key, &second, &revision).await?;
        it.holds(&key, &second, &revision).await?;
    }
    Ok(())
}

pub(crate) async fn roundtrip_of_every_byte(it: &Subject) -> Verdict {
    let (key, all) = (it.key(), (0..=255).collect::<Vec<u8>>());
    let mut revision = it.create(&key, &all).await?;
    it.holds(&key, &all, &revision).await?;
    // A terminator, an escape or a trim could drop these bytes if they are first, last, or alone.
    // There is one entry and there are few values, because on some engines every call is a request.
    let suspicious = (0..=b' ').chain(*b"\"'%\\\x7f\x80\x85\xa0\xc2\xef\xfe\xff");
    let alone = b"\0\t\n\r\x1a \"'%\\\x7f\x80\xff".iter().map(|byte| vec![*byte]);
    for value in suspicious.map(|byte| vec![byte, b'x', byte]).chain(alone) {
        revision = it.update(&key, &value, &revision).await?;
        it.holds(&key, &value, &revision).await?;
    }
    Ok(())
}

pub(crate) async fn load_of_an_unknown_key_is_none_and_creates_nothing(it: &Subject) -> Verdict {
    let key = it.key();
    for _ in 0..3 {
        it.is_absent(&key, "under an unused key").await?;
    }
    let created = it.store.create(&key, b"first", within(HOUR)).await?;
    ensure!(created.is_some(), "create is refused after loads of an unused key");
    Ok(())
}

pub(crate) async fn keys_that_differ_in_one_bit_do_not_mix(it: &Subject) -> Verdict {
    let base: [u8; StorageKey::BYTES] = std::array::from_fn(|_| fastrand::u8(..));
    let mut keys = vec![it.own(base)];
    // Changes one bit of each digit, and each bit of a byte in turn, because every key costs a
    // request.
    for digit in 0..StorageKey::TEXT {
        let mut bytes = base;
        bytes[digit / 2] ^= 1 << (digit % 2 * 4 + digit / 2 % 4);
        keys.push(it.own(bytes));
    }
    do_not_mix(it, &keys).await
}

/// Uses keys that are equal to an engine that folds case, pads with spaces, stops at NUL or decodes
/// text.
pub(crate) async fn keys_that_look_alike_do_not_mix(it: &Subject) -> Verdict {
    let letters: [u8; StorageKey::BYTES] = std::array::from_fn(|_| fastrand::u8(b'a'..=b'z'));
    let ending = |end: [u8; 2]| {
        let mut bytes = letters;
        bytes[StorageKey::BYTES - 2..].copy_from_slice(&end);
        bytes
    };
    let sextets: [u8; 26] = std::array::from_fn(|_| fastrand::u8(0..26));
    let keys = [
        letters,
        letters.map(|letter| letter.to_ascii_uppercase()),
        ending([0, 0]),
        ending([0, 1]),
        ending([0, b' ']),
        ending([b' ', b' ']),
        ending([b'\n', b' ']),
        ending([b' ', 0]),
        ending([0xff, 0xff]),
        ending([0xff, 0xfe]),
        ending([0xfe, 0xff]),
        ending([b'e', b'a']),
        ending([0xc3, 0xa9]),
        // In base64 these two differ only in the case of their letters.
        from_sextets(&sextets),
        from_sextets(&sextets.map(|sextet| sextet + 26)),
    ];
    do_not_mix(it, &keys.map(|bytes| it.own(bytes))).await
}

/// Returns the first 20 bytes whose base64 text has these digits.
fn from_sextets(sextets: &[u8; 26]) -> [u8; StorageKey::BYTES] {
    let bit = |at: usize| sextets.get(at / 6).is_some_and(|sextet| sextet >> (5 - at % 6) & 1 == 1);
    std::array::from_fn(|byte| (0..8).fold(0, |bits, at| bits << 1 | u8::from(bit(byte * 8 + at))))
}

async fn do_not_mix(it: &Subject, keys: &[StorageKey]) -> Verdict {
    let name = |key: &StorageKey| format!("value of {key}").into_bytes();
    let mut revisions = Vec::with_capacity(keys.len());
    for key in keys {
        revisions.push(it.create(key, &name(key)).await?);
    }
    for (key, revision) in keys.iter().zip(&revisions) {
        it.holds(key, &name(key), revision).await?;
    }
    // Updates one, deletes the next, and so on. Their neighbours must not change.
    for (key, revision) in keys.iter().zip(&mut revisions).step_by(2) {
        *revision = it.update(key, &[&name(key)[..], b", updated"].concat(), revision).await?;
    }
    for key in keys.iter().skip(1).step_by(2) {
        ensure!(it.store.delete(key).await?, "delete found nothing although the entry existed");
    }
    for (at, (key, revision)) in keys.iter().zip(&revisions).enumerate() {
        match at % 2 {
            0 => it.holds(key, &[&name(key)[..], b", updated"].concat(), revision).await?,
            _ => it.is_absent(key, "that was deleted").await?,
        }
    }
    Ok(())
}

pub(crate) async fn largest_value_is_taken(it: &Subject) -> Verdict {
    let limit = tried_limit(it)?;
    let (key, largest) = (it.key(), value(limit, 3));
    let revision = it.create(&key, b"small").await?;
    let revision = it.update(&key, &largest, &revision).await?;
    it.holds(&key, &largest, &revision).await
}

pub(crate) async fn oversized_value_is_refused_and_the_old_one_kept(it: &Subject) -> Verdict {
    let oversized = value(tried_limit(it)? + 1, 4);
    let (key, fresh) = (it.key(), it.key());
    let revision = it.create(&key, b"old").await?;
    let updated = it.store.update(&key, &oversized, within(HOUR), &revision).await;
    let created = it.store.create(&fresh, &oversized, within(HOUR)).await;
    for (what, result) in [("update", updated), ("create", created)] {
        match result {
            Ok(_) => ensure!(false, "{what} accepts a value above the store's own limit"),
            Err(error) => {
                ensure!(
                    error.kind() == ErrorKind::TooLarge,
                    "{what} of an oversized value fails with {:?} and not with TooLarge: {error}",
                    error.kind()
                );
                let text = format!("{error} {error:?}");
                ensure!(
                    !text.contains(&key.to_string()) && !text.contains(&fresh.to_string()),
                    "the error shows the key"
                );
            }
        }
    }
    it.holds(&key, b"old", &revision).await?;
    it.is_absent(&fresh, "after a create that was refused").await
}

fn tried_limit(it: &Subject) -> Verdict<usize> {
    match it.store.capabilities().max_value() {
        None => skip!("the store has no limit for values"),
        Some(limit) if limit > LARGEST_TRIED => {
            skip!("the largest value, {limit} bytes, is too large to try")
        }
        Some(limit) => Ok(limit),
    }
}
