//! Finding out whether a service honours conditions, before the first session is written.

use std::time::{Duration, SystemTime};

use super::{Condition, ObjectStore, body};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Revision, StorageKey};
use crate::time::to_millis;

impl ObjectStore {
    /// Proves that the service honours the conditions of a put, and finds out whether it honours
    /// that of a delete. It takes nine requests on a name of its own. `wrong` is a revision that no
    /// object has.
    ///
    /// # Errors
    /// `Unsupported` when the service ignores a condition of a put: simultaneous requests would
    /// overwrite each other's sessions. Else whatever keeps the service from answering.
    pub async fn prove_conditions(mut self, wrong: Revision) -> Result<Self> {
        // Tried with graves, which are no sessions and which a sweep would remove.
        let name = self.name(&StorageKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..))));
        let answer = self.try_conditions(&name, &wrong).await;
        let removed = self.remove(&name, None).await;
        self.conditional_delete = answer?;
        removed?;
        Ok(self)
    }

    async fn try_conditions(&self, name: &str, wrong: &Revision) -> Result<bool> {
        self.must(name, Condition::Is(wrong), false).await?;
        let first = self.must(name, Condition::Absent, true).await?;
        self.must(name, Condition::Absent, false).await?;
        self.must(name, Condition::Is(wrong), false).await?;
        let Some(first) = first else { return Ok(false) };
        let second = self.must(name, Condition::Is(&first), true).await?;
        self.must(name, Condition::Is(&first), false).await?;
        match self.remove(name, Some(&first)).await {
            Ok(true) => Ok(false),
            Ok(false) => Ok(self.head(name).await?.map(|head| head.revision) == second),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Internal) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// One conditional put, which must succeed or must be refused.
    async fn must(
        &self,
        name: &str,
        when: Condition<'_>,
        succeed: bool,
    ) -> Result<Option<Revision>> {
        let deadline = to_millis(SystemTime::now() + Duration::from_secs(60));
        let written = self.put(name, body::grave(), deadline, when).await?;
        if written.is_some() == succeed {
            return Ok(written);
        }
        let what = match when {
            Condition::Absent => "that there is no such object (If-None-Match)",
            Condition::Is(_) => "that the object is unchanged (If-Match)",
        };
        let why = format!(
            "the service does not honour the condition of a put {what}: simultaneous requests would \
             overwrite each other's sessions; enable conditional writes there, or choose another engine"
        );
        Err(Error::new(ErrorKind::Unsupported, why))
    }
}
