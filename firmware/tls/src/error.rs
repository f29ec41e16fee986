//! Why there is no connection.

use core::fmt;
use embedded_io_async::ErrorKind;
use mbedtls_rs_sys::{
    MBEDTLS_ERR_SSL_ALLOC_FAILED, MBEDTLS_ERR_SSL_BAD_CERTIFICATE, MBEDTLS_ERR_SSL_CONN_EOF,
    MBEDTLS_ERR_X509_ALLOC_FAILED, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED,
    MBEDTLS_X509_BADCERT_CN_MISMATCH, MBEDTLS_X509_BADCERT_EXPIRED, MBEDTLS_X509_BADCERT_FUTURE,
    MBEDTLS_X509_BADCERT_NOT_TRUSTED,
};

/// Why a connection could not be made or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The time is not known yet: wait for SNTP, and set
    /// [`clock`](crate::clock::set).
    ClockUnset,
    /// The host is no name that TLS can check.
    HostName,
    /// There is no address for the host: check the name and the network.
    Dns,
    /// The network failed.
    Tcp(ErrorKind),
    /// The certificate is for another host.
    WrongHost,
    /// The certificate has expired, or the clock is ahead.
    Expired,
    /// The certificate is not valid yet, or the clock is behind.
    NotYetValid,
    /// No authority that this firmware trusts has signed the certificate.
    Untrusted,
    /// The certificate is refused for another reason: the flags
    /// `MBEDTLS_X509_BADCERT_*`.
    Certificate(u32),
    /// The peer ended the connection without saying so: what was received may
    /// be cut short.
    Truncated,
    /// Not enough memory for TLS: see the README for what it takes.
    OutOfMemory,
    /// The handshake or a record failed: the code of mbedtls, which
    /// `mbedtls/error.h` explains.
    Protocol(i32),
    /// An operation of this connection was given up before its end; make a new
    /// connection.
    Abandoned,
}

impl TlsError {
    /// Makes an error of a code of mbedtls and the flags of verification.
    pub(crate) fn new(code: i32, flags: u32) -> Self {
        match code {
            MBEDTLS_ERR_X509_CERT_VERIFY_FAILED | MBEDTLS_ERR_SSL_BAD_CERTIFICATE => {
                Self::of_flags(flags)
            }
            MBEDTLS_ERR_SSL_ALLOC_FAILED | MBEDTLS_ERR_X509_ALLOC_FAILED => Self::OutOfMemory,
            MBEDTLS_ERR_SSL_CONN_EOF => Self::Truncated,
            code => Self::Protocol(code),
        }
    }

    /// Picks the flag that says most: who signed it matters before what it
    /// says.
    fn of_flags(flags: u32) -> Self {
        let has = |flag| flags & flag != 0;
        if has(MBEDTLS_X509_BADCERT_NOT_TRUSTED) {
            Self::Untrusted
        } else if has(MBEDTLS_X509_BADCERT_CN_MISMATCH) {
            Self::WrongHost
        } else if has(MBEDTLS_X509_BADCERT_EXPIRED) {
            Self::Expired
        } else if has(MBEDTLS_X509_BADCERT_FUTURE) {
            Self::NotYetValid
        } else {
            Self::Certificate(flags)
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockUnset => f.write_str("the clock is not set yet; wait for SNTP"),
            Self::HostName => f.write_str("not a host name"),
            Self::Dns => f.write_str("no address for the host; check its name and the network"),
            Self::Tcp(kind) => write!(f, "the network failed ({kind:?})"),
            Self::WrongHost => f.write_str("the certificate is for another host"),
            Self::Expired => f.write_str("the certificate has expired, or the clock is ahead"),
            Self::NotYetValid => {
                f.write_str("the certificate is not valid yet, or the clock is behind")
            }
            Self::Untrusted => f.write_str(
                "the certificate is of no authority that this firmware trusts; \
                 name a private one in TOWLINE_CA when building",
            ),
            Self::Certificate(flags) => write!(f, "the certificate is refused ({flags:#x})"),
            Self::Truncated => f.write_str("the peer broke off"),
            Self::OutOfMemory => f.write_str("not enough memory for TLS"),
            Self::Protocol(code) => write!(f, "TLS failed (-{:#06x})", code.unsigned_abs()),
            Self::Abandoned => f.write_str("the connection was given up; make a new one"),
        }
    }
}

impl core::error::Error for TlsError {}

impl embedded_io_async::Error for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tcp(kind) => *kind,
            Self::Truncated => ErrorKind::ConnectionAborted,
            Self::OutOfMemory => ErrorKind::OutOfMemory,
            Self::HostName => ErrorKind::InvalidInput,
            _ => ErrorKind::Other,
        }
    }
}
