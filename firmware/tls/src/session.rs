//! One TLS session over a stream.
//!
//! ```text
//! caller <-> mbedtls <-> input, output (buffers) <-> stream
//! ```
//!
//! mbedtls is called until it wants bytes or has some to send; these are then
//! moved between the buffers and the stream, which is where the executor gets
//! its turn. The session of `mbedtls-rs` is not used, because it takes trusted
//! authorities only as parsed certificates: all that browsers trust would be
//! several hundred kilobytes of memory.

use crate::{TlsError, verify, verify::Verifier};
use alloc::boxed::Box;
use core::{
    ffi::{CStr, c_int, c_uchar, c_void},
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{NonNull, addr_of_mut, null_mut},
    slice,
};
use embedded_io_async::{Error, ErrorType, Read, Write};
use mbedtls_rs_sys::{
    MBEDTLS_ERR_SSL_CONN_EOF, MBEDTLS_ERR_SSL_CRYPTO_IN_PROGRESS,
    MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET,
    MBEDTLS_ERR_SSL_WANT_READ, MBEDTLS_ERR_SSL_WANT_WRITE, MBEDTLS_SSL_IS_CLIENT,
    MBEDTLS_SSL_PRESET_DEFAULT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_VERIFY_REQUIRED,
    mbedtls_ssl_conf_authmode, mbedtls_ssl_conf_ca_chain, mbedtls_ssl_conf_rng,
    mbedtls_ssl_conf_verify, mbedtls_ssl_config, mbedtls_ssl_config_defaults,
    mbedtls_ssl_config_free, mbedtls_ssl_config_init, mbedtls_ssl_context, mbedtls_ssl_free,
    mbedtls_ssl_get_verify_result, mbedtls_ssl_handshake, mbedtls_ssl_init,
    mbedtls_ssl_protocol_version_MBEDTLS_SSL_VERSION_TLS1_2, mbedtls_ssl_read, mbedtls_ssl_set_bio,
    mbedtls_ssl_set_hostname, mbedtls_ssl_setup, mbedtls_ssl_write, mbedtls_x509_crt,
    mbedtls_x509_crt_init, psa_crypto_init, psa_generate_random,
};

/// Bytes that are moved between mbedtls and the stream at a time.
const BUFFER: usize = 1024;

/// A TLS session.
pub(crate) struct Session<'a, S> {
    stream: S,
    state: State<'a>,
    /// Whether an operation is under way; if one was given up, what mbedtls
    /// would do next does not belong to the caller's next call.
    busy: bool,
}

/// What mbedtls points to. It stays where it is in memory, and is only touched
/// through this pointer while mbedtls has it.
struct State<'a> {
    inner: NonNull<Inner<'a>>,
    owned: PhantomData<Box<Inner<'a>>>,
}

struct Inner<'a> {
    ssl: mbedtls_ssl_context,
    config: mbedtls_ssl_config,
    /// An authority with no name and no key. mbedtls refuses to start without
    /// any; who is trusted is decided by the verifier.
    nobody: mbedtls_x509_crt,
    verifier: Verifier<'a>,
    bio: Bio,
}

/// Bytes on their way from and to the stream.
struct Bio {
    input: [u8; BUFFER],
    /// Where unread input starts and ends.
    unread: (usize, usize),
    output: [u8; BUFFER],
    /// Bytes of output that wait.
    waiting: usize,
    /// Whether the stream has ended.
    ended: bool,
}

