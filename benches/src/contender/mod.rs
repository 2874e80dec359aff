//! What is called: the machine's own limits, and Nylon's rooms held against them.

pub(crate) mod futex;
pub(crate) mod lane;
pub(crate) mod pingpong;
pub(crate) mod pipe;
pub(crate) mod session;
pub(crate) mod sessions;
