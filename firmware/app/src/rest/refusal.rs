//! What is answered instead of doing what was asked: status, and a message
//! that says what to do next.

/// A request that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
    /// Further header lines.
    pub(crate) headers: &'static str,
}

macro_rules! refusals {
    ($($name:ident = $status:literal $reason:literal $message:literal $(with $headers:literal)?;)*) => {
        impl Refusal {
            $(pub(crate) const $name: Self = Self {
                status: $status,
                reason: $reason,
                message: $message,
                headers: concat!("", $($headers)?),
            };)*
        }
    };
}

refusals! {
    MALFORMED = 400 "Bad Request" "This is not an HTTP/1.1 request. Send one, each header once.";
    NO_HOST = 400 "Bad Request" "The request has no Host header. Send one with the address of the device.";
    NOT_A_STRING = 400 "Bad Request" "The body is not a JSON string. Send the name in quotes.";
    NO_SUCH_CHANNEL = 400 "Bad Request" "There is no such channel. GET /api/v1/firmware/channels names those of this device.";
    NO_GROUPS = 400 "Bad Request" "These are no groups. Send names of letters, digits, `-`, `_` and `.`, separated by commas: at most 16, and 96 bytes.";
    INCOMPLETE = 400 "Bad Request" "The body did not come whole. Send it again.";
    NO_BODY_WANTED = 400 "Bad Request" "This takes no body. Send the request without one.";
    NO_TOKEN = 401 "Unauthorized" "Changes need the token of this device. Send it as `Authorization: Bearer TOKEN`."
        with "WWW-Authenticate: Bearer\r\n";
    WRONG_TOKEN = 401 "Unauthorized" "This is not the token of this device. Send the one that was set on it."
        with "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n";
    CROSS_SITE = 403 "Forbidden" "The request comes from a page of another site. Use the page of the device.";
    FOREIGN_HOST = 403 "Forbidden" "The device does not go by this name. Use its address, or the name that was set on it.";
    NO_TOKEN_SET = 403 "Forbidden" "No token is set on this device, so it refuses every change. ";
    NOT_FOUND = 404 "Not Found" "There is nothing here. The page of the device is at /, its API below /api/v1.";
    NO_VERSION_INFO = 404 "Not Found" "Cannot Fetch Latest Version Info";
    GET_ONLY = 405 "Method Not Allowed" "This can only be read. Use GET." with "Allow: GET\r\n";
    POST_ONLY = 405 "Method Not Allowed" "This changes something. Use POST." with "Allow: POST\r\n";
    GET_OR_POST = 405 "Method Not Allowed" "Use GET to read, POST to change." with "Allow: GET, POST\r\n";
    SLOW_HEAD = 408 "Request Timeout" "The head of the request did not come within 5 seconds. Send it again.";
    BUSY = 409 "Conflict" "An upload or update is under way. Wait for its end; GET /api/v1/firmware/progress shows it.";
    RESTARTING = 409 "Conflict" "The device is about to restart. Try again in half a minute.";
    ON_TRIAL = 409 "Conflict" "Cannot Upgrade From Unconfirmed Firmware";
    NO_ROLLBACK = 409 "Conflict" "No Other Firmware To Roll Back To";
    NO_LENGTH = 411 "Length Required" "The length of the body has to be known. Send it as Content-Length, not in chunks.";
    BODY_TOO_LARGE = 413 "Content Too Large" "The body is larger than anything that is valid here.";
    IMAGE_TOO_LARGE = 413 "Content Too Large" "The image is larger than the slot that it would be written to. Upload a smaller one.";
    NOT_OCTETS = 415 "Unsupported Media Type" "Send an image as `Content-Type: application/octet-stream`.";
    NOT_JSON = 415 "Unsupported Media Type" "Send JSON as `Content-Type: application/json`.";
    HEAD_TOO_LARGE = 431 "Request Header Fields Too Large" "The head of the request is larger than 2 KiB. Send fewer headers.";
    STORAGE = 500 "Internal Server Error" "The setting could not be kept";
    ANSWER_TOO_LARGE = 500 "Internal Server Error" "The answer does not fit its buffer. This is a fault of the firmware; report it.";
    NO_UPDATE_INFO = 520 "Cannot Fetch Latest Version Info" "Cannot Fetch Latest Version Info";
    UPGRADE_FAILED = 521 "Failed To Upgrade Firmware" "Failed To Upgrade Firmware";
    RECEIVE_FAILED = 522 "Failed To Receive Firmware" "Failed To Receive Firmware";
    INVALID_FIRMWARE = 523 "Invalid Firmware File" "Invalid Firmware File";
}
