//! The calls of `process.Process` that have one answer.

use std::sync::atomic::Ordering;

use computesdk::provider::Size;

use super::codec::{Code, Fault};
use super::messages::{
    Empty, ListResponse, ProcessInfo, ProcessInput, Selected, SendInputRequest, SendSignalRequest,
    StreamInputRequest, UpdateRequest,
};
use super::table::{Processes, Running};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// All that run.
pub fn list(processes: &Processes) -> ListResponse {
    let info = |process: &Running| ProcessInfo {
        config: Some(process.config.clone()),
        pid: process.pid,
        tag: process.tag.clone(),
    };
    ListResponse { processes: processes.running().iter().map(|process| info(process)).collect() }
}

/// Changes the size of a terminal.
pub async fn update(processes: &Processes, request: UpdateRequest) -> Result<Empty, Fault> {
    let process = processes.find(request.process.as_ref())?;
    let Some(pty) = request.pty else { return Ok(Empty {}) };
    if !process.terminal {
        return Err(Fault::new(Code::Internal, "error resizing tty: tty not assigned to process"));
    }
    let size = pty.size.unwrap_or_default();
    let size = Size { cols: size.cols as u16, rows: size.rows as u16 };
    let resized = process.control.resize(size).await;
    resized.map_err(|error| Fault::new(Code::Internal, format!("error resizing tty: {error}")))?;
    Ok(Empty {})
}

/// Gives a process something to read.
pub async fn send_input(processes: &Processes, request: SendInputRequest) -> Result<Empty, Fault> {
    let process = processes.find(request.process.as_ref())?;
    give(&process, request.input.unwrap_or_default()).await?;
    Ok(Empty {})
}

async fn give(process: &Running, input: ProcessInput) -> Result<(), Fault> {
    let internal = |message: String| Err(Fault::new(Code::Internal, message));
    let (bytes, what) = match (input.stdin, input.pty) {
        (_, Some(_)) if !process.terminal => {
            return internal("error writing to tty: tty not assigned to process — input should be written to the stdin, not the tty".to_owned());
        }
        (Some(_), None) if process.terminal => {
            return internal("error writing to stdin: tty assigned to process — input should be written to the pty, not the stdin".to_owned());
        }
        (Some(_), None) if !process.stdin.load(Ordering::SeqCst) => {
            return internal("error writing to stdin: stdin not enabled or closed".to_owned());
        }
        (_, Some(bytes)) => (bytes, "tty"),
        (Some(bytes), None) => (bytes, "stdin"),
        (None, None) => return Err(Fault::new(Code::Unimplemented, "invalid input type <nil>")),
    };
    match process.control.write_stdin(&bytes).await {
        Ok(()) => Ok(()),
        Err(_) => internal(format!(
            "error writing to {what}: error writing to {what} of process '{}': write |1: broken pipe",
            process.pid
        )),
    }
}

/// One message of a stream of inputs; the first names the process.
pub async fn stream_input(
    processes: &Processes,
    process: &mut Option<std::sync::Arc<Running>>,
    request: StreamInputRequest,
) -> Result<(), Fault> {
    if let Some(start) = request.start {
        *process = Some(processes.find(start.process.as_ref())?);
    } else if let Some(data) = request.data {
        let process = process
            .as_ref()
            .ok_or_else(|| Fault::new(Code::InvalidArgument, "input came before the start event"))?;
        give(process, data.input.unwrap_or_default()).await?;
    } else if request.keepalive.is_none() {
        return Err(Fault::new(Code::Unimplemented, "invalid event type <nil>"));
    }
    Ok(())
}

/// Ends the standard input of a process.
pub async fn close_stdin(processes: &Processes, request: Selected) -> Result<Empty, Fault> {
    let process = processes.find(request.process.as_ref())?;
    if process.terminal {
        let message = "error closing stdin: cannot close stdin for PTY process — send Ctrl+D (0x04) instead";
        return Err(Fault::new(Code::Unknown, message));
    }
    if process.without_stdin() {
        // What no longer reads needs no end.
        let _ = process.control.close_stdin().await;
    }
    Ok(Empty {})
}

/// Sends one of two signals, to the process alone. What else holds its output open is no longer waited for.
pub async fn send_signal(processes: &Processes, request: SendSignalRequest) -> Result<Empty, Fault> {
    let process = processes.find(request.process.as_ref())?;
    if ![SIGKILL, SIGTERM].contains(&request.signal) {
        let name =
            if request.signal == 0 { "SIGNAL_UNSPECIFIED".to_owned() } else { request.signal.to_string() };
        return Err(Fault::new(Code::Unimplemented, format!("invalid signal: {name}")));
    }
    process.cut.cancel();
    let sent = process.control.signal(request.signal).await;
    sent.map_err(|error| Fault::new(Code::Internal, format!("error sending signal: {error}")))?;
    Ok(Empty {})
}
