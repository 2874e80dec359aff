package wire

import (
	"encoding/binary"
	"iter"
)

const (
	spanSize = 8            // {off u32, len u32}
	pairSize = 2 * spanSize // two spans, name and value
)

// Pair is a header or a route parameter to be written.
type Pair struct {
	Name, Value string
}

// Pairs are the names and values of a checked record, in order; repeated names are kept. Names that are ids (SPEC.md
// 4.8) read like those that are spelled out.
type Pairs struct {
	record []byte
	at, n  int
}

// Len is the number of pairs.
func (p Pairs) Len() int { return p.n }

// At is pair i of 0..Len, as views of the record or of the table of names.
func (p Pairs) At(i int) (name, value []byte) {
	at := p.at + i*pairSize
	return nameAt(p.record, at), span(p.record, at+spanSize)
}

// Last is the value of the last pair of a name in any case.
func (p Pairs) Last(name string) (value []byte, ok bool) {
	id := uint64(nameID(name))
	for at := p.at + (p.n-1)*pairSize; at >= p.at; at -= pairSize {
		v := binary.LittleEndian.Uint64(p.record[at:])
		if v == id && id != 0 || v>>32 == uint64(len(name)) && v>>32 != 0 && sameName(span(p.record, at), name) {
			return span(p.record, at+spanSize), true
		}
	}
	return nil, false
}

// All iterates over the pairs.
func (p Pairs) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for at := p.at; at < p.at+p.n*pairSize; at += pairSize {
			if !yield(nameAt(p.record, at), span(p.record, at+spanSize)) {
				return
			}
		}
	}
}

// span is the bytes of the checked span at offset at.
func span(record []byte, at int) []byte {
	off := binary.LittleEndian.Uint32(record[at:])
	n := binary.LittleEndian.Uint32(record[at+4:])
	end := off + n
	return record[off:end:end]
}

// nameAt is the name whose checked span stands at offset at: an id has no length and is no offset (SPEC.md 4.8).
func nameAt(record []byte, at int) []byte {
	v := binary.LittleEndian.Uint64(record[at:])
	if v < uint64(len(names)) {
		return names[v]
	}
	off, end := uint32(v), uint32(v)+uint32(v>>32)
	return record[off:end:end]
}

// checkSpan checks the span at offset at: behind floor and inside record; an empty one has offset 0. kind starts
// the names of the rules: "request" or "head".
func checkSpan(record []byte, at, floor int, kind string) error {
	off := binary.LittleEndian.Uint32(record[at:])
	n := binary.LittleEndian.Uint32(record[at+4:])
	end := uint64(off) + uint64(n)
	switch {
	case n == 0 && off == 0:
		return nil
	case n == 0:
		return recordRule(kind + "-span-empty")
	case end > 0xffff_ffff:
		return recordRule(kind + "-span-overflow")
	case uint64(off) < uint64(floor):
		return recordRule(kind + "-span-in-header")
	case end > uint64(len(record)):
		return recordRule(kind + "-span-past-end")
	}
	return nil
}

// appendSpan appends s to the record that starts at start and writes its span at offset at of dst.
func appendSpan(dst []byte, start, at int, s string) []byte {
	if s == "" {
		return dst // the span stays {0, 0}
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-start))
	binary.LittleEndian.PutUint32(dst[at+4:], uint32(len(s)))
	return append(dst, s...)
}

// appendPairs appends the strings of pairs, whose spans stand from offset at of dst; with ids, names of the table become
// ids.
func appendPairs(dst []byte, start, at int, pairs []Pair, ids bool) []byte {
	for i := range pairs {
		id := uint32(0)
		if ids {
			id = nameID(pairs[i].Name)
		}
		if id != 0 {
			binary.LittleEndian.PutUint32(dst[at+i*pairSize:], id)
		} else {
			dst = appendSpan(dst, start, at+i*pairSize, pairs[i].Name)
		}
		dst = appendSpan(dst, start, at+i*pairSize+spanSize, pairs[i].Value)
	}
	return dst
}

// zeros is what records are padded with, and what their fixed parts start as.
var zeros [256]byte

// appendZeros appends n zeros.
func appendZeros(dst []byte, n int) []byte {
	for n > len(zeros) {
		dst = append(dst, zeros[:]...)
		n -= len(zeros)
	}
	return append(dst, zeros[:n]...)
}

// pad8 appends zeros until dst, counted from start, is a multiple of 8.
func pad8(dst []byte, start int) []byte {
	return append(dst, zeros[:-(len(dst)-start)&7]...)
}

// round8 is n rounded up to 8.
func round8(n int) int { return (n + 7) &^ 7 }

// allZero says whether b has only zeros.
func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
