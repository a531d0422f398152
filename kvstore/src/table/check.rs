//! What can be, whatever is stored: configurations and writes.

use std::collections::HashSet;

use crate::{
    BucketConfig, Error, HISTORY_MAX, OPERATIONS_MAX, Operation, Result, VALUE_BYTES_MAX, WRITE_BYTES_MAX, Write,
};

/// Whether a bucket can be configured so.
pub(crate) fn check_config(bucket: &str, config: &BucketConfig) -> Result<()> {
    let fault = |field: &'static str, value: String, why: &str| {
        Err(Error::Config { bucket: bucket.to_owned(), field: field.into(), value, why: why.to_owned() })
    };
    if !(1..=HISTORY_MAX).contains(&config.history) {
        return fault("history", config.history.to_string(), "1 to 64 revisions of a key can be kept");
    }
    if config.time_to_live.is_some_and(|time| time.is_zero()) {
        return fault("time_to_live", "zero".into(), "leave it out for keys that live for ever");
    }
    let value = config.limits.value_bytes_max;
    if !(1..=VALUE_BYTES_MAX).contains(&value) {
        return fault("value_bytes_max", value.to_string(), "a value may have 1 byte to 8,128 KiB");
    }
    Ok(())
}

/// Whether a write can be.
pub(crate) fn check_write(bucket: &str, config: &BucketConfig, write: &Write) -> Result<()> {
    let invalid = |why: String| Err(Error::Invalid { bucket: bucket.to_owned(), why: why.into() });
    let parts = write.conditions.len() + write.actions.len();
    if write.actions.is_empty() {
        return invalid("there is no action in it; a transaction has at least one".into());
    }
    if parts > OPERATIONS_MAX {
        return invalid(format!("it has {parts} conditions and actions, and may have {OPERATIONS_MAX}; split it"));
    }
    let mut seen = HashSet::new();
    if write.actions.len() > 1
        && let Some(action) = write.actions.iter().find(|action| !seen.insert(&action.key))
    {
        return invalid(format!("`{}` stands in it twice; a write changes each key once", action.key));
    }
    let too_large = |what: &'static str, bytes, max, advice: &'static str| {
        Err(Error::TooLarge { bucket: bucket.to_owned(), what: what.into(), bytes, max, advice: advice.into() })
    };
    let mut bytes = 0;
    for action in &write.actions {
        bytes += action.key.as_bytes().len();
        let Operation::Put { value, time_to_live } = &action.operation else { continue };
        if time_to_live.is_some_and(|time| time.is_zero()) {
            return invalid(format!("`{}` is to live for no time at all; leave it out for ever", action.key));
        }
        let max = config.limits.value_bytes_max as usize;
        if value.len() > max {
            return too_large("a value", value.len(), max, "split it, or raise `value_bytes_max` of the bucket");
        }
        bytes += value.len();
    }
    if bytes > WRITE_BYTES_MAX {
        return too_large("a write", bytes, WRITE_BYTES_MAX, "write it in smaller ones");
    }
    Ok(())
}
