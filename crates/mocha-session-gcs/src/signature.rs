//! Signs requests to the XML API with an HMAC key: Google's V4 signature, `GOOG4-HMAC-SHA256`.
//!
//! No maintained crate does this: `google-cloud-storage` signs URLs with RSA alone,
//! `cloud-storage-signature` is alpha and lacks HMAC keys, and the signers for AWS have AWS's names
//! built in. Google refuses a mix of `x-amz` and `x-goog` headers, and the condition on the
//! generation exists only as `x-goog`, so AWS's names cannot be used.

use std::fmt;

use google_cloud_wkt::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// The characters to encode in a query: all but RFC 3986's unreserved ones.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters to encode in a path, where the slash stays.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// An access id and its secret.
#[derive(Clone)]
pub(crate) struct HmacKey {
    access_id: String,
    secret: String,
}

impl HmacKey {
    pub(crate) fn new(access_id: &str, secret: &str) -> Self {
        Self { access_id: access_id.to_owned(), secret: secret.to_owned() }
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

/// The vendor's names in the algorithm: Google's, and in a test those of AWS, which publishes
/// examples.
struct Names {
    algorithm: &'static str,
    secret_prefix: &'static str,
    /// Region, service, terminator.
    scope: [&'static str; 3],
    date: &'static str,
    digest: &'static str,
}

const GOOGLE: Names = Names {
    algorithm: "GOOG4-HMAC-SHA256",
    secret_prefix: "GOOG4",
    scope: ["auto", "storage", "goog4_request"],
    date: "x-goog-date",
    digest: "x-goog-content-sha256",
};

/// A request to sign. [`path`] and [`query`] encode its path and query; header names are in lower
/// case.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: &'a [u8],
}

impl Unsigned<'_> {
    /// Returns the headers to add to the request: `authorization`, the date and the digest.
    pub(crate) fn sign(&self, key: &HmacKey, now: Timestamp) -> [(&'static str, String); 3] {
        // RFC 3339 without its punctuation is ISO 8601's basic form: 20190301T190859Z.
        let mut now = String::from(Timestamp::clamp(now.seconds(), 0));
        now.retain(|c| c != '-' && c != ':');
        self.sign_as(&GOOGLE, key, &now)
    }

    fn sign_as(&self, vendor: &Names, key: &HmacKey, now: &str) -> [(&'static str, String); 3] {
        let digest = hex(&Sha256::digest(self.body));
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend([("host", self.host), (vendor.date, now), (vendor.digest, &digest)]);
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let (method, path, query, headers) = (self.method, self.path, self.query, lines.concat());
        let request = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{digest}");

        let day = now.get(..8).unwrap_or(now);
        let scope = format!("{day}/{}", vendor.scope.join("/"));
        let to_sign =
            format!("{}\n{now}\n{scope}\n{}", vendor.algorithm, hex(&Sha256::digest(&request)));
        let mut secret = mac(format!("{}{}", vendor.secret_prefix, key.secret).as_bytes(), day);
        for step in vendor.scope {
            secret = mac(&secret, step);
        }
        let signature = hex(&mac(&secret, &to_sign));
        let authorization = format!(
            "{} Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            vendor.algorithm, key.access_id
        );
        [(vendor.date, now.to_owned()), (vendor.digest, digest), ("authorization", authorization)]
    }
}

/// The path of an object, or of the bucket itself, as it is signed and sent.
pub(crate) fn path(bucket: &str, name: Option<&str>) -> String {
    let bucket = utf8_percent_encode(bucket, QUERY);
    match name {
        Some(name) => format!("/{bucket}/{}", utf8_percent_encode(name, PATH)),
        None => format!("/{bucket}"),
    }
}

/// A query as it is signed and sent; `pairs` in the order of their names.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    debug_assert!(pairs.is_sorted(), "the signature wants them sorted");
    let encoded: Vec<_> = pairs
        .iter()
        .map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY))
        })
        .collect();
    encoded.join("&")
}

fn mac(key: &[u8], message: &str) -> [u8; 32] {
    // As HMAC itself does: hash a key that is longer than a block, pad it with zeros. A key of one
    // block cannot be refused.
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: Names = Names {
        algorithm: "AWS4-HMAC-SHA256",
        secret_prefix: "AWS4",
        scope: ["us-east-1", "s3", "aws4_request"],
        date: "x-amz-date",
        digest: "x-amz-content-sha256",
    };

    /// AWS publishes examples with their signatures; Google does not. The algorithm is the same,
    /// except for the names.
    #[test]
    fn the_published_examples_come_out() {
        let key = HmacKey::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let get = Unsigned {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: "",
            headers: &[("range", "bytes=0-9".to_owned())],
            body: b"",
        };
        let list = Unsigned {
            path: "/",
            query: &query(&[("max-keys", "2"), ("prefix", "J")]),
            headers: &[],
            ..get
        };
        let put = Unsigned {
            method: "PUT",
            path: &path("", Some("test$file.text"))[1..],
            headers: &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
            ],
            body: b"Welcome to Amazon S3.",
            ..get
        };
        for (request, signature) in [
            (get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            (list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            (put, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ] {
            let [_, _, (_, authorization)] = request.sign_as(&AWS, &key, "20130524T000000Z");
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
        }
    }

    #[test]
    fn google_s_names_are_used() {
        let key = HmacKey::new("GOOG1ACCESS", "secret");
        let request =
            Unsigned { method: "GET", host: "h", path: "/b/o", query: "", headers: &[], body: b"" };
        let [date, digest, (_, authorization)] =
            request.sign(&key, Timestamp::clamp(1_551_467_339, 999_999_999));
        assert_eq!(date, ("x-goog-date", "20190301T190859Z".to_owned()));
        assert_eq!(digest.0, "x-goog-content-sha256");
        assert!(authorization.starts_with(
            "GOOG4-HMAC-SHA256 Credential=GOOG1ACCESS/20190301/auto/storage/goog4_request,\
             SignedHeaders=host;x-goog-content-sha256;x-goog-date,Signature="
        ));
        assert!(!format!("{key:?}").contains("secret"));
    }

    #[test]
    fn keys_longer_than_a_block_are_hashed_as_hmac_does() {
        let mut reference = <Hmac<Sha256> as KeyInit>::new_from_slice(&[7; 100]).unwrap();
        reference.update(b"text");
        let reference: [u8; 32] = reference.finalize().into_bytes().into();
        assert_eq!(mac(&[7; 100], "text"), reference);
    }

    #[test]
    fn names_are_encoded_as_google_wants() {
        assert_eq!(path("b.u-c_k", Some("a:b/{c}.d-e_f")), "/b.u-c_k/a%3Ab/%7Bc%7D.d-e_f");
        assert_eq!(path("bucket", None), "/bucket");
        assert_eq!(
            query(&[("list-type", "2"), ("prefix", "a/b+c=")]),
            "list-type=2&prefix=a%2Fb%2Bc%3D"
        );
    }
}
