//! The harness's upstream by itself: `nylon-upstream [ADDRESS]`.

use nylon_tests::Upstream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".into());
    let Ok(address) = address.parse() else {
        eprintln!("usage: nylon-upstream [ADDRESS]   e.g. 127.0.0.1:9000");
        std::process::exit(2);
    };
    let upstream = Upstream::on(address).await;
    println!("upstream on http://{}", upstream.addr);
    std::future::pending::<()>().await;
}
