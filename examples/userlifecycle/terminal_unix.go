//go:build unix

package main

import (
	"os"
	"syscall"
	"unsafe"
)

// columns returns the width of the terminal behind a file.
func columns(file *os.File) int {
	var size struct{ rows, columns, x, y uint16 } // struct winsize of tty_ioctl(4)
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if failed != 0 || size.columns == 0 {
		return usualWidth
	}
	return int(size.columns)
}
