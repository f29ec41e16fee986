//! The generator that mbedtls draws from.

use crate::AlreadyStarted;
use core::{
    cell::RefCell,
    ffi::{c_int, c_uchar, c_void},
    slice,
};
use critical_section::Mutex;
use rand_core::CryptoRng;

type Generator = &'static mut (dyn CryptoRng + Send);

static GENERATOR: Mutex<RefCell<Option<Generator>>> = Mutex::new(RefCell::new(None));

/// `PSA_SUCCESS`
const SUCCESS: c_int = 0;
/// `PSA_ERROR_INSUFFICIENT_ENTROPY`
const INSUFFICIENT_ENTROPY: c_int = -148;

/// Gives mbedtls its generator, once.
pub(crate) fn install(generator: Generator) -> Result<(), AlreadyStarted> {
    critical_section::with(|token| {
        let mut slot = GENERATOR.borrow_ref_mut(token);
        if slot.is_some() {
            return Err(AlreadyStarted);
        }
        *slot = Some(generator);
        Ok(())
    })
}

/// Called by mbedtls, which is built with `MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG`.
///
/// # Safety
/// There is room for `len` bytes at `output`, and for one number at `done`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbedtls_psa_external_get_random(
    _context: *mut c_void,
    output: *mut c_uchar,
    len: usize,
    done: *mut usize,
) -> c_int {
    critical_section::with(|token| {
        let mut slot = GENERATOR.borrow_ref_mut(token);
        let Some(generator) = slot.as_mut() else { return INSUFFICIENT_ENTROPY };
        if len > 0 {
            // SAFETY: the caller's promise. The bytes were never read, so they
            // are set first.
            let output = unsafe {
                output.write_bytes(0, len);
                slice::from_raw_parts_mut(output, len)
            };
            generator.fill_bytes(output);
        }
        // SAFETY: the caller's promise.
        unsafe { done.write(len) };
        SUCCESS
    })
}
