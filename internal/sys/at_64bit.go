//go:build linux && (amd64 || arm64 || riscv64)

package sys

import "golang.org/x/sys/unix"

const (
	sysFstatat   = unix.SYS_NEWFSTATAT
	sysUtimensat = unix.SYS_UTIMENSAT
)
