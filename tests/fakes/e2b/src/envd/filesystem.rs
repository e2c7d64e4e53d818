//! The calls of `filesystem.Filesystem` that have one answer.

use computesdk::error::{Error, ErrorKind};

use super::codec::{Code, Fault};
use super::entry;
use super::messages::{
    Empty, EntryInfo, EntryResponse, ListDirRequest, ListDirResponse, MoveRequest, PathRequest,
};
use super::path::resolved;
use super::rpc::Call;
use super::words;

impl Call<'_> {
    pub(super) fn path(&self, text: &str) -> Result<String, Fault> {
        resolved(text, &self.user).map_err(|why| Fault::new(Code::InvalidArgument, why))
    }

    /// What is at a path.
    pub(super) async fn entry(&self, path: &str) -> Result<EntryInfo, Fault> {
        let found = entry::at(self.sandbox, path).await;
        let found = found.map_err(|error| internal("error getting file info", &error))?;
        let missing = || format!("file not found: lstat {path}: no such file or directory");
        found.ok_or_else(|| Fault::new(Code::NotFound, missing()))
    }

    async fn answer(&self, path: &str) -> Result<EntryResponse, Fault> {
        Ok(EntryResponse { entry: Some(self.entry(path).await?) })
    }
}

fn internal(what: &str, error: &Error) -> Fault {
    Fault::new(Code::Internal, format!("{what}: {}", words::of(error)))
}

/// What is at a path.
pub async fn stat(call: &Call<'_>, request: PathRequest) -> Result<EntryResponse, Fault> {
    call.answer(&call.path(&request.path)?).await
}

/// Makes a directory.
pub async fn make_dir(call: &Call<'_>, request: PathRequest) -> Result<EntryResponse, Fault> {
    let path = call.path(&request.path)?;
    let files = call.sandbox.instance.files();
    let found = files.stat(&path).await.map_err(|error| internal("error getting file info", &error))?;
    if let Some(found) = found {
        return Err(match found.directory {
            true => Fault::new(Code::AlreadyExists, format!("directory already exists: {path}")),
            false => Fault::new(
                Code::InvalidArgument,
                format!("path already exists but it is not a directory: {path}"),
            ),
        });
    }
    let made = files.make_dir(&path).await;
    made.map_err(|error| internal("failed to create directory", &error))?;
    call.answer(&path).await
}

/// Gives a file another path.
pub async fn rename(call: &Call<'_>, request: MoveRequest) -> Result<EntryResponse, Fault> {
    let (from, to) = (call.path(&request.source)?, call.path(&request.destination)?);
    let renamed = call.sandbox.instance.files().rename(&from, &to).await;
    renamed.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::new(
            Code::NotFound,
            format!("source file not found: rename {from} {to}: no such file or directory"),
        ),
        ErrorKind::AlreadyExists => {
            Fault::new(Code::Internal, format!("error renaming: rename {from} {to}: file exists"))
        }
        _ => internal("error renaming", &error),
    })?;
    call.answer(&to).await
}

/// Lists a directory, and what is below it.
pub async fn list_dir(call: &Call<'_>, request: ListDirRequest) -> Result<ListDirResponse, Fault> {
    let path = call.path(&request.path)?;
    let found = call.sandbox.instance.files().stat(&path).await;
    match found.map_err(|error| internal("error getting file info", &error))? {
        None => {
            let message = format!("path not found: lstat {path}: no such file or directory");
            return Err(Fault::new(Code::NotFound, message));
        }
        Some(found) if !found.directory => {
            return Err(Fault::new(Code::InvalidArgument, format!("path is not a directory: {path}")));
        }
        Some(_) => {}
    }
    let entries = entry::below(call.sandbox, &path, request.depth.max(1)).await;
    let entries = entries.map_err(|error| internal(&format!("error reading directory {path}"), &error))?;
    Ok(ListDirResponse { entries })
}

/// Removes whatever is at a path, if anything is.
pub async fn remove(call: &Call<'_>, request: PathRequest) -> Result<Empty, Fault> {
    let path = call.path(&request.path)?;
    match call.sandbox.instance.files().remove(&path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(internal("error removing file or directory", &error))
        }
        _ => Ok(Empty {}),
    }
}
