package wasmhost

import (
	"encoding/binary"
	"fmt"
)

const wasiModule = "wasi_snapshot_preview1"

// Error numbers of WASI preview 1.
const (
	wasiOK     = 0
	wasiBadF   = 8
	wasiInval  = 28
	wasiNoSys  = 52
	wasiSPipe  = 70
	fileTypeCh = 2 // character device

	// maxWasiBytes is the most that one call of fd_write or random_get handles.
	maxWasiBytes = 64 << 10
	maxIovecs    = 64

	// spinNanos is the longest wait that counts as a runtime's own spin: Go's
	// takes a few of them before it reports a panic.
	spinNanos        = 1_000_000
	subscriptionSize = 48
	eventSize        = 32
)

// wasiImports is the closed table: a clock that stands still, seeded randomness,
// output as log lines, and nothing else. What is not named answers ENOSYS.
var wasiImports = []hostImport{
	{"args_get", types{i32, i32}, types{i32}, answer(wasiOK)},
	{"args_sizes_get", types{i32, i32}, types{i32}, twoZeroes},
	{"environ_get", types{i32, i32}, types{i32}, answer(wasiOK)},
	{"environ_sizes_get", types{i32, i32}, types{i32}, twoZeroes},
	{"clock_res_get", types{i32, i32}, types{i32}, clockRes},
	{"clock_time_get", types{i32, i64, i32}, types{i32}, clockTime},
	{"random_get", types{i32, i32}, types{i32}, randomGet},
	{"fd_write", types{i32, i32, i32, i32}, types{i32}, fdWrite},
	{"fd_fdstat_get", types{i32, i32}, types{i32}, fdStat},
	// There are no preopened folders; libc and Go look for the first and want
	// to hear just this, not ENOSYS.
	{"fd_prestat_get", types{i32, i32}, types{i32}, answer(wasiBadF)},
	{"sched_yield", nil, types{i32}, answer(wasiOK)},
	{"proc_exit", types{i32}, nil, func(c *guestCall) {
		panic(&stop{kind: ErrExit, detail: fmt.Sprintf("code %d; a function returns an error instead of ending the process", c.u32(0))})
	}},
	{"poll_oneoff", types{i32, i32, i32, i32}, types{i32}, pollOneoff},

	{"fd_advise", types{i32, i64, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_allocate", types{i32, i64, i64}, types{i32}, answer(wasiNoSys)},
	{"fd_close", types{i32}, types{i32}, answer(wasiNoSys)},
	{"fd_datasync", types{i32}, types{i32}, answer(wasiNoSys)},
	{"fd_fdstat_set_flags", types{i32, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_fdstat_set_rights", types{i32, i64, i64}, types{i32}, answer(wasiNoSys)},
	{"fd_filestat_get", types{i32, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_filestat_set_size", types{i32, i64}, types{i32}, answer(wasiNoSys)},
	{"fd_filestat_set_times", types{i32, i64, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_pread", types{i32, i32, i32, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_prestat_dir_name", types{i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_pwrite", types{i32, i32, i32, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_read", types{i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_readdir", types{i32, i32, i32, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_renumber", types{i32, i32}, types{i32}, answer(wasiNoSys)},
	{"fd_seek", types{i32, i64, i32, i32}, types{i32}, answer(wasiSPipe)},
	{"fd_sync", types{i32}, types{i32}, answer(wasiNoSys)},
	{"fd_tell", types{i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_create_directory", types{i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_filestat_get", types{i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_filestat_set_times", types{i32, i32, i32, i32, i64, i64, i32}, types{i32}, answer(wasiNoSys)},
	{"path_link", types{i32, i32, i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_open", types{i32, i32, i32, i32, i32, i64, i64, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_readlink", types{i32, i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_remove_directory", types{i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_rename", types{i32, i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_symlink", types{i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"path_unlink_file", types{i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"proc_raise", types{i32}, types{i32}, answer(wasiNoSys)},
	{"sock_accept", types{i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"sock_recv", types{i32, i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"sock_send", types{i32, i32, i32, i32, i32}, types{i32}, answer(wasiNoSys)},
	{"sock_shutdown", types{i32, i32}, types{i32}, answer(wasiNoSys)},
}

func answer(errno uint64) guestFunc { return func(c *guestCall) { c.result(errno) } }

func twoZeroes(c *guestCall) {
	clear(c.bytes(c.u32(0), 4))
	clear(c.bytes(c.u32(1), 4))
	c.result(wasiOK)
}

func clockRes(c *guestCall) {
	binary.LittleEndian.PutUint64(c.bytes(c.u32(1), 8), 1000)
	c.result(wasiOK)
}

// clockTime gives the call's clock. The monotonic clock moves a nanosecond with
// each reading, because Go's runtime refuses one that is zero.
func clockTime(c *guestCall) {
	nanos := uint64(c.in.clockMicros) * 1000
	if c.u32(0) != 0 {
		c.in.clockReads++
		nanos += c.in.clockReads
	}
	binary.LittleEndian.PutUint64(c.bytes(c.u32(2), 8), nanos)
	c.result(wasiOK)
}

// randomGet is splitmix64 over the call's seed.
func randomGet(c *guestCall) {
	ptr, n := c.u32(0), c.u32(1)
	if n > maxWasiBytes {
		c.result(wasiInval)
		return
	}
	b := c.bytes(ptr, n)
	for len(b) > 0 {
		c.in.random += 0x9e3779b97f4a7c15
		z := c.in.random
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], z)
		b = b[copy(b, word[:]):]
	}
	c.result(wasiOK)
}

func fdWrite(c *guestCall) {
	fd, iovs, n := c.u32(0), c.u32(1), min(c.u32(2), maxIovecs)
	if fd != 1 && fd != 2 {
		c.result(wasiBadF)
		return
	}
	written := uint32(0)
	vec := c.bytes(iovs, n*8)
	for ; len(vec) > 0 && written < maxWasiBytes; vec = vec[8:] {
		ptr, length := binary.LittleEndian.Uint32(vec), binary.LittleEndian.Uint32(vec[4:])
		length = min(length, maxWasiBytes-written)
		c.in.log.write(c.in.imports, fd, c.bytes(ptr, length))
		written += length
	}
	binary.LittleEndian.PutUint32(c.bytes(c.u32(3), 4), written)
	c.result(wasiOK)
}

func fdStat(c *guestCall) {
	if c.u32(0) > 2 {
		c.result(wasiBadF)
		return
	}
	stat := c.bytes(c.u32(1), 24)
	clear(stat)
	stat[0] = fileTypeCh
	c.result(wasiOK)
}

// pollOneoff refuses to wait. A spin is over at once: the guest's monotonic
// clock moves on, the host's time does not.
func pollOneoff(c *guestCall) {
	if c.u32(2) == 1 {
		sub := c.bytes(c.u32(0), subscriptionSize)
		nanos := binary.LittleEndian.Uint64(sub[24:])
		if tag, absolute := sub[8], sub[40]&1; tag == 0 && absolute == 0 && nanos <= spinNanos {
			c.in.clockReads += nanos
			user := binary.LittleEndian.Uint64(sub)
			event := c.bytes(c.u32(1), eventSize)
			clear(event)
			binary.LittleEndian.PutUint64(event, user)
			binary.LittleEndian.PutUint32(c.bytes(c.u32(3), 4), 1)
			c.result(wasiOK)
			return
		}
	}
	panic(&stop{kind: ErrWait, detail: "use a timer: a function never sleeps or waits"})
}
