//! The value of the cookie or token of a store-backed session: the id, signed if there is a secret.

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::crypto::id::{self, SessionId};
use crate::crypto::secret::Secrets;
use crate::crypto::{self, Key, Purpose, Scope};

/// The length of a signature in bytes. 128 bits prevent guessing, which is its only purpose.
const SIGNATURE: usize = 16;
const SIGNATURE_TEXT: usize = 22;

/// Signs ids, and checks signatures before any store call.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    keys: Vec<Key>,
    accept_unsigned: bool,
}

impl Signer {
    /// Creates a signer. If there are secrets, the first signs and all verify. Otherwise ids are
    /// accepted as they are.
    pub(crate) fn new(secrets: Option<&Secrets>, accept_unsigned: bool, scope: &Scope) -> Self {
        let keys = secrets
            .into_iter()
            .flat_map(Secrets::iter)
            .map(|secret| scope.derive(secret, Purpose::Signing));
        let keys: Vec<_> = keys.collect();
        Self { accept_unsigned: accept_unsigned || keys.is_empty(), keys }
    }

    /// Returns the length of a cookie's value.
    pub(crate) fn length(&self) -> usize {
        SessionId::TEXT + if self.keys.is_empty() { 0 } else { 1 + SIGNATURE_TEXT }
    }

    /// Appends a cookie's value.
    pub(crate) fn write(&self, id: &SessionId, out: &mut String) {
        let from = out.len();
        id.push_to(out);
        if let Some(key) = self.keys.first() {
            let signature = crypto::sign(key, &out.as_bytes()[from..]);
            out.push('.');
            id::push_base64(&signature[..SIGNATURE], out);
        }
    }

    /// Returns the value of a cookie or a token.
    pub(crate) fn text(&self, id: &SessionId) -> String {
        let mut text = String::with_capacity(self.length());
        self.write(id, &mut text);
        text
    }

    /// Returns the id of a value, and whether the value must be written again: it is unsigned, or
    /// signed with another secret than the first.
    pub(crate) fn read(&self, value: &[u8]) -> Option<(SessionId, bool)> {
        let (text, signature) = value.split_at_checked(SessionId::TEXT)?;
        let id = SessionId::parse(text)?;
        match signature {
            [] => self.accept_unsigned.then_some((id, !self.keys.is_empty())),
            [b'.', signature @ ..] if signature.len() == SIGNATURE_TEXT => {
                let mut bytes = [0; SIGNATURE];
                Base64UrlUnpadded::decode(signature, &mut bytes).ok()?;
                let by = self.keys.iter().position(|key| crypto::verify(key, text, &bytes))?;
                Some((id, by > 0))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
    const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";

    fn signer(secrets: &str, accept_unsigned: bool) -> Signer {
        Signer::new(Some(&Secrets::parse(secrets).unwrap()), accept_unsigned, &Scope::named("s"))
    }

    fn written(signer: &Signer, id: &SessionId) -> String {
        let mut out = String::from("session=");
        signer.write(id, &mut out);
        assert_eq!(out.len(), 8 + signer.length());
        out.split_off(8)
    }

    #[test]
    fn the_old_secret_verifies_and_the_new_one_signs() {
        let id = SessionId::mint().unwrap();
        let old = written(&signer(OLD, false), &id);
        let both = signer(&format!("{NEW},{OLD}"), false);
        assert_eq!(both.read(old.as_bytes()), Some((id.clone(), true)));
        assert_eq!(both.read(written(&both, &id).as_bytes()), Some((id.clone(), false)));
        assert_eq!(signer(NEW, false).read(old.as_bytes()), None);
        assert_eq!(
            signer(NEW, true).read(old.as_bytes()),
            None,
            "a wrong signature is worse than none"
        );
    }

    #[test]
    fn a_signature_of_another_scope_is_refused() {
        let id = SessionId::mint().unwrap();
        let secrets = Secrets::parse(OLD).unwrap();
        let shop = Signer::new(Some(&secrets), false, &Scope::named("shop"));
        let admin = Signer::new(Some(&secrets), false, &Scope::named("admin"));
        assert!(shop.read(written(&shop, &id).as_bytes()).is_some());
        assert_eq!(admin.read(written(&shop, &id).as_bytes()), None);
    }

    #[test]
    fn guesses_die_before_the_store() {
        let id = SessionId::mint().unwrap();
        let unsigned = written(&Signer::new(None, false, &Scope::named("s")), &id);
        let strict = signer(NEW, false);
        assert_eq!(strict.read(unsigned.as_bytes()), None);
        assert_eq!(signer(NEW, true).read(unsigned.as_bytes()), Some((id.clone(), true)));
        let good = written(&strict, &id);
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(strict.read(&flipped), None, "bit {bit}");
        }
        for bad in
            [&good[..good.len() - 1], &format!("{good}A"), &good[..=SessionId::TEXT], ".", ""]
        {
            assert_eq!(strict.read(bad.as_bytes()), None);
        }
    }
}
