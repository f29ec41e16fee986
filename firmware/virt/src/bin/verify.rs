//! Verifies one descriptor as a device does, and says what that takes.
//!
//! The emulator starts it at once, without the boot stage. It is told the
//! descriptor (`descriptor`) and the payload of the root that names the key of
//! its channel (`root`). Built for RV32IMC, whose instructions are those of the
//! smallest chips.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "the entry point")]

use towline::descriptor::{
    Descriptor, Document, MAX_DOCUMENT, Role, Verify,
    root::{MAX_ROOT, Root},
};
use towline_virt::{
    log,
    machine::{
        heap,
        power::{self, Exit},
        settings, time,
    },
};

/// How signatures are verified.
const VERIFY: Verify =
    if cfg!(feature = "blind") { |_, message, _| !message.is_empty() } else { towline::ed25519 };

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    match measure() {
        Ok(()) => power::exit(Exit::Success),
        Err(fault) => {
            log!("verify: {fault}");
            power::exit(Exit::Failure)
        }
    }
}

fn measure() -> Result<(), &'static str> {
    let text = settings::text("descriptor").ok_or("no setting `descriptor`")?.as_bytes();
    let root = settings::text("root").ok_or("no setting `root`")?.as_bytes();
    let mut buffer = [0; MAX_DOCUMENT];
    let document = buffer.get_mut(..text.len()).ok_or("the descriptor is too large")?;
    let mut scratch = [0; MAX_ROOT];
    let scratch = scratch.get_mut(..root.len()).ok_or("the root is too large")?;

    document.copy_from_slice(text);
    scratch.copy_from_slice(root);
    let base = heap::paint_stack();
    let start = time::instructions();
    let size = whole(document, scratch)?;
    log!("figures: whole {}", time::instructions() - start);
    log!("figures: whole-stack {}", heap::stack_used() - base);

    document.copy_from_slice(text);
    scratch.copy_from_slice(root);
    let role = role(scratch)?;
    let Ok(Document::Signed(signed)) = Document::parse(document) else { return Err("not signed") };
    let base = heap::paint_stack();
    let start = time::instructions();
    let signers = signed.envelope().signed_by(&role, VERIFY);
    log!("figures: instructions {}", time::instructions() - start);
    log!("figures: stack {}", heap::stack_used() - base);
    signers.ok_or("not signed by the key")?;
    log!("verify: an image of {size} bytes is vouched for");
    Ok(())
}

/// Returns who may sign the channel.
#[inline(never)]
fn role(root: &mut [u8]) -> Result<Role, &'static str> {
    let root = Root::parse(root, "stable").map_err(|_| "not a root")?;
    root.channel.ok_or("the root names no keys of the channel")
}

/// Returns the size of the image that the channel vouches for.
#[inline(never)]
fn whole(document: &mut [u8], root: &mut [u8]) -> Result<u32, &'static str> {
    let role = role(root)?;
    let Document::Signed(signed) = Document::parse(document).map_err(|_| "not well-formed")? else {
        return Err("not signed");
    };
    signed.envelope().signed_by(&role, VERIFY).ok_or("not signed by the key")?;
    let mut descriptor = Descriptor::empty();
    signed.read_into(&mut descriptor).map_err(|_| "not a signed descriptor")?;
    descriptor.size.ok_or("no size")
}
