//! Values of types: serde, in CBOR. Bytes are always there as well.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{from_value, to_value};

use super::{KvBucket, Stored};
use crate::{Entry, Error, Key, Result};

impl KvBucket {
    /// Puts `value` in CBOR. As [`put`](Self::put).
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, kv) = sinew_testkit::memory::kv().await;
    /// let (bucket, key) = (kv.bucket(&"config".parse()?), "limits.speed".parse()?);
    /// bucket.put_value(&key, &(30_u32, "km/h".to_owned())).await?;
    /// assert_eq!(bucket.get_value(&key).await?, Some((30_u32, "km/h".to_owned())));
    /// # Ok(())
    /// # }
    /// # sinew_testkit::memory::run(example());
    /// ```
    ///
    /// # Errors
    /// `Unencodable` if the value's own `Serialize` fails, and as [`put`](Self::put).
    pub async fn put_value<T: Serialize + ?Sized>(&self, key: &Key, value: &T) -> Result<Stored> {
        let bytes = to_value(&value).map_err(|error| Error::Unencodable {
            bucket: self.name.to_string(),
            given: std::any::type_name::<T>(),
            why: error.why,
        })?;
        self.put(key, bytes).await
    }

    /// What is under a key, read from CBOR; `None` where nothing is. [`get`](Self::get) and [`Entry::read`] give the revision
    /// as well.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `Undecodable` for a value that is something else.
    pub async fn get_value<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        self.get(key).await?.map(|entry| entry.read()).transpose()
    }
}

impl Entry {
    /// The value, read from CBOR: at most 64 levels deep, unknown fields skipped, nothing left over.
    ///
    /// # Errors
    /// `Undecodable`, which says what is wrong.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        from_value(&self.value).map_err(|error| Error::Undecodable {
            key: self.key.to_string(),
            revision: self.revision,
            expected: std::any::type_name::<T>(),
            why: error.why,
            bytes: self.value.len(),
        })
    }
}
