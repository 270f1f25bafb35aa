//! The handle an application holds: calls as futures, events as a stream.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rollcall_shared::id::{ClientId, Username};
use rollcall_shared::message::{
    DisconnectUser, Filter, GetSequenceNumber, GetUserAddress, Registered, Request, SequenceNumber,
    Status, UserAddress, Welcome,
};
use rollcall_shared::session::Config;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::driver::{self, Command, Standing};
use crate::registration::{device, username};
use crate::{Builder, Code, Error, ErrorCode, Event, Registration, State, Watch};

/// A client of a cluster: a cheap handle to a task that keeps the link.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    standing: watch::Receiver<Standing>,
    events: broadcast::WeakSender<Event>,
    client_id: ClientId,
    timeout: std::time::Duration,
}

impl Client {
    /// Connects to the first of these servers that answers, with everything else at its default.
    ///
    /// # Errors
    /// See [`Builder::connect`].
    pub async fn connect(
        servers: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, Error> {
        Self::builder().servers(servers).connect().await
    }

    /// Sets up a client.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(config: Config, client_id: ClientId) -> Self {
        let timeout = config.timeout;
        let (commands, events, standing) = driver::spawn(config, client_id.clone());
        Self { commands, standing, events, client_id, timeout }
    }

    pub(crate) async fn wait_until_connected(&self) -> Result<(), Error> {
        let mut standing = self.standing.clone();
        let settled = standing
            .wait_for(|standing| matches!(standing.state, State::Connected | State::Closed));
        let unreachable = |why: &str| {
            let mut message = "no server could be reached".to_owned();
            if !why.is_empty() {
                message = format!("{message}: {why}");
            }
            Error::new(Code::Unreachable, &message)
        };
        match tokio::time::timeout(self.timeout, settled).await {
            Ok(Ok(standing)) => match &standing.ended {
                Some(why) => Err(why.clone()),
                None => Ok(()),
            },
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => {
                let standing = self.standing.borrow();
                let refusal = standing.refusal.clone();
                Err(refusal.unwrap_or_else(|| unreachable(&standing.last_failure)))
            }
        }
    }

    /// Registers where a user is reached, and holds the registration: whatever happens to links
    /// and servers, it is registered again, until [`Client::disconnect_user`] or [`Client::close`]
    /// or until another session takes it over.
    ///
    /// # Errors
    /// `username_taken` if another principal holds it; otherwise as every call: the cluster's
    /// refusals, `timeout` (it may have been applied; the client takes it back then),
    /// `unreachable` (it was not sent) and `closed`.
    pub async fn connect_user(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Registered, Error> {
        self.call(Request::ConnectUser(registration.of(name)?)).await
    }

    /// Ends a registration; without a device, the one of device `"default"`.
    ///
    /// # Errors
    /// `not_found` if nothing is registered, `not_owner` if another session holds it.
    pub async fn disconnect_user(
        &self,
        name: &str,
        device: Option<&str>,
    ) -> Result<Registered, Error> {
        let username = username(name)?;
        let device = self::device(device)?;
        self.call(Request::DisconnectUser(DisconnectUser { username, device })).await
    }

    /// Looks up 1 … 1000 names, all at one revision.
    ///
    /// ```no_run
    /// # async fn run(client: rollcall_client::Client) -> Result<(), rollcall_client::Error> {
    /// let answer = client.get_user_address(["ann", "bob"]).await?;
    /// for name in &answer.unknown {
    ///     println!("{name} is not here");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As every call; an unknown name is none.
    pub async fn get_user_address(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<UserAddress, Error> {
        let usernames: Vec<Username> =
            names.into_iter().map(|name| username(name.as_ref())).collect::<Result<_, _>>()?;
        self.call(Request::GetUserAddress(GetUserAddress { usernames })).await
    }

    /// Takes the next number of the cluster's one order.
    ///
    /// # Errors
    /// As every call; after a `timeout` a number may be lost, never given twice.
    pub async fn get_sequence_number(&self) -> Result<u64, Error> {
        self.get_sequence_numbers(1).await.map(|taken| taken.first)
    }

    /// Takes `count` numbers in a row, 1 … 10,000.
    ///
    /// # Errors
    /// As [`Client::get_sequence_number`].
    pub async fn get_sequence_numbers(&self, count: u32) -> Result<SequenceNumber, Error> {
        self.call(Request::GetSequenceNumber(GetSequenceNumber { count })).await
    }

    /// Watches who matches: who is there now, then every change.
    ///
    /// ```no_run
    /// # async fn run(client: rollcall_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt as _;
    /// use rollcall_client::{ChangeKind, Filter};
    ///
    /// let mut everyone = client.subscribe(Filter::All).await?;
    /// while let Some(change) = everyone.next().await {
    ///     if change.kind == ChangeKind::Connected {
    ///         println!("hello, {}", change.change.username);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As every call.
    pub async fn subscribe(&self, filter: Filter) -> Result<Watch, Error> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Subscribe { filter, done }).await?;
        let feed = answer.await.map_err(|_| self.closed())??;
        Ok(Watch::new(feed, self.clone()))
    }

    /// How the server that serves this client sees itself and the cluster.
    ///
    /// # Errors
    /// As every call.
    pub async fn get_status(&self) -> Result<Status, Error> {
        self.call(Request::GetStatus).await
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// As every call.
    pub async fn ping(&self) -> Result<(), Error> {
        self.request(Request::Ping).await.map(drop)
    }

    /// What the server said when it last welcomed this client; nothing before the first time.
    #[must_use]
    pub fn welcome(&self) -> Option<Welcome> {
        let text = self.standing.borrow().welcome.clone()?;
        serde_json::from_str(&text).ok()
    }

    /// How the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.standing.borrow().state
    }

    /// The client's identity: a secret, of use to resume the session after a restart.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// What happens to the session from now on. Who reads too slowly misses the oldest.
    #[must_use]
    pub fn events(&self) -> BoxStream<'static, Event> {
        let Some(events) = self.events.upgrade().map(|events| events.subscribe()) else {
            return futures::stream::empty().boxed();
        };
        futures::stream::unfold(events, |mut events| async move {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((event, events)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    /// Disconnects what this client holds and closes the link, for all clones. Calls that still
    /// wait fail as `closed`.
    pub async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            // An error says that the driver has ended, which is what is waited for.
            let _ = answer.await;
        }
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| self.closed())
    }

    pub(crate) fn try_send(&self, command: Command) {
        // Full or closed: the driver notices by itself that nobody is left.
        let _ = self.commands.try_send(command);
    }

    async fn request(&self, request: Request) -> Result<String, Error> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Call { request, done }).await?;
        let answer = answer.await.map_err(|_| self.closed())?;
        answer.map_err(|error| {
            let why = &self.standing.borrow().last_failure;
            if error.code == Code::Unreachable && !why.is_empty() {
                return Error::new(error.code, &format!("{}: {why}", error.message));
            }
            error
        })
    }

    async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let payload = self.request(request).await?;
        serde_json::from_str(&payload).map_err(|error| {
            let message = format!("the server's answer could not be read: {error}");
            Error::new(Code::Refused(ErrorCode::Internal), &message)
        })
    }

    fn closed(&self) -> Error {
        let ended = self.standing.borrow().ended.clone();
        ended.unwrap_or_else(|| Error::new(Code::Closed, "the client is closed"))
    }
}
