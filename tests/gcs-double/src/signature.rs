//! Verifies `GOOG4-HMAC-SHA256` signatures by Google's description. It shares no code with the
//! store.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::server::header;
use crate::world::Refusal;
use crate::{ACCESS_ID, SECRET};

const DENIED: Refusal = Refusal::Wrong(403, "SignatureDoesNotMatch");

pub(crate) fn verify(parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let headers: BTreeMap<&str, &str> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let of = |prefix: &str| headers.keys().filter(|name| name.starts_with(prefix)).count();
    if of("x-amz-") > 0 && of("x-goog-") > 0 {
        return Err(Refusal::Wrong(400, "ExcessHeaderValues"));
    }
    let authorization = header(&parts.headers, "authorization")
        .ok_or(Refusal::Wrong(401, "MissingSecurityHeader"))?;
    let fields = authorization
        .strip_prefix("GOOG4-HMAC-SHA256 ")
        .ok_or(Refusal::Wrong(400, "InvalidSecurity"))?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or(DENIED)
    };
    let (credential, signed, signature) =
        (field("Credential")?, field("SignedHeaders")?, field("Signature")?);

    let date = header(&parts.headers, "x-goog-date").ok_or(DENIED)?;
    in_time(date)?;
    let scope = format!("{}/auto/storage/goog4_request", &date[..8]);
    let access_id =
        credential.strip_suffix(&scope).and_then(|text| text.strip_suffix('/')).ok_or(DENIED)?;
    if access_id != ACCESS_ID {
        return Err(Refusal::Wrong(403, "InvalidAccessKeyId"));
    }
    // A signature must cover the host and every header of Google's own.
    let covered: Vec<&str> = signed.split(';').collect();
    let complete = headers
        .keys()
        .filter(|name| name.starts_with("x-goog-"))
        .all(|name| covered.contains(name));
    if !complete || !covered.contains(&"host") || !covered.is_sorted() {
        return Err(DENIED);
    }
    let digest = hex(&Sha256::digest(body));
    if headers.get("x-goog-content-sha256").is_some_and(|claimed| *claimed != digest) {
        return Err(Refusal::Wrong(400, "XGoogContentSHA256Mismatch"));
    }
    let mut query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let mut text = format!("{}\n{}\n{}\n", parts.method, parts.uri.path(), query.join("&"));
    for name in &covered {
        text.extend([name, ":", headers.get(name).ok_or(DENIED)?.trim(), "\n"]);
    }
    text.extend([
        "\n",
        signed,
        "\n",
        headers.get("x-goog-content-sha256").unwrap_or(&"UNSIGNED-PAYLOAD"),
    ]);

    let text =
        format!("GOOG4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(text.as_bytes())));
    let mut key = format!("GOOG4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part.as_bytes());
    }
    if hex(&mac(&key, text.as_bytes())) == signature { Ok(()) } else { Err(DENIED) }
}

/// Checks that the date is within a quarter of an hour of the current time.
fn in_time(date: &str) -> Result<(), Refusal> {
    let digits: Vec<u64> =
        date.bytes().filter(u8::is_ascii_digit).map(|c| u64::from(c - b'0')).collect();
    let form = |(at, c): (usize, u8)| match at {
        8 => c == b'T',
        15 => c == b'Z',
        _ => c.is_ascii_digit(),
    };
    if date.len() != 16 || !date.bytes().enumerate().all(form) {
        return Err(DENIED);
    }
    let number =
        |from: usize, to: usize| digits[from..to].iter().fold(0, |sum, digit| sum * 10 + digit);
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months: u64 =
        lengths.iter().take(usize::try_from(month).unwrap_or(13).saturating_sub(1)).sum();
    let days = before + months + day.saturating_sub(1);
    let then = days * 86_400 + number(8, 10) * 3_600 + number(10, 12) * 60 + number(12, 14);
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    if now.abs_diff(then) <= 900 {
        Ok(())
    } else {
        Err(Refusal::Wrong(403, "RequestTimeTooSkewed"))
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}
