//go:build linux

package notify

import (
	"math"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// Devices is what a Sender also is if block devices can be registered with the kernel through it.
type Devices interface {
	AddBacking(fd int, flags uint32) (int, error)
	RemoveBacking(id int) error
}

// DeviceAdd registers an open block device for mappings and returns its number, above 0. The descriptor must be open for
// writing if it is to be written to, and may be closed afterwards. flags is 0. It needs the iomap extension.
func (n *Notifier) DeviceAdd(fd int, flags uint32) (dev uint32, err error) {
	d, err := n.devices()
	if err != nil {
		return 0, err
	}
	if flags&wire.BackingTypeMask != 0 {
		return 0, syscall.EINVAL
	}
	id, err := d.AddBacking(fd, wire.BackingTypeIomap|flags)
	if err == nil && id == 0 {
		err = syscall.ERANGE
	}
	return uint32(id), err
}

// DeviceRemove takes a block device back: EBUSY while the kernel knows a file with mappings.
func (n *Notifier) DeviceRemove(dev uint32) error {
	d, err := n.devices()
	if err != nil {
		return err
	}
	if dev > math.MaxInt32 {
		return syscall.EINVAL
	}
	return d.RemoveBacking(int(dev))
}

func (n *Notifier) devices() (Devices, error) {
	if err := n.Supports(wire.NotifyIomapBackingInval); err != nil {
		return nil, err
	}
	if d, ok := n.c.s.(Devices); ok {
		return d, nil
	}
	return nil, syscall.EOPNOTSUPP
}

// DeviceInvalidate drops what the kernel has cached of a block device itself, not of the files on it: for metadata blocks
// that were freed, whose dirty copies must not hit the data that follow them there. EINVAL if offset is behind the end.
func (n *Notifier) DeviceInvalidate(dev uint32, offset, length uint64) error {
	return n.do(message{code: wire.NotifyIomapBackingInval, body: &wire.IomapBackingInvalOut{
		Dev: dev, Range: wire.Range{Offset: offset, Length: length},
	}})
}

// UpsertMappings puts mappings for reading and for writing into the kernel's cache of them; nil leaves what is there, and
// two of nil do nothing. attrIno is the inode number that the server last gave. The types are those of the newest profile.
// Inside handlers the direct form is safe, as no lock is held there that it needs.
func (n *Notifier) UpsertMappings(ino NodeID, attrIno uint64, read, write *wire.IomapIO) error {
	if read == nil && write == nil {
		return n.Supports(wire.NotifyIomapUpsertMappings)
	}
	profile := n.c.s.NotifyState().Profile
	slot := func(m, other *wire.IomapIO) wire.IomapIO {
		if m == nil { // the newest kernels look at all fields of a slot that they leave alone
			m = &wire.IomapIO{Offset: other.Offset, Length: other.Length, Addr: wire.IomapNullAddr, Type: uint16(wire.IomapTypeNocache)}
		}
		s := *m
		s.Type = uint16(wire.IomapType(m.Type).ToWire(profile))
		return s
	}
	return n.do(message{code: wire.NotifyIomapUpsertMappings, node: ino, body: &wire.IomapUpsertMappingsOut{
		NodeID: uint64(ino), AttrIno: attrIno, Read: slot(read, write), Write: slot(write, read),
	}})
}

// InvalMappings drops the cached mappings of two ranges, for reading and for writing; one of length 0 is left alone, and
// wire.IomapInvalToEOF reaches to the end. Inside handlers the direct form is safe.
func (n *Notifier) InvalMappings(ino NodeID, attrIno uint64, read, write wire.Range) error {
	if read.Length == 0 && write.Length == 0 {
		return n.Supports(wire.NotifyIomapInvalMappings)
	}
	return n.do(message{code: wire.NotifyIomapInvalMappings, node: ino, body: &wire.IomapInvalMappingsOut{
		NodeID: uint64(ino), AttrIno: attrIno, Read: read, Write: write,
	}})
}
