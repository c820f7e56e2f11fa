//! What time it is. The only caller of `Utc::now`.

use chrono::{DateTime, Utc};

/// The system's time in UTC.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
