#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER of `make build`: links the C library into this workspace's programs, for images have an empty
# root without a dynamic loader. As a flag for all crates (RUSTFLAGS, .cargo/config.toml) it would reach procedural
# macros, which cannot be built with it; that would take `--target`, and a second build of what the host needs too.
case " $* " in
  # cargo's question what this compiler can do, which names every kind of crate
  *" --crate-name ___ "*) ;;
  # equal functions once and relocations packed: a tenth of the size, for nothing
  *" --crate-type bin "*)
    exec "$@" -Ctarget-feature=+crt-static -Clink-arg=-Wl,--icf=all,-z,pack-relative-relocs ;;
esac
exec "$@"
