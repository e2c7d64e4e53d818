//! The contexts of a sandbox' interpreter.

use std::sync::Arc;

use computesdk::error::Result;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::kernel::{Kernel, Language};
use crate::envd::path::HOME;
use crate::sandbox::Sandbox;
use crate::world::random;

/// A context, and the kernel that has its variables.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its id, which a restart does not change.
    pub id: String,
    /// Its language.
    pub language: Language,
    cwd: String,
    /// Its kernel.
    pub kernel: Arc<Kernel>,
}

impl Context {
    async fn start(sandbox: &Sandbox, language: Language, cwd: &str) -> Result<Self> {
        let kernel = Kernel::start(sandbox, language, cwd).await?;
        Ok(Self { id: id()?, language, cwd: cwd.to_owned(), kernel })
    }

    /// As the server tells it.
    pub fn described(&self) -> Value {
        json!({ "id": self.id, "language": self.language.name(), "cwd": self.cwd })
    }
}

/// In the form of a UUID.
fn id() -> Result<String> {
    let digits = random::<32>(b"0123456789abcdef")?;
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Ok(parts.join("-"))
}

/// All contexts; the first two are the defaults of their languages. They are made when somebody first asks.
#[derive(Debug, Default)]
pub struct Contexts(Mutex<Vec<Context>>);

impl Contexts {
    async fn all(&self, sandbox: &Sandbox) -> Result<tokio::sync::MutexGuard<'_, Vec<Context>>> {
        let mut all = self.0.lock().await;
        if all.is_empty() {
            let python = Context::start(sandbox, Language::Python, HOME).await?;
            let javascript = Context::start(sandbox, Language::JavaScript, HOME).await?;
            all.extend([python, javascript]);
        }
        Ok(all)
    }

    /// All of them, as the server tells them.
    pub async fn list(&self, sandbox: &Sandbox) -> Result<Vec<Value>> {
        Ok(self.all(sandbox).await?.iter().map(Context::described).collect())
    }

    /// The one of this id.
    pub async fn find(&self, sandbox: &Sandbox, id: &str) -> Result<Option<Context>> {
        Ok(self.all(sandbox).await?.iter().find(|one| one.id == id).cloned())
    }

    /// The default of a language.
    pub async fn of_language(&self, sandbox: &Sandbox, language: Language) -> Result<Option<Context>> {
        Ok(self.all(sandbox).await?.iter().find(|one| one.language == language).cloned())
    }

    /// Makes one.
    pub async fn create(&self, sandbox: &Sandbox, language: Language, cwd: &str) -> Result<Context> {
        let mut all = self.all(sandbox).await?;
        let context = Context::start(sandbox, language, cwd).await?;
        all.push(context.clone());
        Ok(context)
    }

    /// Gives one a new kernel; whether there was one.
    pub async fn restart(&self, sandbox: &Sandbox, id: &str) -> Result<bool> {
        let mut all = self.all(sandbox).await?;
        let Some(context) = all.iter_mut().find(|one| one.id == id) else { return Ok(false) };
        context.kernel.end().await;
        context.kernel = Kernel::start(sandbox, context.language, &context.cwd).await?;
        Ok(true)
    }

    /// Removes one; whether there was one.
    pub async fn remove(&self, sandbox: &Sandbox, id: &str) -> Result<bool> {
        let mut all = self.all(sandbox).await?;
        let Some(at) = all.iter().position(|one| one.id == id) else { return Ok(false) };
        all.remove(at).kernel.end().await;
        Ok(true)
    }
}
