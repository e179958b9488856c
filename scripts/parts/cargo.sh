# shellcheck shell=bash
# Finds cargo, also where rustup puts it without changing PATH. Sourced.

command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
if ! command -v cargo >/dev/null; then
    echo "There is no cargo, neither in PATH nor in ~/.cargo/bin: install Rust 1.95 or newer (https://rustup.rs)." >&2
    exit 1
fi
