//! The REST API of a device, and its page.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | page |
//! | `GET /api/v1/firmware` | what runs, what boots next, what is in each slot |
//! | `POST /api/v1/firmware/accept` | keep the image on trial; 409 |
//! | `POST /api/v1/firmware/rollback` | back to the image before, restart; 409 |
//! | `GET /api/v1/firmware/channels` | array of names |
//! | `GET /api/v1/firmware/channel` | the selected one, a JSON string |
//! | `POST /api/v1/firmware/channel` | select: a JSON string; 400 |
//! | `GET /api/v1/firmware/groups` | those of the device, separated by commas, a JSON string |
//! | `POST /api/v1/firmware/groups` | put it into these: such a string; 400 |
//! | `GET /api/v1/firmware/check-update` | `{"available","current","reason"}`; 404 if the fetch fails |
//! | `POST /api/v1/firmware/update` | approve and install what the channel offers, restart; 520, 521 |
//! | `POST /api/v1/firmware/upload` | install the body, restart; 521, 522, 523 |
//! | `GET /api/v1/firmware/progress` | `{"activity","received","size"}` |
//! | `POST /api/v1/factory-reset` | back to the factory app, restart; 409 |
//! | `POST /api/v1/restart` | restart |
//!
//! `reason` is why the offer is not installed without being asked for, `null` if
//! it is. A release that waits for the approval of a user, or for a time of the
//! day, is installed by `update`; what holds it back otherwise is its answer.
//!
//! Every `POST` passes `access` first. One of those that touch slots or the
//! network runs at a time, the others are answered 409. A restart comes some
//! seconds after its answer was sent.
//!
//! Traffic is not encrypted: who can listen on the network can read a token.
//! Use networks that you trust, or set a new token afterwards.

mod access;
mod device;
mod http;
mod page;
mod refusal;
mod view;

pub use access::{MIN_TOKEN, Token, TokenTooShort};
pub use device::{
    ChannelError, Device, Groups, MAX_CHANNELS, MAX_GROUPS, MAX_NAME, MAX_NOTES, Name, Notes,
    Offered, UpdateError, Updated, is_groups, names,
};
pub use http::{HEAD, ReceiveError};

use crate::slots::InstallError;
use access::{Takes, admit, check_host};
use core::{cell::Cell, fmt, time::Duration};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embedded_io_async::{ErrorType, Read, Write};
use http::{Answer, Body, HeadError, Length, Method, Request, linger, send_continue};
use refusal::Refusal;
use towline::{Clock, OtaError};
use view::View;

/// Time between the answer to a request that restarts the device and the
/// restart, for the answer to arrive.
pub const RESTART_DELAY: Duration = Duration::from_secs(3);

/// Longest JSON body: a name in quotes, with room for escapes and spaces.
const MAX_JSON: u32 = 128;

/// Size in bytes of the buffer for answers.
const ANSWER: usize = 4096;

/// Memory of one connection.
#[derive(Debug)]
pub struct Buffers {
    head: [u8; HEAD],
    answer: [u8; ANSWER],
}

impl Buffers {
    /// Makes empty buffers.
    pub const fn new() -> Self {
        Self { head: [0; HEAD], answer: [0; ANSWER] }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What the device is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Idle,
    Checking,
    Updating,
    Uploading,
    Switching,
    Restarting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    activity: Activity,
    received: u32,
    size: u32,
}

const IDLE: Progress = Progress { activity: Activity::Idle, received: 0, size: 0 };

/// Answers requests for a device.
///
/// One server is shared by all connections, each of which calls
/// [`Server::serve`] in a task of its own; one more task runs
/// [`Server::restarts`].
pub struct Server<D, C> {
    device: D,
    clock: C,
    progress: Cell<Progress>,
    restart: Signal<NoopRawMutex, ()>,
}

/// A claim on the slots, given back when it is dropped.
struct Job<'s> {
    progress: &'s Cell<Progress>,
}

