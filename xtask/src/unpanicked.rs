//! Libraries that panic on input which they do not understand.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Mutex, PoisonError},
};

/// How the error begins that is made of a panic.
pub(crate) const NOT_UNDERSTOOD: &str = "not understood";

/// Calls a library that panics on some input, and makes an error of that.
///
/// # Errors
/// What the library returns, or the text of its panic.
pub(crate) fn unpanicked<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Mutex<()> = Mutex::new(());
    let _quiet = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    panic::set_hook(hook);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("{NOT_UNDERSTOOD} ({})", text.unwrap_or("no reason given")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let at = 3;
        let result = unpanicked(|| if at > 2 { panic!("at {at}") } else { Ok(()) });
        assert_eq!(result, Err("not understood (at 3)".into()));
        assert_eq!(unpanicked(|| Ok(7)), Ok(7));
    }
}
