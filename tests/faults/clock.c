/* A wall clock that jumps: for 300 ms it is right, for 300 ms an hour ahead, and so on. The monotonic clock is not
 * touched. Loaded before libc by the row R24 of `cargo xtask chaos`. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
	struct timespec steady;
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && clock == CLOCK_REALTIME) {
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
		if ((steady.tv_sec * 1000 + steady.tv_nsec / 1000000) / 300 % 2)
			now->tv_sec += 3600;
	}
	return result;
}
