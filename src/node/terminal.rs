//! Terminals. The door makes the class `Terminal` of these.

use std::sync::Arc;

use napi::bindgen_prelude::{FnArgs, Function, PromiseRaw, Uint8Array, Unknown};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Status};
use napi_derive::napi;

use super::callback::Returned;
use super::convert::{self, Fields};
use crate::command::Utf8;
use crate::error::{Error, Result};
use crate::provider::Size;
use crate::sandbox::Sandbox;
use crate::terminal::{Terminal, TerminalOptions};

/// What is told of a terminal: bytes that it shows, or, when there are no more, its exit code. It does not keep
/// the process alive, and is let go of when the terminal has ended.
type Told = (Option<Uint8Array>, Option<i32>);
type Listener = ThreadsafeFunction<Told, Returned, FnArgs<Told>, Status, false, true>;

const OPTIONS: [&str; 7] = ["command", "cols", "rows", "env", "cwd", "onData", "onExit"];

/// The options of a terminal. Handlers are set by the door; here it is seen that they are functions.
pub(super) fn options(value: &Unknown<'_>) -> Result<TerminalOptions> {
    let fields = Fields::of("options", value, &OPTIONS)?;
    for handler in ["onData", "onExit"] {
        fields.function::<(), ()>(handler)?;
    }
    let default = TerminalOptions::default();
    let length = |name, default| fields.whole(name, u16::MAX.into()).map(|found| found.unwrap_or(default));
    let size = size(length("cols", default.size.cols.into())?, length("rows", default.size.rows.into())?)?;
    let command = fields.string("command")?;
    if command.as_deref() == Some("") {
        return Err(Error::invalid("`command` is empty").with_hint("leave it out for the login shell"));
    }
    Ok(TerminalOptions { command, size, env: fields.texts("env")?, cwd: fields.string("cwd")? })
}

fn size(cols: u64, rows: u64) -> Result<Size> {
    match (u16::try_from(cols), u16::try_from(rows)) {
        (Ok(cols), Ok(rows)) if cols > 0 && rows > 0 => Ok(Size { cols, rows }),
        _ => Err(Error::invalid(format!(
            "`cols` and `rows` must be from 1 to {}, got {cols} and {rows}",
            u16::MAX
        ))),
    }
}

#[napi]
pub struct NativeTerminal {
    pub(super) sandbox: Sandbox,
    pub(super) terminal: Arc<Terminal>,
}

#[napi]
impl NativeTerminal {
    #[napi(getter, skip_typescript)]
    pub fn id(&self) -> &str {
        self.terminal.id()
    }

    #[napi(getter, skip_typescript)]
    pub fn pid(&self) -> u32 {
        self.terminal.pid()
    }

    #[napi(getter, skip_typescript)]
    pub fn command(&self) -> &str {
        self.terminal.command()
    }

    #[napi(getter, skip_typescript)]
    pub fn exit_code(&self) -> Option<i32> {
        self.terminal.exit_code()
    }

    #[napi(getter, skip_typescript)]
    pub fn cols(&self) -> u16 {
        self.terminal.size().cols
    }

    #[napi(getter, skip_typescript)]
    pub fn rows(&self) -> u16 {
        self.terminal.size().rows
    }

    #[napi(skip_typescript)]
    pub fn write<'e>(&self, env: &'e Env, data: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let data = convert::bytes("data", &data)?;
        let (sandbox, writing) = (self.sandbox.clone(), self.terminal.write(data));
        env.spawn_future(async move { Ok(sandbox.operation("terminal.write", writing).await?) })
    }

    #[napi(skip_typescript)]
    pub fn resize<'e>(
        &self,
        env: &'e Env,
        cols: Unknown<'e>,
        rows: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let length = |name, value| convert::whole(name, value, u16::MAX.into());
        let size = size(length("cols", &cols)?, length("rows", &rows)?)?;
        let (sandbox, resizing) = (self.sandbox.clone(), self.terminal.resize(size));
        env.spawn_future(async move { Ok(sandbox.operation("terminal.resize", resizing).await?) })
    }

    #[napi(skip_typescript)]
    pub fn kill<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let (sandbox, terminal) = (self.sandbox.clone(), Arc::clone(&self.terminal));
        env.spawn_future(async move { Ok(sandbox.operation("terminal.kill", terminal.kill()).await?) })
    }

    /// Tells what it shows, from what is kept on, and then its exit code.
    #[napi(skip_typescript)]
    pub fn follow(&self, listener: Function<'_, FnArgs<Told>, Returned>) -> napi::Result<()> {
        let listener = held(&listener)?;
        let terminal = Arc::clone(&self.terminal);
        let mut reader = terminal.reader();
        napi::bindgen_prelude::spawn(async move {
            let mut characters = Utf8::default();
            while let Some(chunk) = reader.next().await {
                let bytes = characters.whole(chunk.parts().1);
                if !bytes.is_empty() && tell(&listener, (Some(Uint8Array::new(bytes)), None)).await.is_err() {
                    return;
                }
            }
            let rest = characters.rest();
            if !rest.is_empty() && tell(&listener, (Some(Uint8Array::new(rest)), None)).await.is_err() {
                return;
            }
            let _ = tell(&listener, (None, Some(terminal.wait().await))).await;
        });
        Ok(())
    }

    /// Tells its exit code when it has ended.
    #[napi(skip_typescript)]
    pub fn exited(&self, listener: Function<'_, FnArgs<Told>, Returned>) -> napi::Result<()> {
        let listener = held(&listener)?;
        let terminal = Arc::clone(&self.terminal);
        napi::bindgen_prelude::spawn(async move {
            let _ = tell(&listener, (None, Some(terminal.wait().await))).await;
        });
        Ok(())
    }
}

fn held(listener: &Function<'_, FnArgs<Told>, Returned>) -> napi::Result<Listener> {
    listener
        .build_threadsafe_function::<Told>()
        .callee_handled::<false>()
        .weak::<true>()
        .build_callback(|context| Ok(FnArgs::from(context.value)))
}

async fn tell(listener: &Listener, told: Told) -> napi::Result<()> {
    listener.call_async_catch(told).await?.settled().await
}
