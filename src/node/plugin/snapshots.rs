//! Snapshots of a plug-in's: `provider.snapshot.{ create, list, delete }`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Snapshot, Snapshots};

/// The snapshots of a provider.
pub(super) struct Kept(pub(super) Arc<Call<Value>>);

#[async_trait]
impl Snapshots for Kept {
    async fn list(&self) -> Result<Vec<Snapshot>> {
        let listed = self.0.call("snapshot.list", json!([])).await?;
        let odd = || Error::new(ErrorKind::Internal, "`snapshot.list` gave something that is no array");
        listed.as_array().ok_or_else(odd)?.iter().map(snapshot).collect()
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.call("snapshot.delete", json!([id])).await.map(drop)
    }
}

/// A snapshot as a plug-in tells it.
pub(super) fn snapshot(value: &Value) -> Result<Snapshot> {
    let answer = Answer::new("snapshot", value);
    let id = answer.text("id")?.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Error::new(ErrorKind::Internal, "a snapshot was given without an `id`"))?;
    let names = value["metadata"]["name"].as_str().or(value["name"].as_str());
    Ok(Snapshot { id, names: names.into_iter().map(str::to_owned).collect() })
}
