//! AES-256-GCM by the library that a cargo feature selects. All libraries produce the same bytes.
//!
//! If both features are on, aws-lc is used, so that a feature of another crate of the program never
//! makes this one slower.

use super::{Key, NONCE, TAG};

#[cfg(not(any(feature = "aws-lc", feature = "rustcrypto")))]
compile_error!(
    "mocha-session needs a cipher: switch on the cargo feature `aws-lc` (one of the default \
     features; needs a C compiler) or `rustcrypto` (needs none)"
);

#[cfg(feature = "aws-lc")]
pub(super) use aws_lc::{open, seal};
#[cfg(all(feature = "rustcrypto", not(feature = "aws-lc")))]
pub(super) use rustcrypto::{open, seal};

/// Empty functions for a build without a cipher, so that the error above is the only one.
#[cfg(not(any(feature = "aws-lc", feature = "rustcrypto")))]
pub(super) use none::{open, seal};

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{Key, NONCE, TAG};

    /// Encrypts `text` in place and returns the tag. Returns `None` if the text is longer than the
    /// cipher allows.
    pub(crate) fn seal(
        key: &Key,
        nonce: [u8; NONCE],
        bound: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = cipher(key)?.seal_in_place_separate_tag(nonce, Aad::from(bound), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts `sealed`, the text and its tag, in place. Returns `None` if the tag does not match.
    pub(crate) fn open(
        key: &Key,
        nonce: [u8; NONCE],
        bound: &[u8],
        sealed: &mut [u8],
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        cipher(key)?.open_in_place(nonce, Aad::from(bound), sealed).ok().map(drop)
    }

    /// Returns the cipher. It is never `None`, because a key has the cipher's length.
    fn cipher(key: &Key) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
    }
}

#[cfg(all(feature = "rustcrypto", any(test, not(feature = "aws-lc"))))]
mod rustcrypto {
    use aes_gcm::aead::AeadInOut as _;
    use aes_gcm::{Aes256Gcm, KeyInit as _};

    use super::{Key, NONCE, TAG};

    /// As `aws_lc::seal`.
    pub(crate) fn seal(
        key: &Key,
        nonce: [u8; NONCE],
        bound: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let cipher = Aes256Gcm::new(key.into());
        cipher.encrypt_inout_detached(&nonce.into(), bound, text.into()).ok().map(Into::into)
    }

    /// As `aws_lc::open`.
    pub(crate) fn open(
        key: &Key,
        nonce: [u8; NONCE],
        bound: &[u8],
        sealed: &mut [u8],
    ) -> Option<()> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>()?;
        let tag = (&*tag).into();
        Aes256Gcm::new(key.into())
            .decrypt_inout_detached(&nonce.into(), bound, text.into(), tag)
            .ok()
    }
}

#[cfg(not(any(feature = "aws-lc", feature = "rustcrypto")))]
mod none {
    use super::{Key, NONCE, TAG};

    pub(crate) fn seal(_: &Key, _: [u8; NONCE], _: &[u8], _: &mut [u8]) -> Option<[u8; TAG]> {
        None
    }

    pub(crate) fn open(_: &Key, _: [u8; NONCE], _: &[u8], _: &mut [u8]) -> Option<()> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    type Seal = fn(&Key, [u8; NONCE], &[u8], &mut [u8]) -> Option<[u8; TAG]>;
    type Open = fn(&Key, [u8; NONCE], &[u8], &mut [u8]) -> Option<()>;

    /// Each cipher that is compiled in.
    const CIPHERS: &[(&str, Seal, Open)] = &[
        #[cfg(feature = "aws-lc")]
        ("aws-lc", aws_lc::seal, aws_lc::open),
        #[cfg(feature = "rustcrypto")]
        ("rustcrypto", rustcrypto::seal, rustcrypto::open),
    ];

    fn sealed(seal: Seal, key: &Key, nonce: [u8; NONCE], bound: &[u8], text: &[u8]) -> Vec<u8> {
        let mut sealed = text.to_vec();
        let tag = seal(key, nonce, bound, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Test case 16 of `McGrew` and Viega, "The Galois/Counter Mode of Operation", appendix B.
    #[test]
    fn each_cipher_is_aes_256_gcm_as_it_was_published() {
        let key = *b"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08\
            \xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
        let nonce = *b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
        let bound = b"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\
            \xab\xad\xda\xd2";
        let text = b"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\
            \x86\xa7\xa9\x53\x15\x34\xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72\
            \x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\
            \xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";
        let published = b"\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\
            \x64\x3a\x8c\xdc\xbf\xe5\xc0\xc9\x75\x98\xa2\xbd\x25\x55\xd1\xaa\
            \x8c\xb0\x8e\x48\x59\x0d\xbb\x3d\xa7\xb0\x8b\x10\x56\x82\x88\x38\
            \xc5\xf6\x1e\x63\x93\xba\x7a\x0a\xbc\xc9\xf6\x62\
            \x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b";
        assert!(!CIPHERS.is_empty());
        for (name, seal, open) in CIPHERS {
            let mut sealed = sealed(*seal, &key, nonce, bound, text);
            assert_eq!(sealed, published, "{name}");
            open(&key, nonce, bound, &mut sealed).unwrap();
            assert_eq!(&sealed[..text.len()], text, "{name}");
        }
    }

    #[test]
    fn what_one_cipher_seals_the_others_open() {
        let (key, nonce) = ([7; 32], [9; NONCE]);
        for length in [0, 1, 15, 16, 17, 255, 4096, 70_000] {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            for (by, seal, _) in CIPHERS {
                let sealed = sealed(*seal, &key, nonce, b"bound", &text);
                for (with, _, open) in CIPHERS {
                    let mut opened = sealed.clone();
                    assert!(open(&key, nonce, b"bound", &mut opened).is_some(), "{by}, {with}");
                    assert_eq!(opened[..length], text, "{by}, {with}");
                }
            }
        }
    }

    #[test]
    fn each_cipher_refuses_another_key_nonce_tag_or_bound_text() {
        let (key, nonce) = ([7; 32], [9; NONCE]);
        for (name, seal, open) in CIPHERS {
            let sealed = sealed(*seal, &key, nonce, b"bound", b"text");
            let opens = |key, nonce, bound, mut sealed: Vec<u8>| {
                open(&key, nonce, bound, &mut sealed).is_some()
            };
            assert!(opens(key, nonce, b"bound", sealed.clone()), "{name}");
            assert!(!opens([8; 32], nonce, b"bound", sealed.clone()), "{name}");
            assert!(!opens(key, [8; NONCE], b"bound", sealed.clone()), "{name}");
            assert!(!opens(key, nonce, b"bounds", sealed.clone()), "{name}");
            assert!(!opens(key, nonce, b"bound", sealed[1..].to_vec()), "{name}");
            assert!(!opens(key, nonce, b"bound", sealed[..TAG - 1].to_vec()), "{name}");
        }
    }
}
