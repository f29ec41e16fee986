//! What the image says of itself, where the format wants it: in front of all
//! else.

/// `esp_app_desc_t` of ESP-IDF.
#[repr(C)]
struct AppDescriptor {
    magic: u32,
    secure_version: u32,
    reserved: [u32; 2],
    version: [u8; 32],
    project_name: [u8; 32],
    time: [u8; 16],
    date: [u8; 16],
    idf_version: [u8; 32],
    /// The tool that makes the image leaves it as it is where all is in memory.
    elf_sha256: [u8; 32],
    min_efuse_block_revision: u16,
    max_efuse_block_revision: u16,
    mmu_page_size: u8,
    reserved_bytes: [u8; 3],
    reserved_words: [u32; 18],
}

const _: () = assert!(size_of::<AppDescriptor>() == 256);

/// The version that is built: that of the package, unless the environment
/// variable says otherwise.
const VERSION: &str = match option_env!("TOWLINE_VIRT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

#[used]
#[unsafe(export_name = "esp_app_desc")]
#[unsafe(link_section = ".rodata_desc")]
static APP_DESCRIPTOR: AppDescriptor = AppDescriptor {
    magic: 0xABCD_5432,
    secure_version: 0,
    reserved: [0; 2],
    version: text(VERSION),
    project_name: text(env!("CARGO_PKG_NAME")),
    time: [0; 16],
    date: [0; 16],
    idf_version: [0; 32],
    elf_sha256: [0; 32],
    min_efuse_block_revision: 0,
    max_efuse_block_revision: u16::MAX,
    // 64 KiB, although nothing is mapped.
    mmu_page_size: 16,
    reserved_bytes: [0; 3],
    reserved_words: [0; 18],
};

/// Returns a text as C has it. One that is too long is an error of the build.
const fn text<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    assert!(text.len() < N, "too long for the app descriptor");
    let mut bytes = [0; N];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
}
