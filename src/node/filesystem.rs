//! The class `Filesystem`.

use napi::Env;
use napi::bindgen_prelude::{Buffer, Either, PromiseRaw, Uint8Array, Unknown};
use napi_derive::napi;

use super::convert::{self, Date, Fields};
use crate::error::Error;
use crate::provider::{Entry, not_yet};
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
    ) -> napi::Result<PromiseRaw<'e, Either<String, Uint8Array>>> {
        let path = convert::string("path", &path)?;
        let encoding = Fields::of("options", &options, &["encoding"])?.string("encoding")?;
        let bytes = match encoding.as_deref() {
            None | Some("utf8" | "utf-8") => false,
            Some("bytes") => true,
            Some("stream") => return Err(not_yet("`encoding: 'stream'`").into()),
            Some(other) => {
                return Err(
                    Error::invalid(format!("`encoding` must be 'utf8' or 'bytes', got '{other}'")).into()
                );
            }
        };
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            if bytes {
                let content = sandbox.filesystem().read(&path).await?;
                return Ok(Either::B(Uint8Array::new(Vec::from(content))));
            }
            Ok(Either::A(sandbox.filesystem().read_text(&path).await?))
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
        if convert::is_stream(&content) {
            return Err(not_yet("`writeFile` from a stream, a blob or an iterable").into());
        }
        let content = convert::bytes("content", &content)?;
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

    /// Refuses what a later version will do, by name.
    #[napi(skip_typescript)]
    pub async fn not_yet(&self, what: String) -> napi::Result<Option<Buffer>> {
        Err(not_yet(&format!("`filesystem.{what}`")).into())
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
        Self {
            path: format!("{}/{}", directory.trim_end_matches('/'), entry.name),
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
