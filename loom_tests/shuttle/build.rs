//! Puts this package, and no other, under `--cfg shuttle`: it compiles the engine against shuttle's scheduler, so that plain
//! `cargo test --workspace` explores it without any `RUSTFLAGS`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=shuttle");
    // The engine's features, which are about its face only, are left out here.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"planted\", \"serde\", \"stream\"))");
}
