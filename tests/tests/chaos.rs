//! The short variants of rows of HARDENING's reliability table: what is counted, without the times (`cargo xtask chaos`
//! holds those).

use nylon_tests::chaos::{self, Mode};
use nylon_tests::watchdog;

macro_rules! rows {
    ($($test:ident: $row:literal, $seconds:literal s;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let _dog = watchdog($seconds);
            chaos::row($row).expect("a row").run(Mode::TEST).await.held();
        }
    )+};
}

rows! {
    r1_workers_are_killed: "R1", 60 s;
    r5_handlers_hang: "R5", 60 s;
    r6_workers_are_stopped: "R6", 60 s;
    r8_plugins_never_become_ready: "R8", 60 s;
    r12_the_host_is_killed: "R12", 60 s;
    r13_the_configuration_is_reloaded: "R13", 60 s;
    r14_a_plugin_is_upgraded: "R14", 90 s;
    r16_redis_dies_and_stands_still: "R16", 60 s;
    r19_thousands_of_websockets: "R19", 90 s;
}
