//! The fake as a program. It prints one line of JSON when it is ready, and ends when its standard input does, so
//! that no test leaves it behind.

use std::process::ExitCode;

use e2b_fake::{Fake, Options};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, stderr, stdin, stdout};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // There is nobody else to tell.
            let _ = stderr().write_all(format!("e2b-fake: {message}\n").as_bytes()).await;
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let fake = Fake::start(options).await.map_err(|error| error.to_string())?;
    let line = json!({ "url": fake.url(), "backdoor": fake.backdoor() }).to_string() + "\n";
    let mut out = stdout();
    out.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
    out.flush().await.map_err(|error| error.to_string())?;
    // Whatever is read means nothing; the end does.
    let _ = stdin().read_to_end(&mut Vec::new()).await;
    fake.stop().await;
    Ok(())
}
