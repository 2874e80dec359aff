package sdk

import (
	"encoding/json"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Response is the response: what stands so far, and this handler's own changes. Changes are applied in call order,
// together with the verdict.
type Response call

// SetHeader replaces a header.
func (r *Response) SetHeader(key, value string) {
	_ = r.inv.Edit(wire.MethodSetResponseHeader, key, value)
}

// AddHeader adds a header and keeps earlier ones of that name.
func (r *Response) AddHeader(key, value string) {
	_ = r.inv.Edit(wire.MethodAddResponseHeader, key, value)
}

// RemoveHeader removes a header.
func (r *Response) RemoveHeader(key string) {
	_ = r.inv.Edit(wire.MethodRemoveResponseHeader, key, "")
}

// SetStatus sets the status.
func (r *Response) SetStatus(status uint16) { _ = r.inv.SetStatus(status) }

// BodyRaw replaces the body, or in a body filter the piece; no bytes make it empty.
func (r *Response) BodyRaw(body []byte) {
	_ = r.inv.SetBody(wire.MethodSetResponseFullBody, body, false)
}

// BodyNoCopy is BodyRaw for bytes that nobody changes any more, from here on until the request is over: they are not
// copied before they leave, which counts for large ones.
func (r *Response) BodyNoCopy(body []byte) {
	_ = r.inv.SetBody(wire.MethodSetResponseFullBody, body, true)
}

// BodyJSON replaces the body by v as JSON. A value that has no JSON form turns the verdict into a failure.
func (r *Response) BodyJSON(v any) *Response {
	text, err := json.Marshal(v)
	if err != nil {
		r.inv.Spoil(wire.ErrorInternal, "BodyJSON: "+err.Error())
		return r
	}
	return r.body(ContentTypeJSON, text)
}

// BodyText replaces the body by text.
func (r *Response) BodyText(text string) *Response { return r.body(ContentTypeText, []byte(text)) }

// BodyHTML replaces the body by HTML.
func (r *Response) BodyHTML(html string) *Response { return r.body(ContentTypeHTML, []byte(html)) }

func (r *Response) body(contentType string, body []byte) *Response {
	r.SetHeader(HeaderContentType, contentType)
	r.BodyNoCopy(body) // every caller made it
	return r
}

// Redirect answers with a Location, with status 302 unless another is given.
func (r *Response) Redirect(url string, code ...uint16) *Response {
	status := uint16(StatusFound)
	if len(code) > 0 {
		status = code[0]
	}
	r.SetStatus(status)
	r.SetHeader(HeaderLocation, url)
	r.BodyRaw(nil)
	return r
}

// Stream sends status and headers now and returns a writer for the body. The stream's End is the verdict. It is for
// RequestFilter: elsewhere it returns an error, and the handler can still give its verdict.
func (r *Response) Stream() (*ResponseStream, error) {
	if err := r.inv.CanStream(); err != nil {
		return nil, err
	}
	r.SetHeader(HeaderTransferEncoding, "chunked")
	r.RemoveHeader(HeaderContentLength)
	if err := r.inv.Stream(); err != nil {
		return nil, err
	}
	return (*ResponseStream)(r), nil
}

// ReadBody is the body set so far; in a body filter the piece, as edited.
func (r *Response) ReadBody() []byte {
	b, err := r.inv.ResponseBody()
	if err != nil {
		(*call)(r).spoil("ReadBody", err)
		return nil
	}
	return b
}

// Status is the status as it will be sent.
func (r *Response) Status() int { return r.inv.Status() }

// Bytes is how many body bytes were sent; before Logging, how many were set.
func (r *Response) Bytes() int64 { return r.inv.ResponseBytes() }

// Headers are the response headers as they stand, by lower-case name; of repeated ones the last.
func (r *Response) Headers() map[string]string {
	list := Headers{r.inv.ResponseHeaders()}
	return list.GetAll()
}

// Duration is the time since the request arrived, in ms.
func (r *Response) Duration() int64 { return r.inv.Duration() }

// Error is why the request failed, "" when it did not; known in Logging.
func (r *Response) Error() string { return r.inv.ErrorText() }

// ResponseStream is the body of a streamed response, an io.Writer.
type ResponseStream call

// Write sends p at once. It waits while the client is slow, and fails once it is gone.
func (s *ResponseStream) Write(p []byte) (int, error) { return s.inv.Write(p) }

// End finishes the response.
func (s *ResponseStream) End() error { return s.inv.EndStream() }
