//! A board and the page that it is connected to: messages and time in, messages
//! out.

use super::firmware::DemoFirmware;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use towline_descriptor::Chip;
use towline_rom::{Board, Faults, Line, Lines, Options, State, Wiring};

/// A message for the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Bytes on the line.
    Bytes(Vec<u8>),
    /// JSON.
    Text(String),
}

/// A message of the page that is not bytes on the line.
#[derive(Debug, Deserialize)]
struct Message {
    /// Comes back with the answer.
    id: Option<u64>,
    #[serde(flatten)]
    command: Command,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Command {
    /// Open the port at this baud rate.
    Open(u32),
    Close(Yes),
    Signals(Signals),
    /// Hold or release the boot button.
    Boot(bool),
    /// Press the reset button.
    Reset(Yes),
    /// Plug the cable in, or pull it.
    Plug(bool),
    Faults(Faults),
    /// Offset and length of flash to look at.
    Read(u32, u32),
    /// Offset, and bytes in base64 to be there.
    Write(u32, String),
    State(Yes),
}

/// `true`, and nothing else.
#[derive(Debug, Deserialize)]
#[serde(try_from = "bool")]
struct Yes;

impl TryFrom<bool> for Yes {
    type Error = &'static str;

    fn try_from(yes: bool) -> Result<Self, Self::Error> {
        if yes { Ok(Self) } else { Err("it can only be true") }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signals {
    dtr: bool,
    rts: bool,
}

/// A board behind a port.
pub(super) struct Session {
    board: Board,
    /// Bytes take the time that they take on a wire.
    paced: bool,
    /// Baud rate of the port, if it is open.
    open: Option<u32>,
    now: Duration,
    to_board: Line,
    to_page: Line,
    replies: Vec<Reply>,
}

impl Session {
    /// Makes the board that a query describes.
    ///
    /// # Errors
    /// A sentence, if there is no such board.
    pub(super) fn new(query: &str) -> Result<Self, String> {
        let (options, paced, held) = parse(query)?;
        let firmware = Box::new(DemoFirmware::new(options.chip));
        let board = Board::new(options).map_err(|error| error.to_string())?;
        let mut board = board.with_firmware(firmware);
        board.hold_boot(held);
        Ok(Self {
            board,
            paced,
            open: None,
            now: Duration::ZERO,
            to_board: Line::default(),
            to_page: Line::default(),
            replies: Vec::new(),
        })
    }

    /// Lets the time be `now`, counted from the start.
    pub(super) fn advance(&mut self, now: Duration) {
        self.board.advance(now.saturating_sub(self.now));
        self.now = now;
        let bytes = self.to_board.arrived(now);
        self.board.receive(&bytes);
        let output = self.board.take_output();
        // A port that is closed keeps nothing.
        if self.open.is_some() {
            self.to_page.send(now, &output, self.rate());
            let bytes = self.to_page.arrived(now);
            if !bytes.is_empty() {
                self.replies.push(Reply::Bytes(bytes));
            }
            if self.board.is_unplugged() {
                self.unplugged();
            }
        }
    }

    /// Returns when bytes that are under way arrive.
    pub(super) fn due(&self) -> Option<Duration> {
        [self.to_board.next(), self.to_page.next()].into_iter().flatten().min()
    }

    /// Takes bytes that the page sends on the line.
    pub(super) fn take_bytes(&mut self, bytes: &[u8]) {
        if self.open.is_some() {
            self.to_board.send(self.now, bytes, self.rate());
            self.advance(self.now);
        }
    }

    /// Takes a message of JSON.
    pub(super) fn take_text(&mut self, text: &str) {
        let (id, answer) = match serde_json::from_str(text) {
            Ok(Message { id, command }) => (id, self.obey(command)),
            Err(error) => (None, Err(error.to_string())),
        };
        let mut answer = match answer {
            Ok(answer) if id.is_some() => answer,
            Ok(_) => return self.advance(self.now),
            Err(error) => json!({ "error": error }),
        };
        if let Some(id) = id {
            answer["id"] = id.into();
        }
        self.replies.push(Reply::Text(answer.to_string()));
        self.advance(self.now);
    }

    /// Returns the messages for the page since the last call.
    pub(super) fn replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    fn obey(&mut self, command: Command) -> Result<Value, String> {
        let done = Ok(json!({ "ok": true }));
        match command {
            Command::Open(baud) => {
                if self.board.is_unplugged() {
                    return Err("unplugged".into());
                }
                if self.board.options().faults.busy {
                    return Err("busy".into());
                }
                self.open = Some(baud);
                self.board.set_host_baud(Some(baud));
                done
            }
            Command::Close(Yes) => {
                self.close();
                self.board.set_lines(Lines::default());
                done
            }
            Command::Signals(Signals { dtr, rts }) => {
                if self.open.is_some() {
                    self.board.set_lines(Lines { dtr, rts });
                }
                done
            }
            Command::Boot(held) => {
                self.board.hold_boot(held);
                done
            }
            Command::Reset(Yes) => {
                self.board.reset();
                done
            }
            Command::Plug(true) => {
                if self.board.is_unplugged() {
                    self.board.plug();
                }
                done
            }
            Command::Plug(false) => {
                self.board.unplug();
                self.unplugged();
                done
            }
            Command::Faults(faults) => {
                let is_unplugged = self.board.is_unplugged();
                self.board.mend(faults);
                if is_unplugged {
                    self.board.unplug();
                }
                done
            }
            Command::Read(offset, len) => {
                let bytes = self.board.flash().read(offset, len);
                let bytes = bytes.map_err(|error| error.to_string())?;
                Ok(json!({ "flash": BASE64_STANDARD.encode(bytes) }))
            }
            Command::Write(offset, bytes) => {
                let bytes = BASE64_STANDARD.decode(bytes).map_err(|error| error.to_string())?;
                let written = self.board.flash_mut().put(offset, &bytes);
                written.map_err(|error| error.to_string())?;
                done
            }
            Command::State(Yes) => Ok(json!({ "state": word(self.board.state()) })),
        }
    }

    /// Tells the page that the cable was pulled.
    fn unplugged(&mut self) {
        self.close();
        self.replies.push(Reply::Text(json!({ "unplugged": true }).to_string()));
    }

    fn close(&mut self) {
        self.open = None;
        self.board.set_host_baud(None);
        self.to_board.clear();
        self.to_page.clear();
    }

    /// Returns the baud rate at which bytes take time. The chip's own USB has
    /// none.
    fn rate(&self) -> Option<u32> {
        let has_rate = self.paced && self.board.options().wiring == Wiring::Bridge;
        self.open.filter(|_| has_rate)
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Reset => "reset",
        State::Rom => "rom",
        State::Stub => "stub",
        State::Firmware => "firmware",
    }
}

/// Reads what a query says of a board: its options, whether bytes take time,
/// and whether BOOT is held.
fn parse(query: &str) -> Result<(Options, bool, bool), String> {
    let mut options = Options::new(Chip::Esp32c3);
    let (mut paced, mut held) = (false, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = || format!("{key}={value}: there is no such board");
        let flag = || match value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(wrong()),
        };
        match key {
            "chip" => options.chip = value.parse().map_err(|_| wrong())?,
            "flash" => {
                let size = mebibytes(value).filter(|size| (1..=32).contains(&(size >> 20)));
                let size = size.filter(|size| size.is_power_of_two());
                options.flash_size = size.ok_or_else(wrong)?;
            }
            "psram" => options.psram = mebibytes(value).ok_or_else(wrong)?,
            "wiring" => {
                options.wiring = match value {
                    "bridge" => Wiring::Bridge,
                    "usb" => Wiring::UsbSerialJtag,
                    _ => return Err(wrong()),
                }
            }
            "paced" => paced = flag()?,
            "held" => held = flag()?,
            "secure_download" => options.secure_download = flag()?,
            "secure_boot" => options.secure_boot = flag()?,
            "encrypted" => options.flash_encryption = flag()?,
            _ => return Err(wrong()),
        }
    }
    Ok((options, paced, held))
}

/// Reads a size such as `4MB`; a zero needs no unit.
fn mebibytes(text: &str) -> Option<u32> {
    if text == "0" {
        return Some(0);
    }
    text.strip_suffix("MB")?.parse::<u32>().ok()?.checked_mul(1 << 20)
}
