//! The decision whether a chain of certificates is trusted.
//!
//! mbedtls checks signatures and dates of the chain that the peer sends, the
//! host name and the use of keys, and asks `certificate` about each
//! certificate, from the top of the chain down to the host's. What it cannot
//! know is who stands at the top, for the trusted authorities are not given to
//! it as a list in memory: a certificate that one of the anchors has signed, or
//! that is one of the anchors, is found here. What was wrong further up does
//! then not matter, such as an old cross-signature that the peer sends along.

use crate::Anchor;
use core::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr, slice,
};
use mbedtls_rs_sys::{
    MBEDTLS_MD_MAX_SIZE, MBEDTLS_X509_BADCERT_EXPIRED, MBEDTLS_X509_BADCERT_FUTURE,
    MBEDTLS_X509_BADCERT_NOT_TRUSTED, mbedtls_md, mbedtls_md_get_size, mbedtls_md_info_from_type,
    mbedtls_pk_can_do, mbedtls_pk_context, mbedtls_pk_free, mbedtls_pk_init,
    mbedtls_pk_parse_subpubkey, mbedtls_pk_verify_ext, mbedtls_x509_buf, mbedtls_x509_crt,
};

const NOT_TRUSTED: u32 = MBEDTLS_X509_BADCERT_NOT_TRUSTED;
const DATES: u32 = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;

/// What is trusted, and what was found so far.
pub(crate) struct Verifier<'a> {
    /// The tables of anchors; each is searched.
    pub(crate) anchors: [&'a [Anchor<'a>]; 3],
    /// Whether dates are passed over, because there is no clock.
    pub(crate) ignore_dates: bool,
    /// What is wrong with the certificates between the last trusted one and
    /// the one that is asked about.
    pub(crate) faults: u32,
}

/// Called by mbedtls for each certificate, the host's last (`depth` 0).
///
/// # Safety
/// `verifier` points to a [`Verifier`] that nothing else refers to meanwhile;
/// `certificate` and `flags` are valid.
pub(crate) unsafe extern "C" fn certificate(
    verifier: *mut c_void,
    certificate: *mut mbedtls_x509_crt,
    depth: c_int,
    flags: *mut u32,
) -> c_int {
    // SAFETY: the caller's promise.
    let (verifier, certificate, flags) =
        unsafe { (&mut *verifier.cast::<Verifier<'_>>(), &*certificate, &mut *flags) };
    let mut own = *flags;
    if verifier.ignore_dates {
        own &= !DATES;
    }
    if (own | verifier.faults) & NOT_TRUSTED != 0 {
        if depth > 0 && verifier.is_anchor(certificate) {
            // Its name and key are trusted, whatever this copy says.
            own = 0;
            verifier.faults = 0;
        } else if verifier.is_signed_by_anchor(certificate) {
            own &= !NOT_TRUSTED;
            verifier.faults = 0;
        }
    }
    verifier.faults |= own;
    // mbedtls adds up what it is told of each certificate: tell all at the
    // last.
    *flags = if depth == 0 { verifier.faults } else { 0 };
    0
}

impl<'a> Verifier<'a> {
    fn named(&self, subject: &[u8]) -> impl Iterator<Item = &'a Anchor<'a>> {
        let tables = self.anchors;
        tables.into_iter().flatten().filter(move |anchor| anchor.subject == subject)
    }

    fn is_anchor(&self, certificate: &mbedtls_x509_crt) -> bool {
        let key = bytes(&certificate.pk_raw);
        self.named(bytes(&certificate.subject_raw)).any(|anchor| anchor.key == key)
    }

    fn is_signed_by_anchor(&self, certificate: &mbedtls_x509_crt) -> bool {
        self.named(bytes(&certificate.issuer_raw)).any(|anchor| is_signed(certificate, anchor.key))
    }
}

/// Returns whether the key has signed the certificate.
fn is_signed(certificate: &mbedtls_x509_crt, key: &[u8]) -> bool {
    let mut context = MaybeUninit::<mbedtls_pk_context>::uninit();
    let context = context.as_mut_ptr();
    let mut start = key.as_ptr().cast_mut();
    let mut hash = [0; MBEDTLS_MD_MAX_SIZE as usize];
    let signed = bytes(&certificate.tbs);
    let signature = bytes(&certificate.private_sig);
    // SAFETY: all pointers are to live memory of the lengths given; parsing
    // only reads from `start`. The context is initialised first and freed last.
    unsafe {
        mbedtls_pk_init(context);
        let end = key.as_ptr().add(key.len());
        let digest = mbedtls_md_info_from_type(certificate.private_sig_md);
        let matches = !digest.is_null()
            && mbedtls_pk_parse_subpubkey(ptr::from_mut(&mut start), end, context) == 0
            && mbedtls_pk_can_do(context, certificate.private_sig_pk) == 1
            && mbedtls_md(digest, signed.as_ptr(), signed.len(), hash.as_mut_ptr()) == 0
            && mbedtls_pk_verify_ext(
                certificate.private_sig_pk,
                certificate.private_sig_opts,
                context,
                certificate.private_sig_md,
                hash.as_ptr(),
                usize::from(mbedtls_md_get_size(digest)),
                signature.as_ptr(),
                signature.len(),
            ) == 0;
        mbedtls_pk_free(context);
        matches
    }
}

/// Returns the bytes that a buffer of mbedtls points to.
fn bytes(buffer: &mbedtls_x509_buf) -> &[u8] {
    if buffer.p.is_null() {
        return &[];
    }
    // SAFETY: mbedtls keeps pointer and length together, for as long as the
    // certificate lives that the buffer is part of.
    unsafe { slice::from_raw_parts(buffer.p, buffer.len) }
}
