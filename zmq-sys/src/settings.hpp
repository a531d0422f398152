// Read before each of libzmq's sources: what `config.hpp` there sets and leaves no other way to change.
//
// Messages wait between a socket and the thread that carries a connection in chunks of so many, two chunks each way, and
// every message takes the next place. With libzmq's 256 a chunk has 16 KiB, so a connection that does no more than show
// that it is alive touches 64 KiB of them in a few minutes. With 16 it stays at 4 KiB, and a message of ours is a packed
// block of up to 64 KiB, for which one more exchange of a chunk each 16 is nothing.
#include "config.hpp"
#define message_pipe_granularity 16
