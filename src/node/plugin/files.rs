//! Files of a plug-in's sandbox: by its own methods, and by its commands what those lack.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::PluginInstance;
use super::answer::{Answer, content};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Content, Entry, Files};

/// What takes the place of bytes that are no text, and is itself a character.
const REPLACEMENT: char = '\u{FFFD}';

impl PluginInstance {
    fn has_file(&self, method: &str) -> bool {
        self.has(&format!("filesystem.{method}"))
    }

    /// Refuses what can be done neither by a method nor by commands.
    fn check_file(&self, method: &str) -> Result<()> {
        if self.has_file(method) || self.has("runCommand") {
            return Ok(());
        }
        Err(Error::unsupported(format!("this plug-in provider has no `filesystem.{method}`")))
    }

    async fn file(&self, method: &str, arguments: Value) -> Result<Value> {
        self.call.call(&format!("filesystem.{method}"), arguments).await
    }

    /// A file by the plug-in's own method. Whatever that says of a path that is not there, it is not found.
    async fn own_read(&self, path: &str) -> Result<Bytes> {
        let read = match self.file("readFile", json!([path])).await {
            Err(error) if self.is_missing(path).await => {
                let missing = Error::new(ErrorKind::NotFound, format!("File not found: {path}"));
                return Err(missing.with_hint(format!("the provider says: {}", error.message())));
            }
            read => read?,
        };
        content(&read).ok_or_else(|| {
            Error::unsupported("`filesystem.readFile` of this plug-in provider gave neither text nor bytes")
        })
    }

    /// Whether the plug-in itself says that nothing is at a path.
    async fn is_missing(&self, path: &str) -> bool {
        self.has_file("exists")
            && self.file("exists", json!([path])).await.is_ok_and(|there| there == Value::Bool(false))
    }
}

#[async_trait]
impl Files for PluginInstance {
    /// Methods of plug-ins give text: bytes come through `base64`, or as text that cannot have lost any.
    async fn read(&self, path: &str, _: usize) -> Result<Content> {
        self.check_file("readFile")?;
        if self.has("runCommand") {
            match self.read_by_script(path).await {
                Err(error) if error.kind() == ErrorKind::Unsupported && self.has_file("readFile") => {}
                read => return read.map(Content::from),
            }
        }
        let bytes = self.own_read(path).await?;
        if is_doubtful(&bytes) {
            return Err(Error::unsupported(format!(
                "{path} has bytes that are no text: this plug-in provider gives only text, and has no `base64`"
            )));
        }
        Ok(Content::from(bytes))
    }

    async fn read_text(&self, path: &str) -> Result<Content> {
        if !self.has_file("readFile") {
            return self.read(path, usize::MAX).await;
        }
        let bytes = self.own_read(path).await?;
        if is_doubtful(&bytes)
            && self.has("runCommand")
            && let Ok(exact) = self.read_by_script(path).await
        {
            return Ok(Content::from(exact));
        }
        Ok(Content::from(bytes))
    }

    async fn write(&self, path: &str, mut content: Content) -> Result<()> {
        self.check_file("writeFile")?;
        let mut all = BytesMut::new();
        while let Some(bytes) = content.bytes.next().await.transpose()? {
            all.extend_from_slice(&bytes);
        }
        if let Some(text) = std::str::from_utf8(&all).ok().filter(|_| self.has_file("writeFile")) {
            return self.file("writeFile", json!([path, text])).await.map(drop);
        }
        if !self.has("runCommand") {
            return Err(Error::unsupported(
                "bytes that are no text cannot be passed to this plug-in provider",
            ));
        }
        self.write_by_script(path, &all).await
    }

    async fn make_dir(&self, path: &str) -> Result<()> {
        self.check_file("mkdir")?;
        if !self.has_file("mkdir") {
            return self.make_dir_by_script(path).await;
        }
        self.file("mkdir", json!([path])).await.map(drop)
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let entries = match self.file("readdir", json!([path])).await {
            Err(error) if self.is_missing(path).await => {
                let missing = Error::new(ErrorKind::NotFound, format!("Directory not found: {path}"));
                return Err(missing.with_hint(format!("the provider says: {}", error.message())));
            }
            entries => entries?,
        };
        let listed = entries.as_array().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "`filesystem.readdir` gave something that is no array")
        })?;
        let entries = listed.iter().map(|entry| Answer::new("filesystem.readdir", entry).entry());
        let mut entries: Vec<_> = entries.collect::<Result<_>>()?;
        entries.retain(|entry| entry.name != "." && entry.name != "..");
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        if self.has_file("stat") {
            let found = self.file("stat", json!([path])).await?;
            return (!found.is_null()).then(|| Answer::new("filesystem.stat", &found).entry()).transpose();
        }
        let (directory, name) = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => return Ok(Some(Entry { name: "/".to_owned(), directory: true, ..Entry::default() })),
        };
        if self.has("runCommand")
            && let Some(entry) = self.stat_by_script(path).await
        {
            return Ok(Some(entry));
        }
        if !self.exists(path).await? {
            return Ok(None);
        }
        // What is known of it is what its directory says.
        let found = self.list(directory).await?.into_iter().find(|entry| entry.name == name);
        found.map(Some).ok_or_else(|| {
            Error::unsupported(format!("`stat` of {path}: this plug-in provider does not list what is there"))
        })
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.check_file("exists")?;
        if !self.has_file("exists") {
            return self.exists_by_script(path).await;
        }
        match self.file("exists", json!([path])).await? {
            Value::Bool(there) => Ok(there),
            _ => Err(Error::new(ErrorKind::Internal, "`filesystem.exists` gave neither true nor false")),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.check_file("rename")?;
        if !self.has_file("rename") {
            return self.rename_by_script(from, to).await;
        }
        self.file("rename", json!([from, to])).await.map(drop)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.check_file("copy")?;
        if !self.has_file("copy") {
            return self.copy_by_script(from, to).await;
        }
        self.file("copy", json!([from, to])).await.map(drop)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.check_file("remove")?;
        if !self.has_file("remove") {
            return self.remove_by_script(path).await;
        }
        // Most say nothing of what is not there. A link that leads nowhere is.
        if self.is_missing(path).await
            && !(self.has("runCommand") && self.is_link_by_script(path).await.unwrap_or(false))
        {
            return Err(Error::new(ErrorKind::NotFound, format!("File not found: {path}")));
        }
        self.file("remove", json!([path])).await.map(drop)
    }
}

/// Whether text may stand for bytes that are none.
fn is_doubtful(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(REPLACEMENT))
}
