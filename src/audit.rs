//! `titan audit`: verifies the audit log's chains, or prints the entries. It reads the database and prints; what is
//! wrong with a chain is `domain::audit`'s to say.

use std::io::{self, Write};

use crate::domain::audit::{Anchor, Finding, Walk};
use crate::domain::ids::InstallationId;
use crate::store::audit::Chain;
use crate::store::{Store, StoreError};

/// Entries that are read at once.
const PAGE: i64 = 1000;

/// Why the audit log could not be read or printed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output is gone.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// There is no such chain.
    #[error("there is no installation {0}; `titan audit verify` lists those that there are")]
    Unknown(i64),
    /// An anchor belongs to one chain.
    #[error("--expect names a place in one chain; say which with --installation")]
    WhichChain,
}

/// Which chains.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only this installation's.
    pub installation: Option<i64>,
}

impl Selection {
    async fn chains(&self, store: &Store) -> Result<Vec<Chain>, AuditError> {
        let mut chains = store.list_audit_chains().await?;
        if let Some(id) = self.installation {
            chains.retain(|chain| chain.installation.0 == id);
            if chains.is_empty() {
                return Err(AuditError::Unknown(id));
            }
        }
        Ok(chains)
    }
}

/// Walks every chain and prints a line for each, with its end to be kept elsewhere, and a line for each finding. Gives
/// whether nothing is wrong.
///
/// # Errors
/// [`AuditError`].
pub async fn verify(
    store: &Store,
    selection: &Selection,
    expect: Option<Anchor>,
    out: &mut impl Write,
) -> Result<bool, AuditError> {
    let chains = selection.chains(store).await?;
    if expect.is_some() && chains.len() != 1 {
        return Err(AuditError::WhichChain);
    }
    if chains.is_empty() {
        writeln!(out, "no installation has an audit log yet")?;
    }
    let mut good = true;
    for chain in chains {
        let (end, findings) = walk(store, &chain, expect.clone()).await?;
        let state = if findings.is_empty() { "intact" } else { "BROKEN" };
        writeln!(out, "installation {} ({}): {state}, ends at {end}", chain.installation.0, chain.account)?;
        for finding in &findings {
            writeln!(out, "  {finding}")?;
        }
        good &= findings.is_empty();
    }
    Ok(good)
}

async fn walk(store: &Store, chain: &Chain, expect: Option<Anchor>) -> Result<(Anchor, Vec<Finding>), StoreError> {
    let mut walk = Walk::new(chain.installation.0, expect);
    store.list_audit_beside(chain.installation).await?.iter().for_each(|entry| walk.step(entry));
    let (mut after, mut read) = (0, PAGE);
    while read == PAGE {
        // What is written meanwhile is past the end that the chain told of.
        let entries = store.list_audit_after(chain.installation, after, PAGE).await?;
        read = entries.len() as i64;
        let told = chain.told.as_ref().map_or(i64::MAX, |(entries, _)| *entries);
        for entry in entries {
            after = entry.position.unwrap_or(after);
            if after > told && is_newer(store, chain, after).await? {
                read = 0;
                break;
            }
            walk.step(&entry);
        }
    }
    Ok(walk.end(chain.told.as_ref().map(|(entries, head)| (*entries, head.as_str()))))
}

/// Whether the chain has grown to this position since it was read, as it does while Titan works.
async fn is_newer(store: &Store, chain: &Chain, position: i64) -> Result<bool, StoreError> {
    let chains = store.list_audit_chains().await?;
    let now = chains.into_iter().find(|now| now.installation == chain.installation).and_then(|now| now.told);
    Ok(now.is_some_and(|(entries, _)| entries >= position))
}

/// Prints entries as lines of JSON: `installation`, `position`, `hash`, `previous` and `entry`.
///
/// # Errors
/// [`AuditError`].
pub async fn export(store: &Store, selection: &Selection, after: i64, out: &mut impl Write) -> Result<(), AuditError> {
    for InstallationId(id) in selection.chains(store).await?.into_iter().map(|chain| chain.installation) {
        let mut position = after;
        loop {
            let entries = store.list_audit_after(InstallationId(id), position, PAGE).await?;
            let Some(last) = entries.last().and_then(|entry| entry.position) else { break };
            for entry in entries {
                // The text as it was hashed, and beside it as JSON for tools.
                let told: serde_json::Value = serde_json::from_str(&entry.body).unwrap_or_default();
                let line = serde_json::json!({
                    "installation": id, "position": entry.position, "previous": entry.previous, "hash": entry.hash,
                    "entry": told, "body": entry.body,
                });
                writeln!(out, "{line}")?;
            }
            position = last;
        }
    }
    Ok(())
}
