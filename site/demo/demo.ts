// A board for the page without hardware; see `cargo xtask serve --demo`.

export {};