impl Job<'_> {
    fn report(&self, received: u32, size: u32) {
        self.progress.set(Progress { received, size, ..self.progress.get() });
    }

    /// Keeps the claim until the restart.
    fn until_restart(self) {
        self.progress.set(Progress { activity: Activity::Restarting, ..self.progress.get() });
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        if self.progress.get().activity != Activity::Restarting {
            self.progress.set(IDLE);
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Page,
    Info,
    Progress,
    Channels,
    Channel,
    Groups,
    CheckUpdate,
    Change(Change),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    SetChannel,
    SetGroups,
    Update,
    Upload,
    Accept,
    Rollback,
    FactoryReset,
    Restart,
}

/// What to answer.
enum Reply {
    Page(usize),
    Json(usize),
    Done,
    /// Done, and what there is to say about it.
    Told(usize),
    Refused(Refusal),
    Explained(Refusal, usize),
}

impl Reply {
    /// Refuses, and writes why to the buffer; what does not fit there is cut.
    fn explained(buffer: &mut [u8; ANSWER], refusal: Refusal, why: impl fmt::Display) -> Self {
        Self::Explained(refusal, write_line(buffer, why))
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Writes a line, cut to what fits; returns its length.
fn write_line(buffer: &mut [u8; ANSWER], line: impl fmt::Display) -> usize {
    let mut text = Text { buffer, len: 0 };
    let _ = fmt::write(&mut text, format_args!("{line}\n"));
    text.len
}

fn route(method: Method, path: &str) -> Result<Route, Refusal> {
    let read = |route| if method == Method::Get { Ok(route) } else { Err(Refusal::GET_ONLY) };
    let change = |change| match method {
        Method::Post => Ok(Route::Change(change)),
        _ => Err(Refusal::POST_ONLY),
    };
    let either = |route, change| match method {
        Method::Get => Ok(route),
        Method::Post => Ok(Route::Change(change)),
        Method::Other => Err(Refusal::GET_OR_POST),
    };
    if path == "/" {
        return read(Route::Page);
    }
    match path.strip_prefix("/api/v1").unwrap_or("") {
        "/firmware" => read(Route::Info),
        "/firmware/progress" => read(Route::Progress),
        "/firmware/channels" => read(Route::Channels),
        "/firmware/channel" => either(Route::Channel, Change::SetChannel),
        "/firmware/groups" => either(Route::Groups, Change::SetGroups),
        "/firmware/check-update" => read(Route::CheckUpdate),
        "/firmware/update" => change(Change::Update),
        "/firmware/upload" => change(Change::Upload),
        "/firmware/accept" => change(Change::Accept),
        "/firmware/rollback" => change(Change::Rollback),
        "/factory-reset" => change(Change::FactoryReset),
        "/restart" => change(Change::Restart),
        _ => Err(Refusal::NOT_FOUND),
    }
}

impl<D: Device, C: Clock> Server<D, C> {
    /// Makes the server of a device.
    pub fn new(device: D, clock: C) -> Self {
        Self { device, clock, progress: Cell::new(IDLE), restart: Signal::new() }
    }

    /// Returns the device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Answers the one request of a connection. The caller then closes the
    /// connection: flush, FIN, and time for both to arrive.
    pub async fn serve<S: Read + Write>(&self, socket: &mut S, buffers: &mut Buffers) {
        let Buffers { head, answer } = buffers;
        let (request, early) = match Request::read(socket, &self.clock, head).await {
            Ok(request) => request,
            Err(error) => {
                let refusal = match error {
                    HeadError::Silent => return,
                    HeadError::Malformed => Refusal::MALFORMED,
                    HeadError::TooLarge => Refusal::HEAD_TOO_LARGE,
                    HeadError::Slow => Refusal::SLOW_HEAD,
                };
                self.send(socket, answer, &refusal.into()).await;
                return linger(socket, &self.clock, answer).await;
            }
        };
        let reply = self.answer(socket, &request, early, answer).await;
        let reply = reply.unwrap_or_else(Reply::from);
        self.send(socket, answer, &reply).await;
        if !matches!(request.length, Length::Missing | Length::Stated(0)) {
            // Some of the body may not have been read.
            linger(socket, &self.clock, answer).await;
        }
    }

    /// Restarts the device each time that an answered request asks for it, some
    /// seconds later. On a chip it does not return from the first.
    pub async fn restarts(&self) -> ! {
        loop {
            self.restart.wait().await;
            self.clock.wait(RESTART_DELAY).await;
            self.device.restart();
            self.progress.set(IDLE);
        }
    }

    /// Admits a request and does what it asks for.
    async fn answer<S: Read + Write>(
        &self,
        socket: &mut S,
        request: &Request<'_>,
        early: &[u8],
        answer: &mut [u8; ANSWER],
    ) -> Result<Reply, Refusal> {
        check_host(request, |host| self.device.answers_to(host))?;
        let change = match route(request.method, request.path)? {
            Route::Change(change) => change,
            Route::Page => {
                let offered = self.device.offered();
                let contents = self.device.slots().contents();
                return Ok(Reply::Page(page::render(&contents, offered.as_ref(), answer)));
            }
            Route::CheckUpdate => return self.check(answer).await,
            Route::Info => {
                return Ok(json(answer, &View(&*self.device.slots().contents())));
            }
            Route::Channels => return Ok(json(answer, &View(&*self.device.channels()))),
            Route::Channel => return Ok(json(answer, self.device.channel().as_str())),
            Route::Groups => return Ok(json(answer, self.device.groups().as_str())),
            Route::Progress => return Ok(json(answer, &View(&self.progress.get()))),
        };
        let takes = match change {
            Change::Upload => Takes::Image(self.device.slots().spare_size()),
            Change::SetChannel | Change::SetGroups => Takes::Json(MAX_JSON),
            _ => Takes::Nothing,
        };
        let length = admit(request, self.device.token().as_ref(), takes)?;
        let activity = match change {
            Change::Upload => Activity::Uploading,
            Change::Update => Activity::Updating,
            _ => Activity::Switching,
        };
        let job = self.claim(activity)?;
        if length > 0 && request.expects_continue {
            send_continue(socket, &self.clock).await;
        }
        let body = Body::new(socket, &self.clock, early, length);
        Ok(match change {
            Change::Upload => self.upload(job, body, answer, length).await,
            Change::SetChannel => self.set_channel(body, answer, length).await,
            Change::SetGroups => self.set_groups(body, answer, length).await,
            Change::Update => self.update(job, answer).await,
            Change::Accept => match self.device.slots().claim().await.accept() {
                Ok(()) => Reply::Done,
                Err(error) => Reply::explained(answer, Refusal::UPGRADE_FAILED, error),
            },
            Change::Rollback => match self.device.slots().claim().await.rollback() {
                Ok(_) => self.restarting(job),
                Err(error @ OtaError::NothingToGoBackTo) => {
                    Reply::explained(answer, Refusal::NO_ROLLBACK, error)
                }
                Err(error) => Reply::explained(answer, Refusal::UPGRADE_FAILED, error),
            },
            Change::FactoryReset => match self.device.slots().claim().await.factory_reset() {
                Ok(()) => self.restarting(job),
                Err(error) => Reply::explained(answer, Refusal::UPGRADE_FAILED, error),
            },
            Change::Restart => self.restarting(job),
        })
    }

    /// Claims the slots for one request.
    fn claim(&self, activity: Activity) -> Result<Job<'_>, Refusal> {
        match self.progress.get().activity {
            Activity::Idle => {}
            Activity::Restarting => return Err(Refusal::RESTARTING),
            _ => return Err(Refusal::BUSY),
        }
        self.progress.set(Progress { activity, ..IDLE });
        Ok(Job { progress: &self.progress })
    }

    /// Lets the device restart soon: from here on it does, whatever becomes of
    /// this connection.
    fn restarting(&self, job: Job<'_>) -> Reply {
        job.until_restart();
        self.restart.signal(());
        Reply::Done
    }

    async fn check(&self, answer: &mut [u8; ANSWER]) -> Result<Reply, Refusal> {
        let _job = self.claim(Activity::Checking)?;
        Ok(match self.device.check().await {
            Ok(offered) => {
                let contents = self.device.slots().contents();
                json(answer, &view::Offer { offered: &offered, current: contents.version() })
            }
            Err(fault) => Reply::explained(answer, Refusal::NO_VERSION_INFO, fault),
        })
    }

    async fn update(&self, job: Job<'_>, answer: &mut [u8; ANSWER]) -> Reply {
        match self.device.update(&|received, size| job.report(received, size)).await {
            Ok(Updated::Nothing(reason)) => Reply::Told(write_line(answer, reason)),
            Ok(Updated::Installed) => self.restarting(job),
            Err(UpdateError::Fetch(fault)) => {
                Reply::explained(answer, Refusal::NO_UPDATE_INFO, fault)
            }
            Err(UpdateError::Install(fault)) => {
                Reply::explained(answer, Refusal::UPGRADE_FAILED, fault)
            }
        }
    }

    async fn upload<S: Read>(
        &self,
        job: Job<'_>,
        body: Body<'_, S, C>,
        answer: &mut [u8; ANSWER],
        size: u32,
    ) -> Reply {
        job.report(0, size);
        let mut image = Counted { body, job: &job, size };
        match self.device.slots().install(size, &mut image).await {
            Ok(()) => self.restarting(job),
            Err(InstallError::Receive(error)) => {
                Reply::explained(answer, Refusal::RECEIVE_FAILED, error)
            }
            Err(InstallError::Ota(error)) => Reply::explained(answer, image_refusal(&error), error),
        }
    }

    async fn set_channel<S: Read>(
        &self,
        body: Body<'_, S, C>,
        answer: &mut [u8; ANSWER],
        length: u32,
    ) -> Reply {
        let name = match read_string(body, &mut answer[..length as usize]).await {
            Ok(name) => name,
            Err(refusal) => return refusal.into(),
        };
        match self.device.set_channel(name).await {
            Ok(()) => Reply::Done,
            Err(ChannelError::Unknown) => Refusal::NO_SUCH_CHANNEL.into(),
            Err(ChannelError::Storage(fault)) => Reply::explained(answer, Refusal::STORAGE, fault),
        }
    }

    async fn set_groups<S: Read>(
        &self,
        body: Body<'_, S, C>,
        answer: &mut [u8; ANSWER],
        length: u32,
    ) -> Reply {
        let groups = match read_string(body, &mut answer[..length as usize]).await {
            Ok(groups) if is_groups(groups) => groups,
            Ok(_) => return Refusal::NO_GROUPS.into(),
            Err(refusal) => return refusal.into(),
        };
        match self.device.set_groups(groups).await {
            Ok(()) => Reply::Done,
            Err(fault) => Reply::explained(answer, Refusal::STORAGE, fault),
        }
    }

    async fn send<S: Write>(&self, socket: &mut S, buffer: &[u8; ANSWER], reply: &Reply) {
        let text = |refusal: &Refusal, body| Answer {
            status: refusal.status,
            reason: refusal.reason,
            content_type: "text/plain; charset=utf-8",
            headers: refusal.headers,
            body,
        };
        let ok = |content_type, headers, body| Answer {
            status: 200,
            reason: "OK",
            content_type,
            headers,
            body,
        };
        let answer = match reply {
            Reply::Done => ok("text/plain; charset=utf-8", "", [b"OK", b"", b""]),
            Reply::Told(length) => {
                ok("text/plain; charset=utf-8", "", [b"OK: ", &buffer[..*length], b""])
            }
            Reply::Json(length) => ok("application/json", "", [&buffer[..*length], b"", b""]),
            Reply::Page(length) => ok(
                "text/html; charset=utf-8",
                page::HEADERS,
                [page::BEFORE, &buffer[..*length], page::AFTER],
            ),
            Reply::Refused(refusal) if *refusal == Refusal::NO_TOKEN_SET => {
                text(refusal, [refusal.message.as_bytes(), D::HOW_TO_SET_A_TOKEN.as_bytes(), b"\n"])
            }
            Reply::Refused(refusal) => text(refusal, [refusal.message.as_bytes(), b"\n", b""]),
            Reply::Explained(refusal, length) => {
                text(refusal, [refusal.message.as_bytes(), b": ", &buffer[..*length]])
            }
        };
        answer.send(socket, &self.clock).await;
    }
}

/// Reads a body that is a JSON string into `buffer`. Names need no escapes; one
/// that has some is not known.
async fn read_string<'b, S: Read, C: Clock>(
    mut body: Body<'_, S, C>,
    buffer: &'b mut [u8],
) -> Result<&'b str, Refusal> {
    body.read_exact(buffer).await.map_err(|_| Refusal::INCOMPLETE)?;
    let (text, _) = serde_json_core::from_slice(buffer).map_err(|_| Refusal::NOT_A_STRING)?;
    Ok(text)
}

