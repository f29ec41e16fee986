//! Packets: bytes in, packets out, and back.
//!
//! ```text
//! I M P R O V | version | type | length | data ... | checksum | \n
//! ```
//!
//! The checksum is the low byte of the sum of all bytes before it. Packets
//! stand among log output; what is none is skipped.

/// Version of the protocol.
pub const VERSION: u8 = 1;

/// Most bytes of data in a packet.
pub const MAX_DATA: usize = 255;

const MAGIC: [u8; 7] = [b'I', b'M', b'P', b'R', b'O', b'V', VERSION];

/// Magic, type and length.
const HEADER: usize = 9;

const TYPE_STATE: u8 = 0x01;
const TYPE_ERROR: u8 = 0x02;
const TYPE_RPC: u8 = 0x03;
const TYPE_RESULT: u8 = 0x04;

/// What the device is doing about Wi-Fi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes settings.
    Ready = 0x02,
    /// It tries to connect.
    Provisioning = 0x03,
    /// It is connected.
    Provisioned = 0x04,
}

/// What went wrong last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing.
    None = 0x00,
    /// The command was malformed.
    InvalidRpc = 0x01,
    /// The command is unknown.
    UnknownRpc = 0x02,
    /// The network cannot be reached with these settings.
    UnableToConnect = 0x03,
    /// The name cannot be that of a host.
    BadHostname = 0x05,
    /// Something else.
    Unknown = 0xFF,
}

/// A packet of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Type.
    pub kind: u8,
    /// Data.
    pub data: &'a [u8],
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Connect to this network, and remember it.
    WifiSettings {
        /// Name of the network.
        ssid: &'a str,
        /// Password; empty for an open network.
        password: &'a str,
    },
    /// Tell the state.
    CurrentState,
    /// Tell what runs on what.
    DeviceInfo,
    /// Tell which networks there are.
    Networks,
    /// Tell the name of the host, or change it.
    Hostname(Option<&'a str>),
    /// Tell the name of the device, or change it.
    DeviceName(Option<&'a str>),
    /// Tell how the device is connected.
    NetworkState,
}

/// Why data are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// A length does not fit, or a text is not UTF-8.
    Invalid,
    /// The command is unknown.
    Unknown,
}

impl<'a> Packet<'a> {
    /// Returns the command of a packet from a client; `None` if it is of
    /// another type.
    pub fn command(&self) -> Option<Result<Command<'a>, CommandError>> {
        (self.kind == TYPE_RPC).then(|| Command::parse(self.data))
    }
}

impl<'a> Command<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, CommandError> {
        let (id, rest) = data.split_first().ok_or(CommandError::Invalid)?;
        let (data, rest) = split_text(rest)?;
        if !rest.is_empty() {
            return Err(CommandError::Invalid);
        }
        let name = || match data {
            [] => Ok(None),
            name => utf8(name).map(Some),
        };
        let bare = |command| if data.is_empty() { Ok(command) } else { Err(CommandError::Invalid) };
        match id {
            0x01 => {
                let (ssid, rest) = split_text(data)?;
                let (password, rest) = split_text(rest)?;
                if ssid.is_empty() || !rest.is_empty() {
                    return Err(CommandError::Invalid);
                }
                Ok(Self::WifiSettings { ssid: utf8(ssid)?, password: utf8(password)? })
            }
            0x02 => bare(Self::CurrentState),
            0x03 => bare(Self::DeviceInfo),
            0x04 => bare(Self::Networks),
            0x05 => name().map(Self::Hostname),
            0x06 => name().map(Self::DeviceName),
            0x07 => bare(Self::NetworkState),
            _ => Err(CommandError::Unknown),
        }
    }

    /// Returns the number of the command, which its result repeats.
    pub const fn id(&self) -> u8 {
        match self {
            Self::WifiSettings { .. } => 0x01,
            Self::CurrentState => 0x02,
            Self::DeviceInfo => 0x03,
            Self::Networks => 0x04,
            Self::Hostname(_) => 0x05,
            Self::DeviceName(_) => 0x06,
            Self::NetworkState => 0x07,
        }
    }
}

/// Splits off bytes that follow their length.
fn split_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), CommandError> {
    let (len, rest) = bytes.split_first().ok_or(CommandError::Invalid)?;
    rest.split_at_checked(usize::from(*len)).ok_or(CommandError::Invalid)
}

