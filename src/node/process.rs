//! Processes that go on. The door makes the class `Process` of these.

use std::sync::Arc;

use futures_util::stream;
use napi::bindgen_prelude::{Function, PromiseRaw, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue};
use napi::{Env, Status};
use napi_derive::napi;
use tokio::sync::Mutex;

use super::convert;
use super::reader::NativeReader;
use super::run::{CommandResult, raise};
use crate::command::Utf8;
use crate::process::{self as core, Process};
use crate::provider::Wanted;
use crate::sandbox::Sandbox;
use crate::signal;

#[napi]
pub struct NativeProcess {
    pub(super) sandbox: Sandbox,
    pub(super) process: Arc<Process>,
    /// Whether its streams are this handle's, or it looks at another's.
    pub(super) owns: bool,
    pub(super) throw_on_error: bool,
}

#[napi]
impl NativeProcess {
    #[napi(getter, skip_typescript)]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    #[napi(skip_typescript)]
    pub fn wait<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, CommandResult>> {
        let (sandbox, process) = (self.sandbox.clone(), Arc::clone(&self.process));
        let throw_on_error = self.throw_on_error;
        env.spawn_future(async move {
            let output = sandbox.operation("wait", process.wait()).await?;
            raise(&sandbox, "wait", &output, throw_on_error)?;
            Ok(CommandResult::new(output, sandbox.id(), sandbox.provider().name()))
        })
    }

    #[napi(skip_typescript)]
    pub fn kill<'e>(&self, env: &'e Env, name: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let signal = if convert::is_missing(&name) {
            signal::KILL
        } else {
            signal::number(&convert::string("signal", &name)?)?
        };
        let (sandbox, process) = (self.sandbox.clone(), Arc::clone(&self.process));
        env.spawn_future(async move {
            let control = process.control();
            // `SIGKILL` ends everything that came of a process; any other goes to the process itself.
            let sent = async {
                match signal {
                    signal::KILL => control.kill().await,
                    _ => control.signal(signal).await,
                }
            };
            Ok(sandbox.operation("kill", sent).await?)
        })
    }

    #[napi(skip_typescript)]
    pub fn write<'e>(&self, env: &'e Env, data: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let data = convert::bytes("data", &data)?;
        let (sandbox, writing) = (self.sandbox.clone(), self.process.write(data));
        env.spawn_future(async move { Ok(sandbox.operation("stdin.write", writing).await?) })
    }

    #[napi(skip_typescript)]
    pub fn end<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let (sandbox, ending) = (self.sandbox.clone(), self.process.end_input());
        env.spawn_future(async move { Ok(sandbox.operation("stdin.end", ending).await?) })
    }

    #[napi(skip_typescript)]
    pub fn stdout(&self) -> NativeReader {
        self.bytes(Wanted { stdout: true, stderr: false })
    }

    #[napi(skip_typescript)]
    pub fn stderr(&self) -> NativeReader {
        self.bytes(Wanted { stdout: false, stderr: true })
    }

    #[napi(skip_typescript)]
    pub fn texts(&self) -> NativeTexts {
        let reader = self.process.reader(Wanted::BOTH, self.owns);
        NativeTexts(Arc::new(Mutex::new(Some((reader, Default::default())))))
    }

    /// Whoever wanted to read it from its start has said so.
    #[napi(skip_typescript)]
    pub fn release(&self) {
        self.process.release();
    }
}

impl NativeProcess {
    fn bytes(&self, streams: Wanted) -> NativeReader {
        let reader = self.process.reader(streams, self.owns);
        let pieces = stream::unfold(reader, |mut reader: core::Reader| async move {
            let chunk = reader.next().await?;
            let (_, bytes) = chunk.parts();
            Some((Ok(bytes.clone()), reader))
        });
        NativeReader::new(Box::pin(pieces))
    }
}

/// What a process writes to both streams, as text.
#[napi]
pub struct NativeTexts(Arc<Mutex<Option<Texts>>>);

/// A reader, and what it has begun to read of a character of each stream.
type Texts = (core::Reader, [Utf8; 2]);

#[napi]
impl NativeTexts {
    /// The next piece, never a part of a character; `null` at the end, and after `close`.
    #[napi(skip_typescript)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Option<String>>> {
        let texts = Arc::clone(&self.0);
        env.spawn_future(async move {
            let mut held = texts.lock().await;
            while let Some((reader, decoders)) = held.as_mut() {
                let Some(chunk) = reader.next().await else {
                    let rest: String = decoders.iter_mut().map(Utf8::finish).collect();
                    held.take();
                    return Ok(Some(rest).filter(|rest| !rest.is_empty()));
                };
                let (stream, bytes) = chunk.parts();
                let text = decoders[stream].decode(bytes);
                if !text.is_empty() {
                    return Ok(Some(text));
                }
            }
            Ok(None)
        })
    }

    /// Gives up what is left.
    #[napi(skip_typescript)]
    pub fn close<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let texts = Arc::clone(&self.0);
        env.spawn_future(async move {
            texts.lock().await.take();
            Ok(())
        })
    }
}

/// A function that takes nothing and is not waited for. It does not keep the process alive.
type Notice = ThreadsafeFunction<(), UnknownReturnValue, (), Status, false, true>;

/// Calls `notice` once the process of this number has ended; at once if nobody knows it.
pub(super) fn when_ended(
    sandbox: &Sandbox,
    pid: u32,
    notice: &Function<'_, (), UnknownReturnValue>,
) -> napi::Result<()> {
    let notice: Notice =
        notice.build_threadsafe_function::<()>().callee_handled::<false>().weak::<true>().build()?;
    let process = sandbox.instance().started().process(pid);
    napi::bindgen_prelude::spawn(async move {
        if let Some(process) = process {
            process.until_ended().await;
        }
        notice.call((), ThreadsafeFunctionCallMode::NonBlocking);
    });
    Ok(())
}
