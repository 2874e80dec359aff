package wire

import "fmt"

// VersionRange is the versions one side speaks: one major and a range of its minors (SPEC.md 1.1).
type VersionRange struct {
	Major, Min, Max uint16
}

// Versions is what this tree speaks.
var Versions = VersionRange{AbiMajor, AbiMinorMin, AbiMinor}

func (r VersionRange) String() string {
	return fmt.Sprintf("%d.%d–%d.%d", r.Major, r.Min, r.Major, r.Max)
}

// Negotiate is the minor both speak: the highest one in both ranges.
func Negotiate(host, worker VersionRange) (uint16, error) {
	minor := min(host.Max, worker.Max)
	if host.Major != worker.Major || minor < max(host.Min, worker.Min) {
		return 0, &RefuseReason{RefuseVersion,
			fmt.Sprintf("the host speaks ABI %v, the worker %v", host, worker)}
	}
	return minor, nil
}

// RefuseReason is why a handshake ends.
type RefuseReason struct {
	Code    uint16 // one of Refuse*
	Message string
}

func (r *RefuseReason) Error() string { return r.Message }

// IsPermanent says whether a Refuse of this code will be the same next time (SPEC.md 8.4).
func IsPermanent(code uint16) bool {
	return code == RefuseVersion || code == RefuseLayout || code == RefuseConfig
}

// Check is what a worker checks before it maps anything: the minor agreed, or a *RefuseReason (SPEC.md 8.3).
func (h *Hello) Check(worker VersionRange) (uint16, error) {
	minor, err := Negotiate(h.Versions, worker)
	switch {
	case err != nil:
		return 0, err
	case h.LayoutHash != LayoutHash:
		return 0, layoutDiffers(LayoutHash, h.LayoutHash)
	case h.Geometry.Check() != nil:
		return 0, &RefuseReason{RefuseSegment, "segment: geometry out of bounds"}
	case h.Geometry.SegmentLen() != h.SegLen:
		return 0, &RefuseReason{RefuseSegment, "segment: the length does not follow from the geometry"}
	case h.Epoch == 0:
		return 0, &RefuseReason{RefuseSegment, "segment: epoch 0"}
	}
	return minor, nil
}

// Check is what a host checks: the minor agreed, or a *RefuseReason (SPEC.md 8.3).
func (ok *HelloOk) Check(hello *Hello) (uint16, error) {
	minor, err := Negotiate(hello.Versions, ok.Versions)
	switch {
	case err != nil:
		return 0, err
	case ok.LayoutHash != hello.LayoutHash:
		return 0, layoutDiffers(hello.LayoutHash, ok.LayoutHash)
	case ok.Epoch != hello.Epoch:
		return 0, &RefuseReason{RefuseSegment,
			fmt.Sprintf("epoch %#x, not %#x: the answer to another Hello", ok.Epoch, hello.Epoch)}
	case ok.Features&^hello.Features != 0:
		return 0, &RefuseReason{RefuseVersion,
			fmt.Sprintf("features %#x were not offered", ok.Features&^hello.Features)}
	}
	return minor, nil
}

func layoutDiffers(ours, theirs uint64) error {
	return &RefuseReason{RefuseLayout,
		fmt.Sprintf("layout hash %#016x, not %#016x: built from another wire table", theirs, ours)}
}
