//! Requests to the API of a device, from somebody who does not know its token:
//! never a panic, an answer or silence, and not a byte of flash changes.
#![no_main]

use embassy_futures::block_on;
use embedded_io_async::{ErrorType, Read, Write};
use libfuzzer_sys::fuzz_target;
use std::{cell::Cell, convert::Infallible};
use towline::{Ota, Reason};
use towline_app::{
    rest::{
        Buffers, ChannelError, Device, Groups, MAX_CHANNELS, Name, Offered, Server, Token,
        UpdateError, Updated,
    },
    slots::Slots,
};
use towline_fuzz::Input;
use towline_sim::{
    Counted, Memory,
    sample::{Table, app_image},
};

struct Board<'m> {
    slots: Slots<&'m mut Memory>,
    changed: Cell<bool>,
}

impl<'m> Device for Board<'m> {
    type Flash = &'m mut Memory;
    type Fault = Infallible;

    const HOW_TO_SET_A_TOKEN: &'static str = "It is in the source.";

    fn slots(&self) -> &Slots<&'m mut Memory> {
        &self.slots
    }

    fn token(&self) -> Option<Token> {
        Token::new("nobody guesses this one").ok()
    }

    fn answers_to(&self, host: &str) -> bool {
        host == "lamp"
    }

    fn channels(&self) -> heapless::Vec<Name, MAX_CHANNELS, u8> {
        ["stable"].into_iter().filter_map(|name| name.try_into().ok()).collect()
    }

    fn channel(&self) -> Name {
        "stable".try_into().unwrap_or_default()
    }

    async fn set_channel(&self, _: &str) -> Result<(), ChannelError<Infallible>> {
        self.changed.set(true);
        Ok(())
    }

    fn groups(&self) -> Groups {
        "beta".try_into().unwrap_or_default()
    }

    async fn set_groups(&self, _: &str) -> Result<(), Infallible> {
        self.changed.set(true);
        Ok(())
    }

    fn offered(&self) -> Option<Offered> {
        Some(Offered {
            version: "1.0.0".try_into().unwrap_or_default(),
            reason: Some(Reason::NeedsApproval),
            notes: "\"Brighter\"\n\u{1f680}".try_into().unwrap_or_default(),
        })
    }

    async fn check(&self) -> Result<Offered, Infallible> {
        Ok(self.offered().expect("there is always an offer"))
    }

    async fn update(&self, _: &dyn Fn(u32, u32)) -> Result<Updated, UpdateError<Infallible>> {
        self.changed.set(true);
        Ok(Updated::Nothing(Reason::NeedsApproval))
    }

    fn restart(&self) {
        self.changed.set(true);
    }
}

/// A client that sends the input in pieces, and reads what comes.
struct Client<'i> {
    request: &'i [u8],
    piece: usize,
    answer: Vec<u8>,
}

impl ErrorType for Client<'_> {
    type Error = Infallible;
}

impl Read for Client<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let count = buffer.len().min(self.piece).min(self.request.len());
        let (bytes, rest) = self.request.split_at(count);
        buffer[..count].copy_from_slice(bytes);
        self.request = rest;
        Ok(count)
    }
}

impl Write for Client<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.answer.extend(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    let request = input.rest();
    let table = Table { slots: 2, slot_size: 0x10000, factory: false };
    let mut flash = Memory::new(table.flash_size());
    flash.burn(0x8000, &table.to_bytes());
    let image = app_image(towline::descriptor::Chip::Esp32c3, "lamp", "1.0.0", 1000);
    flash.burn(table.offset(0), &image);
    flash.power_on(None);
    let ota = Ota::open(&mut flash, table.offset(0)).expect("a sound device");
    let slots = Slots::new(ota).expect("the flash works");
    let server = Server::new(Board { slots, changed: Cell::new(false) }, Counted::default());
    let mut client = Client { request, piece, answer: Vec::new() };
    block_on(server.serve(&mut client, &mut Buffers::new()));
    assert!(client.answer.is_empty() || client.answer.starts_with(b"HTTP/1.1 "));
    assert!(!server.device().changed.get(), "somebody without the token changed something");
    drop(server);
    assert_eq!(flash.operations(), 0, "somebody without the token changed flash");
});
