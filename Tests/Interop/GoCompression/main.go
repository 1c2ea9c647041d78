// The interop cases with compression, on grpc-go, whose own client has none of them.
// https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
//
// In: the options of the suite's clients. Out: exit code 0, or what went otherwise than the case says.
// Messages are written by hand, since grpc-go's copy of the suite's messages is older than compression.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const service = "/grpc.testing.TestService/"

// raw passes messages through as bytes.
type raw struct{}

func (raw) Marshal(message interface{}) ([]byte, error) { return message.([]byte), nil }
func (raw) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// The protobuf fields that the cases need.

func number(field int, value uint64) []byte {
	return append(varint(uint64(field)<<3), varint(value)...)
}

func part(field int, content []byte) []byte {
	return append(append(varint(uint64(field)<<3|2), varint(uint64(len(content)))...), content...)
}

func varint(value uint64) []byte {
	bytes := make([]byte, binary.MaxVarintLen64)
	return bytes[:binary.PutUvarint(bytes, value)]
}

func flagged(field int, value bool) []byte {
	if value {
		return part(field, number(1, 1))
	}
	return part(field, nil)
}

func payload(field, size int) []byte { return part(field, part(2, make([]byte, size))) }

func join(parts ...[]byte) (whole []byte) {
	for _, part := range parts {
		whole = append(whole, part...)
	}
	return whole
}

// seen notes of each message that comes whether it was compressed: zeros are smaller then.
type seen struct{ compressed []bool }

func (s *seen) TagRPC(c context.Context, _ *stats.RPCTagInfo) context.Context   { return c }
func (s *seen) TagConn(c context.Context, _ *stats.ConnTagInfo) context.Context { return c }
func (s *seen) HandleConn(context.Context, stats.ConnStats)                     {}
func (s *seen) HandleRPC(_ context.Context, event stats.RPCStats) {
	if message, is := event.(*stats.InPayload); is {
		s.compressed = append(s.compressed, message.WireLength < message.Length)
	}
}

type client struct {
	connection *grpc.ClientConn
	context    context.Context
	seen       *seen
}

func (c *client) unary(request []byte, options ...grpc.CallOption) ([]byte, error) {
	var response []byte
	options = append(options, grpc.ForceCodec(raw{}))
	err := c.connection.Invoke(c.context, service+"UnaryCall", request, &response, options...)
	return response, err
}

func (c *client) stream(method string, options ...grpc.CallOption) grpc.ClientStream {
	description := &grpc.StreamDesc{
		StreamName: method, ClientStreams: method == "StreamingInputCall",
		ServerStreams: method == "StreamingOutputCall"}
	options = append(options, grpc.ForceCodec(raw{}))
	stream, err := c.connection.NewStream(c.context, description, service+method, options...)
	check(err)
	return stream
}

func (c *client) clientCompressedUnary() {
	request := func(compressed bool) []byte {
		return join(number(2, 314159), payload(3, 271828), flagged(8, compressed))
	}
	_, err := c.unary(request(true))
	expectCode(err, codes.InvalidArgument)
	for _, compressed := range []bool{true, false} {
		var options []grpc.CallOption
		if compressed {
			options = append(options, grpc.UseCompressor(gzip.Name))
		}
		response, err := c.unary(request(compressed), options...)
		check(err)
		expect(string(response), string(payload(1, 314159)))
	}
}

func (c *client) clientCompressedStreaming() {
	request := func(size int, compressed bool) []byte {
		return join(payload(1, size), flagged(2, compressed))
	}
	var response []byte
	probe := c.stream("StreamingInputCall")
	_ = probe.SendMsg(request(27182, true))
	_ = probe.CloseSend()
	expectCode(probe.RecvMsg(&response), codes.InvalidArgument)

	// A message that was made for a stream without compression stays so on one with it.
	plain := c.stream("StreamingInputCall")
	uncompressed := &grpc.PreparedMsg{}
	check(uncompressed.Encode(plain, request(45904, false)))
	stream := c.stream("StreamingInputCall", grpc.UseCompressor(gzip.Name))
	check(stream.SendMsg(request(27182, true)))
	check(stream.SendMsg(uncompressed))
	check(stream.CloseSend())
	check(stream.RecvMsg(&response))
	expect(string(response), string(number(1, 73086)))
}

func (c *client) serverCompressedUnary() {
	for _, compressed := range []bool{true, false} {
		response, err := c.unary(join(number(2, 314159), flagged(6, compressed)))
		check(err)
		expect(string(response), string(payload(1, 314159)))
		expect(c.seen.compressed[len(c.seen.compressed)-1], compressed)
	}
}

func (c *client) serverCompressedStreaming() {
	stream := c.stream("StreamingOutputCall")
	check(stream.SendMsg(join(
		part(2, join(number(1, 31415), flagged(3, true))),
		part(2, join(number(1, 92653), flagged(3, false))))))
	check(stream.CloseSend())
	for index, size := range []int{31415, 92653} {
		var response []byte
		check(stream.RecvMsg(&response))
		expect(string(response), string(payload(1, size)))
		expect(c.seen.compressed[index], index == 0)
	}
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func expectCode(err error, code codes.Code) {
	if status.Code(err) != code {
		fail(fmt.Sprintf("%v instead of %v", err, code))
	}
}

func expect(found, expected interface{}) {
	if found != expected {
		fail(fmt.Sprintf("%.80q instead of %.80q", fmt.Sprint(found), fmt.Sprint(expected)))
	}
}

func fail(what interface{}) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func main() {
	host := flag.String("server_host", "localhost", "")
	port := flag.Int("server_port", 0, "")
	name := flag.String("test_case", "", "")
	flag.Parse()
	timed, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := &seen{}
	connection, err := grpc.Dial(
		fmt.Sprintf("%s:%d", *host, *port), grpc.WithInsecure(), grpc.WithStatsHandler(seen))
	check(err)
	defer connection.Close()
	// This grpc-go takes gzip and does not say so.
	timed = metadata.AppendToOutgoingContext(timed, "grpc-accept-encoding", gzip.Name)
	c := &client{connection, timed, seen}
	cases := map[string]func(){
		"client_compressed_unary":     c.clientCompressedUnary,
		"client_compressed_streaming": c.clientCompressedStreaming,
		"server_compressed_unary":     c.serverCompressedUnary,
		"server_compressed_streaming": c.serverCompressedStreaming,
	}
	run, is := cases[*name]
	if !is {
		fail("there is no such case: " + *name)
	}
	run()
}
