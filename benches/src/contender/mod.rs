//! What is called: the machine's own limits, and Nylon's rooms held against them.

pub(crate) mod body;
pub(crate) mod evaluate;
pub(crate) mod futex;
pub(crate) mod gateway;
pub(crate) mod lane;
pub(crate) mod load;
pub(crate) mod memcpy;
pub(crate) mod nylon;
pub(crate) mod others;
pub(crate) mod pingpong;
pub(crate) mod pipe;
pub(crate) mod ring;
pub(crate) mod rtrb;
pub(crate) mod session;
pub(crate) mod session_flight;
pub(crate) mod sessions;
pub(crate) mod spawn;
pub(crate) mod upstream;
pub(crate) mod websocket;