impl<'a> State<'a> {
    fn new(host: &CStr, verifier: Verifier<'a>) -> Result<Self, TlsError> {
        let mut memory = Box::<Inner<'a>>::new_uninit();
        let inner: *mut Inner<'a> = memory.as_mut_ptr();
        // SAFETY: each field is initialised before anything reads it, and none
        // is moved afterwards: the box stays behind its pointer from here on.
        let state = unsafe {
            mbedtls_ssl_init(addr_of_mut!((*inner).ssl));
            mbedtls_ssl_config_init(addr_of_mut!((*inner).config));
            mbedtls_x509_crt_init(addr_of_mut!((*inner).nobody));
            addr_of_mut!((*inner).verifier).write(verifier);
            addr_of_mut!((*inner).bio).write(Bio {
                input: [0; BUFFER],
                unread: (0, 0),
                output: [0; BUFFER],
                waiting: 0,
                ended: false,
            });
            let inner = NonNull::new_unchecked(Box::into_raw(memory.assume_init()));
            Self { inner, owned: PhantomData }
        };
        let done = |code: c_int| if code == 0 { Ok(()) } else { Err(TlsError::new(code, 0)) };
        let inner = state.inner.as_ptr();
        // SAFETY: the pointers are to fields that live as long as the state,
        // and the functions are what mbedtls documents for each place.
        unsafe {
            let (ssl, config) = (addr_of_mut!((*inner).ssl), addr_of_mut!((*inner).config));
            done(psa_crypto_init())?;
            done(mbedtls_ssl_config_defaults(
                config,
                MBEDTLS_SSL_IS_CLIENT as c_int,
                MBEDTLS_SSL_TRANSPORT_STREAM as c_int,
                MBEDTLS_SSL_PRESET_DEFAULT as c_int,
            ))?;
            (*config).private_min_tls_version =
                mbedtls_ssl_protocol_version_MBEDTLS_SSL_VERSION_TLS1_2;
            mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED as c_int);
            mbedtls_ssl_conf_rng(config, Some(random), null_mut());
            mbedtls_ssl_conf_ca_chain(config, addr_of_mut!((*inner).nobody), null_mut());
            let verifier = addr_of_mut!((*inner).verifier);
            mbedtls_ssl_conf_verify(config, Some(verify::certificate), verifier.cast());
            done(mbedtls_ssl_setup(ssl, config))?;
            done(mbedtls_ssl_set_hostname(ssl, host.as_ptr()))?;
            let bio = addr_of_mut!((*inner).bio);
            mbedtls_ssl_set_bio(ssl, bio.cast(), Some(send), Some(receive), None);
        }
        Ok(state)
    }

    fn ssl(&self) -> *mut mbedtls_ssl_context {
        // SAFETY: the state is alive; no reference is made.
        unsafe { addr_of_mut!((*self.inner.as_ptr()).ssl) }
    }

    /// Returns the buffers, while mbedtls is not running.
    fn bio(&mut self) -> &mut Bio {
        // SAFETY: mbedtls touches them only in calls that take the session,
        // which is borrowed for as long as this reference is.
        unsafe { &mut *addr_of_mut!((*self.inner.as_ptr()).bio) }
    }
}

impl Drop for State<'_> {
    fn drop(&mut self) {
        let inner = self.inner.as_ptr();
        // SAFETY: both were initialised, and nothing uses them any more. The
        // authority without a name owns nothing.
        unsafe {
            mbedtls_ssl_free(addr_of_mut!((*inner).ssl));
            mbedtls_ssl_config_free(addr_of_mut!((*inner).config));
            drop(Box::from_raw(inner));
        }
    }
}

impl<'a, S: Read + Write> Session<'a, S> {
    /// Makes a session with `host`, and shakes hands.
    pub(crate) async fn connect(
        stream: S,
        host: &CStr,
        verifier: Verifier<'a>,
    ) -> Result<Self, TlsError> {
        let mut session = Self { stream, state: State::new(host, verifier)?, busy: false };
        // SAFETY: the context is set up.
        session.drive(|ssl| unsafe { mbedtls_ssl_handshake(ssl) }).await?;
        Ok(session)
    }

