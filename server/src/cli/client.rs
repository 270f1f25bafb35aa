//! What the commands that talk to a cluster share: the way there and the way out.

use rollcall_client::{Builder, Client, Error};

use super::args::ClientArgs;
use super::failure::Failure;
use super::signals::Signals;

/// Connects to the first server that welcomes a client.
pub(super) async fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    Ok(builder(args).connect().await?)
}

/// Begins to connect: what a server answers without a leader needs no welcome.
pub(super) async fn begin(args: &ClientArgs) -> Result<Client, Failure> {
    Ok(builder(args).lazy(true).connect().await?)
}

fn builder(args: &ClientArgs) -> Builder {
    let builder = Client::builder().servers(&args.servers).timeout(args.timeout_ms.0);
    match &args.token {
        Some(token) => builder.token(token),
        None => builder,
    }
}

/// The answer of a call, or nothing if the user asked to end before it came.
pub(super) async fn unless_ended<T, E: Into<Failure>>(
    call: impl Future<Output = Result<T, E>>,
    signals: &mut Signals,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        answer = call => answer.map(Some).map_err(Into::into),
        () = signals.next() => Ok(None),
    }
}

/// Says goodbye, which ends what the client holds; a further signal leaves without.
pub(super) async fn leave(cluster: &Client, signals: &mut Signals) {
    tokio::select! {
        () = cluster.close() => {}
        () = signals.next() => {}
    }
}

/// Why a session has ended by itself.
pub(super) async fn ending(cluster: &Client) -> Failure {
    match cluster.ping().await {
        Err(error) => error.into(),
        Ok(()) => Failure::Refused("the session has ended".to_owned()),
    }
}

/// The server that serves the client, in a message's words.
pub(super) fn origin(cluster: &Client) -> Option<String> {
    cluster.welcome().map(|welcome| format!("server/{}", welcome.node))
}

impl From<Error> for Failure {
    /// What reached no server, or got no answer, is told from what a server refused.
    fn from(error: Error) -> Self {
        let code = error.code.as_str();
        let text = match (&error.field, error.message.is_empty()) {
            (_, true) => code.to_owned(),
            (Some(field), _) => format!("{} ({code}, in {field})", error.message),
            (None, _) => format!("{} ({code})", error.message),
        };
        match code {
            "unreachable" | "timeout" => Self::Unreachable(text),
            _ => Self::Refused(text),
        }
    }
}