/// Returns whose fault it is that an image was not installed.
fn image_refusal<E>(error: &OtaError<E>) -> Refusal {
    match error {
        OtaError::Unconfirmed => Refusal::ON_TRIAL,
        OtaError::TooLarge => Refusal::IMAGE_TOO_LARGE,
        OtaError::Image(_)
        | OtaError::Empty
        | OtaError::OtherProject
        | OtaError::OtherChip
        | OtaError::OtherVersion
        | OtaError::SecureVersion
        | OtaError::Size
        | OtaError::Digest => Refusal::INVALID_FIRMWARE,
        _ => Refusal::UPGRADE_FAILED,
    }
}

fn json<T: serde::Serialize + ?Sized>(buffer: &mut [u8; ANSWER], value: &T) -> Reply {
    match serde_json_core::to_slice(value, buffer) {
        Ok(length) => Reply::Json(length),
        Err(_) => Refusal::ANSWER_TOO_LARGE.into(),
    }
}

/// Text in a buffer: it takes what fits.
struct Text<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.buffer[self.len..];
        let fitting = &text.as_bytes()[..text.floor_char_boundary(free.len())];
        free[..fitting.len()].copy_from_slice(fitting);
        self.len += fitting.len();
        if fitting.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// A body that reports how much of it came.
struct Counted<'j, 's, S, C> {
    body: Body<'s, S, C>,
    job: &'j Job<'j>,
    size: u32,
}

impl<S, C> ErrorType for Counted<'_, '_, S, C> {
    type Error = ReceiveError;
}

impl<S: Read, C: Clock> Read for Counted<'_, '_, S, C> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
        let count = self.body.read(buffer).await?;
        self.job.report(self.body.received(), self.size);
        Ok(count)
    }
}