fn utf8(bytes: &[u8]) -> Result<&str, CommandError> {
    core::str::from_utf8(bytes).map_err(|_| CommandError::Invalid)
}

/// Finds packets in a stream of bytes.
///
/// Bytes that turn out to be no packet are given up one at a time, so a packet
/// is found wherever it starts, within a broken one too.
#[derive(Clone, Debug)]
pub struct Parser {
    buffer: [u8; HEADER + MAX_DATA + 1],
    len: usize,
    /// Bytes at the front that were handed out, and are to be dropped.
    spent: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// Starts anywhere in a stream.
    pub const fn new() -> Self {
        Self { buffer: [0; HEADER + MAX_DATA + 1], len: 0, spent: 0 }
    }

    /// Takes the next byte. [`Parser::packet`] is asked after each, until it
    /// returns `None`.
    pub fn push(&mut self, byte: u8) {
        // Full only if nobody asked for packets; the oldest byte has to go.
        if self.len == self.buffer.len() {
            self.drop_front(self.spent.max(1));
            self.spent = 0;
        }
        self.buffer[self.len] = byte;
        self.len += 1;
    }

    /// Returns the next packet that is whole.
    pub fn packet(&mut self) -> Option<Packet<'_>> {
        self.drop_front(self.spent);
        self.spent = 0;
        loop {
            let bytes = &self.buffer[..self.len];
            let known = bytes.len().min(MAGIC.len());
            if bytes[..known] != MAGIC[..known] {
                self.drop_front(1);
                continue;
            }
            let &[.., kind, data_len] = bytes.first_chunk::<HEADER>()?;
            let end = HEADER + usize::from(data_len);
            let &checksum = bytes.get(end)?;
            if sum(&bytes[..end]) != checksum {
                self.drop_front(1);
                continue;
            }
            self.spent = end + 1;
            return Some(Packet { kind, data: &self.buffer[HEADER..end] });
        }
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// A packet as it is sent: on a line of its own, so that a client finds it
/// among log output.
#[derive(Clone, Debug)]
pub struct Frame(heapless::Vec<u8, { 1 + HEADER + MAX_DATA + 2 }>);

impl Frame {
    /// Makes the packet of a state.
    pub fn state(state: State) -> Self {
        Self::new(TYPE_STATE, &[state as u8])
    }

    /// Makes the packet of an error.
    pub fn error(error: Error) -> Self {
        Self::new(TYPE_ERROR, &[error as u8])
    }

    fn new(kind: u8, data: &[u8]) -> Self {
        let mut frame = heapless::Vec::new();
        let data = &data[..data.len().min(MAX_DATA)];
        let parts: [&[u8]; 4] = [b"\n", &MAGIC, &[kind, data.len() as u8], data];
        let mut take = |bytes: &[u8]| frame.extend_from_slice(bytes).is_ok();
        let fits = parts.into_iter().all(&mut take);
        let checksum = sum(&MAGIC).wrapping_add(kind).wrapping_add(data.len() as u8);
        let checksum = checksum.wrapping_add(sum(data));
        let fits = take(&[checksum, b'\n']) && fits;
        debug_assert!(fits, "the longest packet fits");
        Self(frame)
    }

    /// Returns the bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The result of a command: texts, each after its length.
#[derive(Clone, Debug)]
pub struct Results(heapless::Vec<u8, MAX_DATA>);

impl Results {
    /// Starts the result of the command with this number.
    pub fn of(command: u8) -> Self {
        let mut data = heapless::Vec::new();
        let fits = data.extend_from_slice(&[command, 0]);
        debug_assert!(fits.is_ok(), "there is room for 255 bytes");
        Self(data)
    }

    /// Adds a text; one that does not fit is cut, between characters.
    #[must_use]
    pub fn with(mut self, text: &str) -> Self {
        let room = MAX_DATA - self.0.len();
        if room > 0 {
            let text = &text.as_bytes()[..text.floor_char_boundary(room - 1)];
            let fits =
                self.0.push(text.len() as u8).is_ok() && self.0.extend_from_slice(text).is_ok();
            debug_assert!(fits, "the text was cut to the room there is");
            self.0[1] = (self.0.len() - 2) as u8;
        }
        self
    }

    /// Makes the packet.
    pub fn frame(&self) -> Frame {
        Frame::new(TYPE_RESULT, &self.0)
    }
}
