package wire

import "testing"

// benchRequest is a browser's request behind a proxy: ten names of the table, two others.
func benchRequest() *RequestFields {
	r := testRequest()
	r.Headers = []Pair{
		{"host", "api.example.com"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
		{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{"accept-language", "en-US,en;q=0.5"}, {"accept-encoding", "gzip, deflate, br"},
		{"cookie", "sid=0123456789abcdef0123456789abcdef"}, {"referer", "https://example.com/shop"},
		{"x-forwarded-for", "203.0.113.7"}, {"x-forwarded-proto", "https"},
		{"x-request-id", "0199f1a2-7b3c-7def-8123-456789abcdef"}, {"x-tenant", "blue"}, {"x-api-key", "k-0123456789"},
	}
	return r
}

// BenchmarkRecord is what a request record costs with names spelled out and with names as ids.
func BenchmarkRecord(b *testing.B) {
	for _, way := range []struct {
		name string
		ids  bool
	}{{"spelled", false}, {"ids", true}} {
		fields := benchRequest()
		record, err := AppendRequest(nil, fields, way.ids)
		if err != nil {
			b.Fatal(err)
		}
		headers := Pairs{record, RequestPairs, len(fields.Headers)}
		b.Run(way.name+"/write", func(b *testing.B) {
			buf := make([]byte, 0, 2048)
			b.ReportMetric(float64(len(record)), "bytes")
			for b.Loop() {
				if _, err := AppendRequest(buf, fields, way.ids); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(way.name+"/parse", func(b *testing.B) {
			for b.Loop() {
				if _, err := ParseRequest(record, way.ids); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(way.name+"/all", func(b *testing.B) {
			n := 0
			for b.Loop() {
				for name, value := range headers.All() {
					n += len(name) + len(value)
				}
			}
		})
		for _, name := range []string{"accept", "x-request-id", "X-Request-Id", "x-tenant", "authorization", "x-none"} {
			b.Run(way.name+"/last/"+name, func(b *testing.B) {
				for b.Loop() {
					headers.Last(name)
				}
			})
		}
	}
}
