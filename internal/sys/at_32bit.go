//go:build linux && (386 || arm)

package sys

import "golang.org/x/sys/unix"

const (
	sysFstatat   = unix.SYS_FSTATAT64
	sysUtimensat = unix.SYS_UTIMENSAT_TIME64
)
