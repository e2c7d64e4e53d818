//! Files of a sandbox.
//!
//! envd gives and takes their contents, and answers what can be asked about one path. For the rest (where links
//! point, copies, names that are no UTF-8) small scripts run in the sandbox.

use async_trait::async_trait;

use super::Envd;
use super::error::{About, not_regular, of_file};
use super::messages::{
    Empty, EntryInfo, EntryResponse, FileType, ListDirRequest, ListDirResponse, PathRequest, Timestamp,
};
use super::path::{check_changeable, check_movable, check_names, name, trimmed};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Content, Entry, Files};
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Refusal};

/// What is at a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    File,
    Directory,
    /// A pipe, a socket, a device.
    Special,
}

#[async_trait]
impl Files for Envd {
    async fn read(&self, path: &str, piece: usize) -> Result<Content> {
        check_names(path)?;
        self.content(path, piece).await
    }

    async fn write(&self, path: &str, content: Content) -> Result<()> {
        check_changeable(path)?;
        self.replace(path, content).await
    }

    async fn make_dir(&self, path: &str) -> Result<()> {
        check_changeable(path)?;
        let request = PathRequest { path: path.to_owned() };
        match self
            .ask::<_, EntryResponse>("filesystem.Filesystem/MakeDir", &request, Repeat::Idempotent)
            .await
        {
            Ok(_) | Err(Fault::Refused(Refusal { code: Code::AlreadyExists, .. })) => Ok(()),
            Err(fault) => Err(self.file_error(About::Directory, path, fault).await),
        }
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        check_names(path)?;
        let request = ListDirRequest { path: path.to_owned(), depth: 1 };
        let mut entries = match self
            .ask::<_, ListDirResponse>("filesystem.Filesystem/ListDir", &request, Repeat::Idempotent)
            .await
        {
            Ok(ListDirResponse { entries }) if entries.iter().any(|entry| entry.symlink_target.is_some()) => {
                let links = self.links_in(path).await?;
                entries.into_iter().map(|found| links.complete(found)).collect()
            }
            Ok(ListDirResponse { entries }) => entries.into_iter().map(entry).collect(),
            // A name that is no UTF-8 cannot be said in protobuf.
            Err(Fault::Refused(Refusal { message, .. })) if message.contains("UTF-8") => {
                self.all_in(path).await?
            }
            Err(fault) => return Err(self.file_error(About::Directory, path, fault).await),
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        let Some((found, kind)) = self.look(path).await? else { return Ok(None) };
        if kind == Kind::Nothing {
            return Ok(None);
        }
        let is_link = found.symlink_target.is_some();
        let entry = if is_link { self.link_at(trimmed(path).0, found).await? } else { Some(entry(found)) };
        Ok(entry.map(|entry| Entry { name: name(path).to_owned(), ..entry }))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.kind(path).await? != Kind::Nothing)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_movable(from)?;
        check_movable(to)?;
        self.put_elsewhere(super::copy::Way::Rename, from, to).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        check_names(from)?;
        check_movable(to)?;
        self.put_elsewhere(super::copy::Way::Copy, from, to).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        check_movable(path)?;
        let (bare, must_be_directory) = trimmed(path);
        let missing = || of_file(About::File, path, Code::NotFound, "");
        // envd takes what is not there for removed.
        let Some((found, _)) = self.look(bare).await? else { return Err(missing()) };
        if must_be_directory && found.kind != FileType::Directory as i32 {
            return Err(missing());
        }
        let request = PathRequest { path: bare.to_owned() };
        match self.ask::<_, Empty>("filesystem.Filesystem/Remove", &request, Repeat::Idempotent).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(self.file_error(About::File, path, fault).await),
        }
    }
}

impl Envd {
    /// What is at a path itself, be it a link; and what it is in the end.
    async fn look(&self, path: &str) -> Result<Option<(EntryInfo, Kind)>> {
        check_names(path)?;
        let (bare, must_be_directory) = trimmed(path);
        let request = PathRequest { path: bare.to_owned() };
        let found: EntryResponse =
            match self.ask("filesystem.Filesystem/Stat", &request, Repeat::Idempotent).await {
                Ok(found) => found,
                Err(fault) => {
                    let error = self.file_error(About::File, path, fault).await;
                    let is_missing =
                        error.kind() == ErrorKind::NotFound && error.message().starts_with("File not found");
                    return if is_missing { Ok(None) } else { Err(error) };
                }
            };
        let Some(found) = found.entry else { return Ok(None) };
        let kind = match FileType::try_from(found.kind) {
            Ok(FileType::Directory) => Kind::Directory,
            Ok(FileType::File) => Kind::File,
            // One that leads nowhere is told with its own path.
            _ if found.symlink_target.as_deref() == Some(bare) => Kind::Nothing,
            _ => Kind::Special,
        };
        if must_be_directory && kind != Kind::Directory {
            return Ok(None);
        }
        Ok(Some((found, kind)))
    }

    /// What is at a path, links followed.
    pub(super) async fn kind(&self, path: &str) -> Result<Kind> {
        Ok(self.look(path).await?.map_or(Kind::Nothing, |(_, kind)| kind))
    }

    /// Refuses what is there and no regular file.
    pub(super) async fn check_regular(&self, path: &str) -> Result<()> {
        match self.kind(path).await? {
            Kind::File | Kind::Nothing => Ok(()),
            Kind::Directory => Err(Error::invalid(format!("is a directory: {path}"))),
            Kind::Special => Err(not_regular(path)),
        }
    }
}

/// An entry that is no link.
pub(super) fn entry(found: EntryInfo) -> Entry {
    let directory = found.kind == FileType::Directory as i32;
    Entry {
        directory,
        size: Some(if directory { 0 } else { u64::try_from(found.size).unwrap_or(0) }),
        modified: found.modified_time.and_then(Timestamp::time),
        symlink_target: None,
        name: found.name,
    }
}
