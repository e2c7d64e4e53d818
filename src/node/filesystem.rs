//! The class `Filesystem`.

use napi::Env;
use napi::bindgen_prelude::{Buffer, Either, PromiseRaw, Uint8Array, Unknown};
use napi_derive::napi;

use super::convert::{self, Date, Fields};
use crate::error::Error;
use crate::provider::{Entry, not_yet};
use crate::sandbox::Sandbox;

#[napi]
pub struct Filesystem {
    pub(super) sandbox: Sandbox,
}

#[napi]
impl Filesystem {
    #[napi]
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
                return Err(Error::invalid(format!("`encoding` must be 'utf8' or 'bytes', got '{other}'")).into());
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

    #[napi]
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

    #[napi]
    pub fn mkdir<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().make_dir(&path).await?) })
    }

    #[napi]
    pub fn readdir<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, Vec<FileEntry>>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move {
            let entries = sandbox.filesystem().list(&path).await?;
            Ok(entries.into_iter().map(|entry| FileEntry::new(&path, entry)).collect())
        })
    }

    /// Anything that is no path at all is not there either.
    #[napi]
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

    #[napi]
    pub fn remove<'e>(&self, env: &'e Env, path: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let path = convert::string("path", &path)?;
        let sandbox = self.sandbox.clone();
        env.spawn_future(async move { Ok(sandbox.filesystem().remove(&path).await?) })
    }

    /// Refuses what a later version will do, by name.
    #[napi]
    pub async fn not_yet(&self, what: String) -> napi::Result<Option<Buffer>> {
        Err(not_yet(&format!("`filesystem.{what}`"))
            .within("filesystem", Some(self.sandbox.provider().name()), Some(self.sandbox.id()))
            .into())
    }
}

#[napi(object, object_from_js = false)]
pub struct FileEntry {
    pub name: String,
    #[napi(js_name = "type")]
    pub kind: String,
    pub size: Option<f64>,
    pub modified: Option<Date>,
    pub path: String,
    pub is_directory: bool,
    pub last_modified: Option<Date>,
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
