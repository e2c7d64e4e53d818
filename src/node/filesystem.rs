//! The class `Filesystem`.

use napi::Env;
use napi::bindgen_prelude::{Either3, PromiseRaw, Uint8Array, Unknown};
use napi_derive::napi;

use super::convert::{self, Date, Fields};
use super::reader::NativeReader;
use super::source;
use crate::error::{Error, Result};
use crate::provider::Entry;
use crate::sandbox::Sandbox;

/// The files of a sandbox. Paths are absolute, else `InvalidArgumentError` is raised.
#[napi]
pub struct Filesystem {
    pub(super) sandbox: Sandbox,
}

#[napi]
impl Filesystem {
    #[napi(skip_typescript)]
    pub fn read_file<'e>(
        &self,
        env: &'e Env,
        path: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, Either3<String, Uint8Array, NativeReader>>> {
        let path = convert::string("path", &path)?;
        let encoding = Encoding::of(&Fields::of("options", &options, &["encoding"])?)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            let files = sandbox.filesystem();
            Ok(match encoding {
                Encoding::Text => Either3::A(files.read_text(&path).await?),
                Encoding::Bytes => Either3::B(Uint8Array::new(Vec::from(files.read(&path).await?))),
                Encoding::Stream => Either3::C(NativeReader::new(files.open(&path).await?)),
            })
        })
    }

    #[napi(skip_typescript)]
    pub fn write_file<'e>(
        &self,
        env: &'e Env,
        path: Unknown<'e>,
        content: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let path = convert::string("path", &path)?;
        let content = source::content("content", &content)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().write(&path, content).await?) })
    }

    /// Makes a directory and those above it. One that is there is fine; a file in its place raises
    /// `AlreadyExistsError`.
    #[napi(ts_args_type = "path: string", ts_return_type = "Promise<void>")]
    pub fn mkdir<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().make_dir(&path).await?) })
    }

    /// Lists what is directly in a directory, sorted by name.
    ///
    /// Raises `NotFoundError` (`Directory not found: <path>`).
    ///
    /// @example
    /// ```ts
    /// const entries = await sandbox.filesystem.readdir('/app')
    /// const bytes = entries.reduce((sum, { size = 0 }) => sum + size, 0)
    /// ```
    #[napi(ts_args_type = "path: string")]
    pub fn readdir<'e>(
        &self,
        env: &'e Env,
        path: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, Vec<FileEntry>>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            let entries = sandbox.filesystem().list(&path).await?;
            Ok(entries.into_iter().map(|entry| FileEntry::new(&path, entry)).collect())
        })
    }

    /// Whether there is anything at a path. Never rejects: what is no path at all is not there either.
    #[napi(ts_args_type = "path: string")]
    pub fn exists<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, bool>> {
        let path = convert::string("path", &path).ok();
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            match path {
                Some(path) => Ok(sandbox.filesystem().exists(&path).await),
                None => Ok(false),
            }
        })
    }

    /// Removes a file, a link (not its target), or a directory with all that is in it, for good.
    ///
    /// Raises `NotFoundError` (`File not found: <path>`).
    #[napi(ts_args_type = "path: string", ts_return_type = "Promise<void>")]
    pub fn remove<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().remove(&path).await?) })
    }

    /// The facts about what is at a path. A link is followed: they are its target's.
    ///
    /// Raises `NotFoundError` (`File not found: <path>`), also for a link that leads nowhere.
    ///
    /// @example
    /// ```ts
    /// const { type, size, modified } = await sandbox.filesystem.stat('/app/settings.json')
    /// ```
    #[napi(ts_args_type = "path: string")]
    pub fn stat<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, FileEntry>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            let entry = sandbox.filesystem().stat(&path).await?;
            let path = path.trim_end_matches('/');
            Ok(FileEntry::at(if path.is_empty() { "/" } else { path }.to_owned(), entry))
        })
    }

    /// Gives a file, a directory or a link (not its target) another path, and makes the directories above that.
    ///
    /// `to` is the new path itself. A file takes the place of a file that is there, in one step; a directory there
    /// raises `AlreadyExistsError`, and so does anything where a directory is to go. Raises `NotFoundError`
    /// (`File not found: <from>`), and `InvalidArgumentError` for a directory that is to go into itself.
    ///
    /// @example
    /// ```ts
    /// await sandbox.filesystem.rename('/app/draft.md', '/app/published/post.md')
    /// ```
    #[napi(ts_args_type = "from: string, to: string", ts_return_type = "Promise<void>")]
    pub fn rename<'e>(
        &self,
        env: &'e Env,
        from: Unknown<'e>,
        to: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let (from, to) = (convert::string("from", &from)?, convert::string("to", &to)?);
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().rename(&from, &to).await?) })
    }

    /// Copies a file, or a directory with all that is in it, and makes the directories above the copy.
    ///
    /// `to` is the path of the copy itself, and what is there is treated as by `rename`. Modes are kept; links in a
    /// directory stay links; a link as `from` is followed. The copy is there when it is complete: a failure, such as a
    /// full disk (`QuotaExceededError`), leaves nothing of it. A pipe, socket or device raises `InvalidArgumentError`,
    /// in a directory too.
    ///
    /// @example
    /// ```ts
    /// await sandbox.filesystem.copy('/app', '/backup/app')
    /// ```
    #[napi(ts_args_type = "from: string, to: string", ts_return_type = "Promise<void>")]
    pub fn copy<'e>(
        &self,
        env: &'e Env,
        from: Unknown<'e>,
        to: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let (from, to) = (convert::string("from", &from)?, convert::string("to", &to)?);
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().copy(&from, &to).await?) })
    }
}

/// The form in which a file is read.
enum Encoding {
    Text,
    Bytes,
    Stream,
}

impl Encoding {
    fn of(options: &Fields<'_>) -> Result<Self> {
        match options.string("encoding")?.as_deref() {
            None | Some("utf8" | "utf-8") => Ok(Self::Text),
            Some("bytes") => Ok(Self::Bytes),
            Some("stream") => Ok(Self::Stream),
            Some(other) => {
                Err(Error::invalid(format!("`encoding` must be 'utf8', 'bytes' or 'stream', got '{other}'")))
            }
        }
    }
}

/// What is at one path.
#[napi(object, object_from_js = false)]
pub struct FileEntry {
    /// Its name in its directory.
    pub name: String,
    /// A link has the type of its target; whatever is neither is `'file'`.
    #[napi(js_name = "type", ts_type = "'file' | 'directory'")]
    pub kind: String,
    /// Bytes; 0 for directories. A plug-in may not know.
    pub size: Option<f64>,
    /// The last change. A plug-in may not know.
    pub modified: Option<Date>,
    /// Its absolute path.
    pub path: String,
    /// The older form of `type`.
    pub is_directory: bool,
    /// The older name of `modified`.
    pub last_modified: Option<Date>,
    /// Where it points, if it is a symbolic link.
    pub symlink_target: Option<String>,
}

impl FileEntry {
    fn new(directory: &str, entry: Entry) -> Self {
        Self::at(format!("{}/{}", directory.trim_end_matches('/'), entry.name), entry)
    }

    fn at(path: String, entry: Entry) -> Self {
        Self {
            path,
            name: entry.name,
            kind: if entry.directory { "directory" } else { "file" }.to_owned(),
            size: entry.size.map(|size| size as f64),
            modified: entry.modified.map(Date),
            is_directory: entry.directory,
            last_modified: entry.modified.map(Date),
            symlink_target: entry.symlink_target,
        }
    }
}
