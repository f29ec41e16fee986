//! Memory: the heap, of which TLS is the user, and how deep the stack went.

use super::start::PAINT;
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::RefCell,
    ptr::{NonNull, null_mut},
};
use critical_section::Mutex;
use linked_list_allocator::Heap;

unsafe extern "C" {
    static mut _heap_start: u8;
    static _heap_size: u8;
    static mut _stack_bottom: u32;
    static _stack_top: u32;
}

/// The heap, and the most that was used of it.
struct Memory(Mutex<RefCell<(Heap, usize)>>);

#[global_allocator]
static HEAP: Memory = Memory(Mutex::new(RefCell::new((Heap::empty(), 0))));

// SAFETY: the heap hands out memory that it was given and that nothing else
// uses, guarded by a critical section.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        critical_section::with(|cs| {
            let (heap, peak) = &mut *self.0.borrow(cs).borrow_mut();
            if heap.size() == 0 {
                // SAFETY: the linker script keeps this range for the heap, and
                // it is given away once.
                unsafe { heap.init(&raw mut _heap_start, &raw const _heap_size as usize) };
            }
            let memory = heap.allocate_first_fit(layout);
            *peak = heap.used().max(*peak);
            memory.map_or(null_mut(), NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if let Some(memory) = NonNull::new(memory) {
            critical_section::with(|cs| {
                // SAFETY: the caller's promise.
                unsafe { self.0.borrow(cs).borrow_mut().0.deallocate(memory, layout) };
            });
        }
    }
}

/// Returns how many bytes of the heap are in use, and sets the peak to that.
pub fn restart_peak() -> usize {
    critical_section::with(|cs| {
        let (heap, peak) = &mut *HEAP.0.borrow(cs).borrow_mut();
        *peak = heap.used();
        *peak
    })
}

/// Returns the most bytes of the heap that were in use since
/// [`restart_peak`].
pub fn peak() -> usize {
    critical_section::with(|cs| HEAP.0.borrow(cs).borrow().1)
}

/// Paints the stack below the caller anew, and returns how many bytes are in
/// use.
#[inline(never)]
pub fn paint_stack() -> usize {
    let here = stack_pointer();
    let mut at = &raw mut _stack_bottom;
    // What this function itself may still need is left.
    while (at as usize) < here - 256 {
        // SAFETY: between the bottom of the stack and the stack pointer.
        unsafe {
            at.write_volatile(PAINT);
            at = at.add(1);
        }
    }
    (&raw const _stack_top) as usize - here
}

#[inline(always)]
fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
    pointer
}

/// Returns how many bytes of the stack were used at most, since it was last
/// painted.
pub fn stack_used() -> usize {
    let (mut at, top) = (&raw const _stack_bottom, &raw const _stack_top);
    // SAFETY: the stack is memory from its bottom to its top.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    top as usize - at as usize
}
