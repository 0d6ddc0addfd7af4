//! Checks whether a service honours conditional requests, before the first session is written.

use std::time::{Duration, SystemTime};

use super::{Condition, ObjectStore, body};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Revision, StorageKey};
use crate::time::to_millis;

impl ObjectStore {
    /// Checks that the service honours conditional puts, and detects whether it honours conditional
    /// deletes.
    ///
    /// It makes nine requests on a random object name. `wrong` is a revision that no object has.
    ///
    /// # Errors
    /// `Unsupported` if the service ignores a condition of a put, because simultaneous requests
    /// would overwrite each other's sessions. Otherwise the error of the service.
    pub async fn prove_conditions(mut self, wrong: Revision) -> Result<Self> {
        // Uses graves, which are not sessions. A sweep removes any that are left behind.
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

    /// Makes a conditional put, which must succeed if `succeed` is true and be refused otherwise.
    async fn must(
        &self,
        name: &str,
        when: Condition<'_>,
        succeed: bool,
    ) -> Result<Option<Revision>> {
        let deadline = to_millis(SystemTime::now() + Duration::from_secs(60));
        let written = self.put(name, body::grave(deadline), when).await?;
        if written.is_some() == succeed {
            return Ok(written);
        }
        let what = match when {
            Condition::Absent => "that there is no such object (If-None-Match)",
            Condition::Is(_) => "that the object is unchanged (If-Match)",
        };
        let why = format!(
            "the service does not honour the condition of a put {what}: simultaneous requests \
             would overwrite each other's sessions; enable conditional writes there, or choose \
             another engine"
        );
        Err(Error::new(ErrorKind::Unsupported, why))
    }
}
