//! The devices of the emulator that share memory with the program.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::{alloc::Layout, ptr::NonNull};
use virtio_drivers::{
    BufferDirection, Hal, PAGE_SIZE, PhysAddr,
    transport::{DeviceType, Transport, mmio::MmioTransport},
};

const FIRST: usize = 0x1000_1000;
const SIZE: usize = 0x1000;
const COUNT: usize = 8;

/// Returns the device of a kind, unless there is none.
pub(super) fn find(kind: DeviceType) -> Option<MmioTransport<'static>> {
    (0..COUNT).find_map(|index| {
        let header = NonNull::new((FIRST + index * SIZE) as *mut _)?;
        // SAFETY: the machine has a virtio device of this size at each of these
        // addresses, for ever; an empty place says so.
        let transport = unsafe { MmioTransport::new(header, SIZE) }.ok()?;
        if transport.device_type() == kind {
            return Some(transport);
        }
        // Dropping it would reset a device that is in use.
        core::mem::forget(transport);
        None
    })
}

/// Memory as the devices see it: addresses are the same, all is coherent.
pub(super) struct Memory;

const fn pages(count: usize) -> Layout {
    match Layout::from_size_align(count * PAGE_SIZE, PAGE_SIZE) {
        Ok(layout) => layout,
        Err(_) => panic!("a few pages at most"),
    }
}

// SAFETY: pages come zeroed and aligned from the allocator, which has them back
// in `dma_dealloc`; addresses need no translation on this machine.
unsafe impl Hal for Memory {
    fn dma_alloc(count: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout is not empty, for devices ask for a page or more.
        match NonNull::new(unsafe { alloc_zeroed(pages(count)) }) {
            Some(memory) => (memory.as_ptr() as PhysAddr, memory),
            // 0 is how this interface says that there is no memory.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, count: usize) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { dealloc(memory.as_ptr(), pages(count)) };
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as usize as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
