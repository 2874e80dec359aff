package wire

import (
	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire/fbheaders"
)

// EncodeHeaders encodes a header list of the original plugin interface (SPEC.md 4.6); repeated names are kept.
func EncodeHeaders(headers []Pair) []byte {
	b := flatbuffers.NewBuilder(256)
	pairs := make([]flatbuffers.UOffsetT, len(headers))
	for i, h := range headers {
		key, value := b.CreateString(h.Name), b.CreateString(h.Value)
		fbheaders.HeaderKeyValueStart(b)
		fbheaders.HeaderKeyValueAddKey(b, key)
		fbheaders.HeaderKeyValueAddValue(b, value)
		pairs[i] = fbheaders.HeaderKeyValueEnd(b)
	}
	list := b.CreateVectorOfTables(pairs)
	fbheaders.NylonHttpHeadersStart(b)
	fbheaders.NylonHttpHeadersAddHeaders(b, list)
	b.Finish(fbheaders.NylonHttpHeadersEnd(b))
	return b.FinishedBytes()
}

// DecodeHeaders reads a header list of the original plugin interface, in order.
func DecodeHeaders(list []byte) (headers []Pair, err error) {
	r := controlReader{left: 2*len(list) + 256}
	defer func() {
		if bad := recover(); bad != nil || r.bad {
			headers, err = nil, recordRule("headers")
		}
	}()
	t := fbheaders.GetRootAsNylonHttpHeaders(list, 0)
	tab := t.Table()
	r.bad = tab.Offset(4) == 0 // the list is required
	for i := range r.count(4*t.HeadersLength()) / 4 {
		var pair fbheaders.HeaderKeyValue
		t.Headers(&pair, i)
		headers = append(headers, Pair{r.text(pair.Key()), r.text(pair.Value())})
	}
	return headers, nil
}
