//! `cargo xtask`: every chore of the project, one command each.

mod r#gen;

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace");
    if let Err(e) = r#gen::run(root, false) {
        eprintln!("error: {e}");
        std::process::exit(1);
    }
}