    /// Calls mbedtls until it is done, and moves bytes when it wants some.
    async fn drive(
        &mut self,
        mut step: impl FnMut(*mut mbedtls_ssl_context) -> c_int,
    ) -> Result<usize, TlsError> {
        if self.busy {
            return Err(TlsError::Abandoned);
        }
        self.busy = true;
        let result = loop {
            let code = step(self.state.ssl());
            match code {
                0.. => {
                    self.send().await?;
                    break Ok(code.unsigned_abs() as usize);
                }
                MBEDTLS_ERR_SSL_WANT_WRITE => self.send().await?,
                MBEDTLS_ERR_SSL_WANT_READ => {
                    self.send().await?;
                    self.receive().await?;
                }
                MBEDTLS_ERR_SSL_CRYPTO_IN_PROGRESS
                | MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET => {}
                MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY => break Ok(0),
                code => {
                    // SAFETY: the context is set up.
                    let flags = unsafe { mbedtls_ssl_get_verify_result(self.state.ssl()) };
                    // The peer is told why, if it still listens.
                    let _ = self.send().await;
                    return Err(TlsError::new(code, flags));
                }
            }
        };
        self.busy = false;
        result
    }

    /// Sends what mbedtls has left in the buffer.
    async fn send(&mut self) -> Result<(), TlsError> {
        let tcp = |error: S::Error| TlsError::Tcp(error.kind());
        let bio = self.state.bio();
        if bio.waiting > 0 {
            self.stream.write_all(&bio.output[..bio.waiting]).await.map_err(tcp)?;
            bio.waiting = 0;
            self.stream.flush().await.map_err(tcp)?;
        }
        Ok(())
    }

    /// Receives what is there, at least a byte unless the stream has ended.
    async fn receive(&mut self) -> Result<(), TlsError> {
        let bio = self.state.bio();
        let read = self.stream.read(&mut bio.input).await;
        let count = read.map_err(|error| TlsError::Tcp(error.kind()))?;
        bio.unread = (0, count);
        bio.ended = count == 0;
        Ok(())
    }
}

impl<S> ErrorType for Session<'_, S> {
    type Error = TlsError;
}

impl<S: Read + Write> Read for Session<'_, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.drive(|ssl| {
            // SAFETY: the buffer is valid for writes of its length.
            match unsafe { mbedtls_ssl_read(ssl, buffer.as_mut_ptr(), buffer.len()) } {
                // The stream ended, and the peer never said that it is done.
                0 => MBEDTLS_ERR_SSL_CONN_EOF,
                code => code,
            }
        })
        .await
    }
}

impl<S: Read + Write> Write for Session<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, TlsError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // SAFETY: the buffer is valid for reads of its length.
        self.drive(|ssl| unsafe { mbedtls_ssl_write(ssl, bytes.as_ptr(), bytes.len()) }).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        // A write that has returned has been sent.
        Ok(())
    }
}

/// Takes bytes of mbedtls, as many as there is room for.
unsafe extern "C" fn send(bio: *mut c_void, bytes: *const c_uchar, len: usize) -> c_int {
    // SAFETY: mbedtls was given a `Bio`, and hands over a valid buffer.
    let (bio, bytes) = unsafe { (&mut *bio.cast::<Bio>(), slice::from_raw_parts(bytes, len)) };
    let room = &mut bio.output[bio.waiting..];
    let count = room.len().min(len);
    if count == 0 {
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    }
    room[..count].copy_from_slice(&bytes[..count]);
    bio.waiting += count;
    count as c_int
}

/// Gives mbedtls bytes, as many as there are.
unsafe extern "C" fn receive(bio: *mut c_void, buffer: *mut c_uchar, len: usize) -> c_int {
    // SAFETY: mbedtls was given a `Bio`.
    let bio = unsafe { &mut *bio.cast::<Bio>() };
    let (start, end) = bio.unread;
    let count = (end - start).min(len);
    if count == 0 {
        // 0 is the end of the stream.
        return if bio.ended { 0 } else { MBEDTLS_ERR_SSL_WANT_READ };
    }
    // SAFETY: mbedtls hands over room for `len` bytes, which are not read here;
    // its buffer and ours are different memory.
    unsafe { slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), count) }
        .write_copy_of_slice(&bio.input[start..start + count]);
    bio.unread.0 += count;
    count as c_int
}

/// Fills a buffer from the generator that the engine was started with.
unsafe extern "C" fn random(_: *mut c_void, buffer: *mut c_uchar, len: usize) -> c_int {
    // SAFETY: mbedtls hands over room for `len` bytes.
    unsafe { psa_generate_random(buffer, len) }
}
