//! Puts this crate, and no other, under `--cfg loom`: it compiles the engine's kernels against the model checker, so that
//! plain `cargo test --workspace` runs the models without any `RUSTFLAGS`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=loom");
}
